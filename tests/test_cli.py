"""The command line as scripts see it: what is read right, what is refused, and how."""

import errno
import functools
import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from syrupy.assertion import SnapshotAssertion

from anyrefill import UserError, cli, painter, tasks
from tiny_checkpoint import save_tiny_adapter, save_tiny_checkpoint

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def load_once() -> Callable[..., painter.Painter]:
    """Return a load that remembers: painters do not change."""
    return functools.cache(painter.load)


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    load_once: Callable[..., painter.Painter],
    tmp_path: Path,
) -> Run:
    """Return a function that runs a command in a folder of its own: exit code, stdout, stderr."""
    monkeypatch.setattr(painter, "load", load_once)
    monkeypatch.chdir(tmp_path)

    def command(*words: object) -> tuple[int, str, str]:
        code = 0
        try:
            cli.main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def refused(answer: tuple[int, str, str], words: str) -> None:
    """Check for exit code 2 and exactly one sentence."""
    code, out, err = answer
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("anyrefill: ")
    assert err.endswith(".\n")
    assert err.count("\n") == 1


def size_of(path: str | Path) -> tuple[int, int]:
    """Return a picture's (width, height), its file closed again."""
    with Image.open(path) as picture:
        return picture.size


def blocks() -> Image.Image:
    """Return a grey picture of black and white blocks, wider than high, without any symmetry."""
    picture = Image.new("L", (80, 64))
    picture.paste(255, (10, 4, 40, 20))
    picture.paste(255, (50, 30, 75, 64))
    return picture


def save_blocks(kind: str, folder: Path) -> Path:
    """Write the blocks in one of the ways that a picture file can have."""
    grey, path = blocks(), folder / f"{kind}.png"
    if kind == "cmyk":
        path = path.with_suffix(".tif")
        grey.convert("RGB").convert("CMYK").save(path)
    elif kind == "16-bit":
        grey.convert("I").point(lambda value: value * 257).convert("I;16").save(path)
    elif kind == "palette":
        grey.convert("RGB").quantize(2).save(path)
    elif kind == "animated":
        path = path.with_suffix(".gif")
        grey.save(path, save_all=True, append_images=[Image.new("L", grey.size, 99)])
    elif kind == "exif-rotated":
        exif = Image.Exif()
        exif[0x0112] = 6
        grey.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    elif kind == "alpha":
        picture = Image.new("RGBA", grey.size, (255, 255, 255, 255))
        picture.paste((9, 9, 9, 0), mask=grey)  # transparent is white, whatever its colour
        picture.paste((0, 0, 0, 255), mask=grey.point(lambda value: 255 - value))
        picture.save(path)
    else:
        grey.save(path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save_blocks("grey", tmp_path)


@pytest.mark.parametrize("kind", ["cmyk", "16-bit", "palette", "animated", "exif-rotated", "alpha"])
def test_every_kind_of_picture_is_read_as_what_it_shows(kind: str, run: Run, tiny: Path, tmp_path: Path) -> None:
    for name in ("grey", kind):
        path = save_blocks(name, tmp_path)
        code, out, err = run(
            "paint", "colorization", path, "--backbone", tiny, "--steps", 1, "--out", f"{name}.out.png"
        )
        assert (code, out) == (0, f"{name}.out.png\n")
        assert f"note: {path} was resized from 80 x 64 px to 64 x 64 px" in err
    assert (tmp_path / "grey.out.png").read_bytes() == (tmp_path / f"{kind}.out.png").read_bytes()


@pytest.mark.parametrize("kind", ["1", "L", "I;16", "alpha"])
def test_every_kind_of_mask_is_read(kind: str, run: Run, tiny: Path, photo: Path, tmp_path: Path) -> None:
    hole = Image.new("L", (70, 50))
    hole.paste(255, (20, 10, 60, 40))
    Image.new("RGB", (70, 50), "teal").save(tmp_path / "target.png")
    if kind == "I;16":
        mask = hole.convert("I").point(lambda value: value * 257).convert("I;16")
    elif kind == "alpha":
        mask = Image.new("RGBA", hole.size, (200, 0, 0, 0))
        mask.putalpha(hole)
    else:
        mask = hole.convert(kind)
    outs: list[bytes] = []
    for name, picture in (("plain", hole), ("kind", mask)):
        picture.save(tmp_path / f"{name}.png")
        code, _, err = run(
            *("paint", "ref-inpainting", photo, "target.png", "--mask", f"{name}.png"),
            *("--backbone", tiny, "--steps", 1, "--out", "out.png"),
        )
        assert code == 0, err
        assert "note: target.png was resized" in err
        outs.append((tmp_path / "out.png").read_bytes())
    assert outs[0] == outs[1]
    assert size_of(tmp_path / "out.png") == (70, 50), "the target's own"


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    end = b"\x00\x00\x00\x00IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + crc + end


def bad_file(kind: str, folder: Path) -> Path:
    path = folder / "bad.png"
    if kind == "truncated":
        Image.effect_noise((64, 64), 90).save(path)
        path.write_bytes(path.read_bytes()[:900])
    elif kind == "1 x 1":
        Image.new("RGB", (1, 1)).save(path)
    elif kind != "missing":
        path.write_bytes({"text": b"not a picture", "empty": b"", "huge": png_header(20000, 20000)}[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "is not a picture"),
        ("truncated", "bad.png"),
        ("empty", "is empty (0 bytes)"),
        ("huge", "pixels, which is the limit"),
        ("1 x 1", "at least 16 px"),
        ("missing", "There is no file"),
    ],
)
def test_bad_pictures_are_refused(kind: str, words: str, run: Run, tiny: Path, tmp_path: Path) -> None:
    bad = bad_file(kind, tmp_path)
    before = set(tmp_path.iterdir())
    refused(run("paint", "colorization", bad, "--backbone", tiny, "--out", "out.png"), words)
    assert set(tmp_path.iterdir()) == before, "no half-written file"


@pytest.mark.parametrize(("size", "words"), [((63, 64), "make them the same size"), ((80, 64), "is empty")])
def test_bad_masks_are_refused(size: tuple[int, int], words: str, run: Run, tiny: Path, photo: Path) -> None:
    Image.new("L", size).save("mask.png")
    refused(run("paint", "ref-inpainting", photo, photo, "--mask", "mask.png", "--backbone", tiny), words)
    assert not Path("painted.png").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--steps", "0"), "--steps must be at least 1, not 0"),
        (("--steps", "many"), "--steps cannot be 'many' (see anyrefill paint --help)"),
        (("--steps", "99999999999999999999"), "--steps must be at most 1000000, not 99999999999999999999"),
        (("--variants", "10001"), "--variants must be at most 10000, not 10001"),
        (("--seed", "nan"), "--seed cannot be 'nan' (see anyrefill paint --help)"),
        (("--guidance", "-1"), "--guidance must be 0 or more"),
        (("--reference-guidance", "-1"), "--reference-guidance must be 0 or more"),
        (("--caption-guidance", "-1"), "--caption-guidance must be 0 or more"),
        (("--device", "gpu"), "there is no device 'gpu'"),
        (("--stepz", "3"), "Unrecognized options: --stepz, 3"),
        (("--out", "out.xyz"), "its name must end in one of .png"),
        (("--out", "grey.png/out.png"), "Cannot write grey.png/out.png"),
        (("--out", "/proc/nowhere/out.png"), "Cannot write /proc/nowhere/out.png"),
        (("--out", f"{'x' * 300}.png"), "x.png: File name too long"),
        (("--out", f"{'x' * 300}/out.png"), "x/out.png: File name too long"),
        (("--out", "grey.png"), "it is one of the pictures to read"),
        (("--backbone", "nobody knows it"), "no base model"),
        (("--adapter", "nothing.safetensors"), "There is no adapter nothing.safetensors"),
        (("--adapter", "grey.png"), "is not a whole safetensors file"),
        (("--box", "0,0,9"), "A box has four edges"),
        (("--box", "left"), "A box is given by its edges, left, top, right and bottom, or as face, not as left"),
        (("--mask",), "Missing value for argument '--mask'"),
    ],
)
def test_wrong_values_are_refused(options: tuple[str, ...], words: str, run: Run, tiny: Path, photo: Path) -> None:
    base = () if "--backbone" in options else ("--backbone", tiny)
    refused(run("paint", "colorization", photo.name, *base, *options), words)
    assert not Path("painted.png").exists()


def test_an_unwritable_output_is_refused_before_anything_is_loaded(
    run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(painter, "load", load)
    Path("folder.png").mkdir()
    refused(run("paint", "colorization", photo, "--out", "folder.png"), "Cannot write folder.png: it is a folder")


def test_an_adapter_of_another_base_is_refused(
    run: Run, tiny: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save_tiny_checkpoint(tmp_path / "other", seed=5)
    adapter = save_tiny_adapter(other, tmp_path / "adapter.safetensors", "colorization")
    capsys.readouterr()
    refused(
        run("paint", "colorization", photo, "--backbone", tiny, "--adapter", adapter), "was trained on another base"
    )


def test_what_is_missing_is_named(run: Run, tiny: Path, photo: Path) -> None:
    refused(run("paint"), "Missing from anyrefill paint: TASK REFERENCE")
    refused(run("paint", "sing", photo), "There is no task 'sing'; there are age, blueprint, canny-to-image")
    refused(run("sing"), "There is no command 'sing'; there are tasks, demo, paint, curate, doctor,")
    refused(run("paint", "ref-inpainting", photo, "--backbone", tiny), "needs a mask")
    refused(run("evaluate"), "Give either a task or --all")
    refused(run("evaluate", "--all", "--adapter", "deblur"), "One adapter does not paint every task")
    refused(run("evaluate", "deblur", "--limit", "0"), "--limit must be at least 1")


def test_variants_go_to_files_with_numbers(run: Run, as_micro: Path, photo: Path) -> None:
    asked = ("paint", "colorization", photo, "--raw", "--steps", 1, "--out", "many.png", "--variants", 2)
    code, out, _ = run(*asked, "--temperature", 1)
    assert (code, out.split()) == (0, ["many-1.png", "many-2.png"])
    assert Path("many-1.png").read_bytes() != Path("many-2.png").read_bytes()
    code, out, err = run(*asked[:-1], 10, "--temperature", 1, "--repair-colour")
    assert (code, out.split()) == (0, [f"many-{number}.png" for number in range(1, 11)])
    assert len({Path(name).read_bytes() for name in out.split()}) == 10
    assert "2/2" in err
    assert err.count("The colours were not repaired") == 1, "eight are painted together, then two: it is said once"
    refused(run(*asked, "--temperature", 0), "At temperature 0 all paintings are the same")
    refused(run(*asked, "--best-of", 2), "Either the best of several paintings is kept, or all variants")


def test_paint_with_a_shipped_adapter(run: Run, as_micro: Path, photo: Path) -> None:
    code, out, err = run("paint", "colorization", photo, "--steps", 2, "--out", "deep/folder/out.jpg")
    assert (code, out) == (0, "deep/folder/out.jpg\n")
    assert "2/2" in err, "the progress bar"
    assert size_of("deep/folder/out.jpg") == (80, 64), "the photograph's own"
    assert len(list(Path("deep/folder").iterdir())) == 1


def test_painting_with_its_layers_elsewhere(run: Run, as_micro: Path, photo: Path) -> None:
    pictures = []
    for waits in ("no", "idle", "all"):
        options = ("--offload", waits, "--device", "cpu", "--out", f"{waits}.png")
        assert run("paint", "colorization", photo, "--steps", 2, *options)[0] == 0
        pictures.append(np.asarray(Image.open(f"{waits}.png")).astype(int))
    assert all(abs(pictures[0] - picture).max() <= 1 for picture in pictures[1:])


def test_tasks_are_listed(run: Run, as_micro: Path) -> None:
    code, out, err = run("tasks")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == tasks.names()
    assert {line.split()[0] for line in out.splitlines() if line.endswith("[ready]")} == {
        "colorization",
        "image-to-segment",
    }
    facts = json.loads(run("tasks", "--json")[1])
    assert [fact["name"] for fact in facts] == tasks.names()
    assert [fact["ready"] for fact in facts if fact["name"] == "colorization"] == [True]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_is_stable(command: str, run: Run, snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert out == snapshot


def test_the_help_of_the_command_is_stable(run: Run, snapshot: SnapshotAssertion) -> None:
    assert run() == run("--help") == run("-h")
    assert run("--help")[1] == snapshot


def test_train_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from anyrefill import train

    def interrupted(config: train.TrainConfig) -> Iterator[train.Step]:
        signal.raise_signal(signal.SIGINT)
        for step in range(1, config.steps + 1):
            yield train.Step(step=step, steps=config.steps, loss=0.5, seconds=0.1)

    monkeypatch.setattr(train, "training", interrupted)
    code, _, err = run("train", "deblur", "pairs", "--out", "run", "--steps", 9)
    assert code == 130
    assert "Stopped after step 1 of 9, which is saved: the same command goes on." in err


def test_a_wrong_training_is_refused(run: Run, tiny: Path) -> None:
    refused(run("train", "deblur", "nowhere", "--out", "run", "--backbone", tiny), "nowhere")
    refused(run("train", "deblur", "pairs", "--out", "run", "--device", "gpu"), "there is no device 'gpu'")
    refused(run("train", "deblur", "pairs", "--out", "run", "--device", "xpu"), "this machine has no xpu device")
    refused(run("train", "deblur", "pairs", "--out", "/proc/run", "--backbone", tiny), "Cannot write /proc/run")
    assert not Path("run").exists()


def test_a_bug_is_no_users_mistake(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(cli.COMMANDS, "tasks", cli.Command(summary="", options=lambda: cli.ListTasks, run=broken))
    with pytest.raises(ZeroDivisionError):
        run("tasks")


@pytest.mark.parametrize("sentence", ["One.", "One", "One\n  over lines"])
def test_a_mistake_is_one_line(
    sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(_: object) -> None:
        raise UserError(sentence)

    monkeypatch.setitem(cli.COMMANDS, "tasks", cli.Command(summary="", options=lambda: cli.ListTasks, run=mistaken))
    with pytest.raises(SystemExit, match="2"):
        cli.main(["tasks"])
    assert capsys.readouterr().err == f"anyrefill: {' '.join(sentence.split()).rstrip('.')}.\n"


def process(*words: object, folder: Path) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "anyrefill", *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_a_real_process_refuses_too(tiny: Path, tmp_path: Path) -> None:
    bad = bad_file("truncated", tmp_path)
    refused(process("paint", "colorization", bad, "--backbone", tiny, folder=tmp_path), "bad.png")
    refused(process("paint", "colorization", bad, "--out", "/proc/a/b.png", folder=tmp_path), "Cannot write")
    assert list(tmp_path.iterdir()) == [bad]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_who_leaves_is_no_mistake(unbuffered: str) -> None:
    command = [sys.executable, "-m", "anyrefill", "paint", "--help"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}) as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        reading.stdout.close()
        assert reading.stderr.read() == b""
    assert reading.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told(unbuffered: str) -> None:
    command = [sys.executable, "-m", "anyrefill", "--help"]
    with Path("/dev/full").open("w") as full:
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, text=True, check=False)
    refused((done.returncode, "", done.stderr), "Cannot write what is printed: No space left on device.")


@pytest.mark.parametrize("words", ["CUDA out of memory. Tried to allocate", "[enforce fail] can't allocate memory"])
def test_memory_that_does_not_do_is_told(run: Run, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    def fail(said: str) -> None:
        raise RuntimeError(said)

    command = cli.COMMANDS["tasks"]
    monkeypatch.setitem(cli.COMMANDS, "tasks", replace(command, run=lambda _: fail(words)))
    refused(run("tasks"), "The memory does not hold this: smaller pictures")
    monkeypatch.setitem(cli.COMMANDS, "tasks", replace(command, run=lambda _: fail("InvalidCxxCompiler: none found")))
    refused(run("tasks"), "Compiling needs a C++ compiler, and there is no g++: install it, or leave out --compiled")
    monkeypatch.setitem(cli.COMMANDS, "tasks", replace(command, run=lambda _: fail("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        run("tasks")


def test_what_is_forbidden_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "runs/log.jsonl")

    monkeypatch.setitem(cli.COMMANDS, "tasks", replace(cli.COMMANDS["tasks"], run=fail))
    refused(run("tasks"), "Cannot use runs/log.jsonl: Permission denied.")


def test_a_file_system_to_read_alone_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "runs/log.jsonl")

    monkeypatch.setitem(cli.COMMANDS, "tasks", replace(cli.COMMANDS["tasks"], run=fail))
    refused(run("tasks"), "Cannot write runs/log.jsonl: Read-only file system.")


def test_a_name_that_stdout_lacks_is_printed_all_the_same() -> None:
    code = "import sys; from anyrefill import cli; cli.main(['--help']); print('ü', end='')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\\xfc")


def test_a_report_of_scores_takes_the_place_of_no_task_and_no_adapter(run: Run) -> None:
    for name, words in (("mine.py", ("mine.py",)), ("a.safetensors", ("deblur", "--adapter", "a.safetensors"))):
        Path(name).write_text("mine")
        refused(run("evaluate", *words, "--json", name), f"Cannot write {name}: {name} is to be read")
        assert Path(name).read_text() == "mine"


@pytest.mark.parametrize("words", [("deblur",), ("backbone",), ("--all",)])
def test_a_report_of_scores_takes_the_place_of_no_held_out_pairs(
    run: Run, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    taken = Path.cwd() / ".cache" / "anyrefill" / "heldout" / "deblur" / "metadata.jsonl"
    taken.parent.mkdir(parents=True)
    taken.write_text("mine")
    refused(run("evaluate", *words, "--json", taken), f"Cannot write {taken}: {taken.parents[1]} is to be read.")
    assert taken.read_text() == "mine"


def test_help_needs_no_torch() -> None:
    code = "import sys; from anyrefill import cli; cli.main(['--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize("seed", [-1, 99999999999999999999])
@pytest.mark.parametrize(
    "words",
    [
        ("paint", "deblur", "photo.png", "--out", "out.png"),
        ("evaluate", "deblur"),
        ("demo",),
        ("curate", "deblur", "photos", "--out", "pairs"),
    ],
)
def test_seeds_beyond_every_generator_are_refused(run: Run, words: tuple[str, ...], seed: int) -> None:
    refused(run(*words, "--seed", seed), "--seed must be at least 0 and at most 1099511627776, not")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("nowhere",), "PAIRS"),
        (("--adapter", "age"), "--adapter"),
        (("--no-baselines",), "--no-baselines"),
        (("nowhere", "--adapter", "age"), "PAIRS and --adapter"),
    ],
)
def test_the_backbone_is_evaluated_on_its_own_terms(run: Run, words: tuple[str, ...], named: str) -> None:
    refused(run("evaluate", "backbone", *words), f"bare and with all baselines: leave out {named}.")


def test_a_report_of_too_long_a_name_is_refused(run: Run) -> None:
    refused(run("evaluate", "deblur", "--json", f"{'x' * 300}.json"), "x.json: File name too long")


@pytest.mark.parametrize("words", [("evaluate", "deblur"), ("curate", "deblur", "--out", "pairs"), ("doctor",)])
def test_a_folder_of_too_long_a_name_is_refused(run: Run, words: tuple[str, ...]) -> None:
    refused(run(*words, "x" * 300), f"Cannot open {'x' * 300}: File name too long")


def test_a_task_and_an_adapter_of_too_long_names_are_refused(run: Run, photo: Path) -> None:
    refused(run("paint", f"{'x' * 300}.py", photo.name), "x.py: File name too long")
    refused(run("paint", "deblur", photo.name, "--adapter", "x" * 300), "x: File name too long")


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        (("photos",), "photos/grey.json"),
        (("--table", "pairs.csv"), "pairs.csv"),
        (("--references", "before", "--targets", "after"), "after/facts.json"),
    ],
)
def test_the_report_of_curation_takes_the_place_of_nothing_to_read(
    run: Run, words: tuple[str, ...], taken: str
) -> None:
    Path(taken).parent.mkdir(exist_ok=True)
    Path(taken).write_text("mine")
    refused(run("curate", "deblur", *words, "--out", "pairs", "--json", taken), f"Cannot write {taken}: ")
    assert Path(taken).read_text() == "mine"


@pytest.mark.parametrize(
    "words", [("--degrade", "jpeg"), ("--scenes", "nowhere"), ("--layout", "div2k-train"), ("--depth", "ID")]
)
def test_pairs_made_elsewhere_take_no_options_of_photographs(run: Run, words: tuple[str, str]) -> None:
    answer = run("curate", "deblur", "--table", "pairs.csv", "--out", "pairs", *words)
    refused(answer, f"{words[0]} goes with PHOTOS")
    assert not Path("pairs").exists()


@pytest.mark.parametrize(
    ("task", "words", "why"),
    [
        ("deblur", ("--matcher", "none"), "--matcher does not go with deblur"),
        ("deblur", ("--scenes", "nowhere"), "--scenes does not go with deblur"),
        ("ref-inpainting", ("--degrade", "jpeg"), "--degrade does not go with ref-inpainting"),
        ("ref-inpainting", ("--scenes", "nowhere", "--per-scene", "3"), "--per-scene does not go with --scenes"),
    ],
)
def test_photographs_take_no_options_of_another_kind_of_pair(
    run: Run, task: str, words: tuple[str, ...], why: str
) -> None:
    refused(run("curate", task, "photos", "--out", "pairs", *words), why)


def test_threads_are_told_to_sleep_soon_before_torch_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    cli.main(["tasks"])
    assert os.environ["GOMP_SPINCOUNT"] == "7", "what the user set stays"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    cli.main(["tasks"])
    assert os.environ["GOMP_SPINCOUNT"] == "10000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    look = "import sys, anyrefill.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0, "so it is read"
