"""Curation: photographs and imports become pairs, everything else becomes a reason, and nothing depends on luck."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anyrefill import Pair, PairFolder, Photo, Task, UserError, cli, curate, images, tasks
from anyrefill.curate.manifest import CURATION, MANIFEST
from anyrefill.types import Mask
from panels import random_panel

PHOTOS = Path(images.__file__).parent / "assets" / "photos"


def a_picture(path: Path, size: tuple[int, int] = (64, 48), seed: int = 0, alpha: bool = False) -> Path:
    """Write random pixels (width, height); with alpha the left half is opaque."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4 if alpha else 3), dtype=np.uint8)
    if alpha:
        pixels[..., 3] = 0
        pixels[:, : size[0] // 2, 3] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Return four good photographs, one small, one broken, and words beside some."""
    folder = tmp_path / "album"
    a_picture(folder / "a.png")
    (folder / "a.txt").write_text("a red\nbarn\n")
    a_picture(folder / "deep" / "b.jpg", seed=1)
    a_picture(folder / "deep" / "c.webp", (32, 80), seed=2)
    lines = [{"file_name": "b.jpg", "caption": "two cats", "licence": "CC0", "source": "me"}, {"file_name": "c.webp"}]
    (folder / "deep" / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    a_picture(folder / "cut.png", seed=3, alpha=True)
    a_picture(folder / "small.png", (24, 24))
    (folder / "torn.png").write_bytes((folder / "a.png").read_bytes()[:200])
    a_picture(folder / ".hidden" / "x.png")
    return folder


def made(album: Path, task: str = "deblur", out: str = "pairs", **more: object) -> tuple[curate.Report, Path]:
    """Curate an album at 32 px into a folder beside it."""
    folder = album.parent / out
    outcomes = curate.from_photos(tasks.get(task), curate.find_photos(album), side=32, **more)  # type: ignore[arg-type]
    return curate.write(outcomes, folder, task, {"side": 32}), folder


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_album_becomes_pairs_and_reasons(album: Path) -> None:
    report, folder = made(album)
    pairs = list(PairFolder(folder))
    assert report.pairs == len(pairs) == 4
    assert [pair.extra["source"] for pair in pairs] == ["a.png", "cut.png", "deep/b.jpg", "deep/c.webp"]
    assert [pair.caption for pair in pairs] == ["a red barn", "", "two cats", ""]
    assert [pair.extra["licence"] for pair in pairs] == ["", "", "CC0", ""]
    assert all(pair.reference.shape == pair.target.shape == (3, 32, 32) for pair in pairs)
    assert [(one.name, one.reason.split(",")[0]) for one in report.rejected] == [
        ("small.png", "It is 24 x 24 px"),
        ("torn.png", report.rejected[1].reason.split(",")[0]),
    ]
    assert "torn.png is broken or cut short" in report.rejected[1].reason
    head = json.loads((folder / CURATION).read_text())
    assert (head["pairs"], head["rejected"]) == (4, 2)
    assert {"python", "torch", "pillow"} <= set(head["versions"])
    assert [path.name for path in album.parent.iterdir() if path.name.startswith(".")] == []


def test_the_manifest_names_every_byte(album: Path) -> None:
    _, folder = made(album)
    rows = lines(folder / MANIFEST)
    assert len(rows) == 4
    for row in rows:
        (source,) = row["sources"]  # type: ignore[misc]
        assert hashlib.sha256((album / source["file"]).read_bytes()).hexdigest() == source["sha256"]
        for output in row["outputs"]:  # type: ignore[attr-defined]
            assert hashlib.sha256((folder / output["file"]).read_bytes()).hexdigest() == output["sha256"]
    assert rows[2]["sources"][0]["origin"] == "me"  # type: ignore[index]


@pytest.mark.parametrize("degradation", ["", "blur+noise", "jpeg"])
def test_the_same_seed_gives_the_same_bytes(album: Path, degradation: str) -> None:
    first, again, other = (
        contents(made(album, out=f"p{run}", seed=seed, degradation=degradation)[1])
        for run, seed in enumerate((0, 0, 1))
    )
    assert first == again
    assert first["target/000000.png"] == other["target/000000.png"]
    assert first["reference/000000.png"] != other["reference/000000.png"]


def test_another_photograph_changes_no_other_pair(album: Path) -> None:
    before = contents(made(album)[1])
    a_picture(album / "0.png", seed=9)
    after = contents(made(album, out="more")[1])
    assert before["reference/000000.png"] == after["reference/000001.png"]


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_batch_changes_nothing(album: Path, batch: int) -> None:
    assert contents(made(album)[1]) == contents(made(album, out="other", batch=batch)[1])


@pytest.mark.parametrize("name", [name for name in tasks.names() if tasks.get(name).make])
def test_every_task_that_makes_pairs_can_be_curated(name: str, tmp_path: Path) -> None:
    a_picture(tmp_path / "album" / "a.png", alpha=True)
    photo = curate.find_photos(tmp_path / "album")
    (outcome,) = curate.from_photos(tasks.get(name), photo, side=48)
    assert (outcome.pair is None) == bool(outcome.reason), "a pair or a reason"
    if outcome.pair is not None:
        assert outcome.pair.target.shape == (3, 48, 48)


def test_alpha_is_the_foreground(album: Path) -> None:
    report, folder = made(album, "image-to-segment")
    assert report.pairs == 1
    (pair,) = PairFolder(folder)
    assert pair.target[0, :, :15].min() == 1
    assert pair.target[0, :, 17:].max() == -1
    reasons = {one.name: one.reason for one in report.rejected}
    assert reasons["a.png"].endswith(
        "makes no pair of it; not known are its foreground (alpha channel or --foreground), depth (--depth)."
    )


class Half:
    """A foreground annotator that takes the upper half, and counts."""

    name = "half"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, photos: Sequence[Photo]) -> list[Mask]:
        self.asked.append(len(photos))
        masks = [torch.zeros_like(photo.pixels[:1]) for photo in photos]
        for mask in masks:
            mask[:, :16] = 1
        return masks


class Ramp:
    """A depth annotator that finds everything nearer below."""

    name = "ramp"

    def __call__(self, photos: Sequence[Photo]) -> list[torch.Tensor]:
        return [torch.linspace(-1, 1, 32)[None, :, None].repeat(1, 1, 32) for _ in photos]


class Words:
    """A captioner."""

    name = "words"

    def __call__(self, photos: Sequence[Photo]) -> list[str]:
        return [f"picture {photo.pixels.mean():.3f}" for photo in photos]


def test_annotators_are_asked_about_what_is_missing(album: Path) -> None:
    half = Half()
    report, folder = made(album, "image-to-segment", annotators=curate.Annotators(foreground=half, caption=Words()))
    assert report.pairs == 4
    assert half.asked == [3], "the cut-out has a foreground, two were not read"
    rows = {row["sources"][0]["file"]: row for row in lines(folder / MANIFEST)}  # type: ignore[index]
    assert rows["a.png"]["parameters"] == {"foreground_by": "half"}
    assert rows["cut.png"]["parameters"] == {"caption_by": "words"}
    assert rows["deep/c.webp"]["parameters"] == {"caption_by": "words", "foreground_by": "half"}
    assert rows["a.png"]["caption"] == "a red barn"


def test_depth_is_asked_for_and_becomes_a_panel(album: Path) -> None:
    report, folder = made(album, "image-to-depth", annotators=curate.Annotators(depth=Ramp()))
    assert report.pairs == 4
    depth = next(iter(PairFolder(folder))).target
    assert depth[:, -1].min() > 0.9
    assert depth[:, 0].max() < -0.9


def test_what_a_task_draws_is_in_the_manifest(album: Path) -> None:
    def make(photo: Photo, generator: torch.Generator) -> Pair:
        shift = int(torch.randint(1, 9, (), generator=generator))
        return Pair(reference=photo.pixels.roll(shift, -1), target=photo.pixels, extra={"shift": shift})

    task = Task(name="shift", summary="shifted -> back", make=make)
    folder = album.parent / "pairs"
    curate.write(curate.from_photos(task, curate.find_photos(album), side=32), folder, "shift", {})
    for row, pair in zip(lines(folder / MANIFEST), PairFolder(folder), strict=True):
        shift = row["parameters"]["shift"]  # type: ignore[index]
        assert torch.equal(pair.reference, pair.target.roll(shift, -1))


def test_nothing_usable_is_said_once_and_leaves_nothing(album: Path) -> None:
    photos = curate.find_photos(album)
    with pytest.raises(
        UserError, match=r"None of 6 candidates gave a pair: a\.png: It is 64 x 48 px, smaller than 512"
    ):
        curate.write(curate.from_photos(tasks.get("deblur"), photos, side=512), album.parent / "pairs", "deblur", {})
    assert [path.name for path in album.parent.iterdir()] == ["album"]


def test_div2k_is_read_without_its_small_copies(tmp_path: Path) -> None:
    names = ("DIV2K/DIV2K_train_HR/0001", "DIV2K/DIV2K_train_LR_bicubic/X2/0001x2", "DIV2K/DIV2K_valid_HR/0801")
    for name in (*names, "Flickr2K/Flickr2K_HR/000001"):
        a_picture(tmp_path / f"{name}.png", (16, 16))
    found = [source.path.stem for source in curate.find_photos(tmp_path, "div2k-train")]
    assert found == ["0001", "000001"]
    assert [source.path.stem for source in curate.find_photos(tmp_path, "div2k-test")] == ["0801"]
    with pytest.raises(UserError, match="There is no DIV2K_valid_HR in"):
        curate.find_photos(tmp_path / "Flickr2K", "div2k-test")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return pairs made elsewhere, with one of every fault."""
    for side, seed in (("left", 0), ("right", 1)):
        for name in ("a.png", "sub/b.png", "wide.png"):
            size = (64, 32) if (side, name) == ("left", "wide.png") else (64, 48)
            a_picture(tmp_path / side / name, size, seed)
    a_picture(tmp_path / "left" / "alone.png")
    (tmp_path / "right" / "a.txt").write_text("older")
    return tmp_path


def test_folders_are_matched_by_name(elsewhere: Path) -> None:
    listed = curate.list_folders(elsewhere / "left", elsewhere / "right", licence="mine")
    report = curate.write(curate.read_listed(tasks.get("deblur"), listed), elsewhere / "pairs", "deblur", {})
    pairs = list(PairFolder(elsewhere / "pairs"))
    assert [(pair.caption, pair.extra["licence"]) for pair in pairs] == [("older", "mine"), ("", "mine")]
    assert torch.equal(pairs[0].reference, images.to_panel(elsewhere / "left" / "a.png"))
    assert {one.name: one.reason for one in report.rejected} == {
        "alone.png": "It has no target of the same name.",
        "wide.png + wide.png": "Its proportions differ: the reference is 64 x 32 px, the target 64 x 48 px.",
    }


def test_two_extensions_are_ambiguous(elsewhere: Path) -> None:
    a_picture(elsewhere / "left" / "a.jpg")
    with pytest.raises(UserError, match="differ only in their extensions"):
        curate.list_folders(elsewhere / "left", elsewhere / "right")


def save_mask(path: Path) -> Path:
    mask = Image.new("L", (64, 48))
    mask.paste(255, (16, 8, 40, 30))
    mask.save(path)
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_table_is_read_and_a_hole_is_needed_where_a_task_paints_one(elsewhere: Path, kind: str) -> None:
    save_mask(elsewhere / "hole.png")
    table = elsewhere / f"table.{kind}"
    full = {"reference": "left/a.png", "target": "right/a.png", "mask": "hole.png", "caption": "a, b", "licence": "CC0"}
    bare = {"reference": "left/sub/b.png", "target": "right/sub/b.png"}
    if kind == "csv":
        text = 'reference,target,mask,caption,licence\nleft/a.png,right/a.png,hole.png,"a, b",CC0\n'
        table.write_text(text + "left/sub/b.png,right/sub/b.png,,,\n")
    else:
        table.write_text(json.dumps(full) + "\n\n" + json.dumps(bare))
    good, bad = curate.read_listed(tasks.get("ref-inpainting"), curate.list_table(table), side=32)
    assert good.pair is not None
    assert good.pair.mask is not None
    assert good.pair.mask.shape == (1, 32, 32)
    assert good.pair.mask.mean().item() == pytest.approx(24 * 22 / 48**2, abs=0.02), "cropped as the target was"
    assert (good.pair.caption, good.sources[0].licence) == ("a, b", "CC0")
    assert bad.reason == "It has no mask, and the task ref-inpainting paints a part of the target."


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("t.csv", "reference,goal\na,b\n", "row 1: target is missing"),
        ("t.jsonl", "{oops", "line 1: this is not JSON"),
        ("t.jsonl", "[1]", "expected an object"),
        ("t.csv", "", "lists no pair"),
        ("t.txt", "", r"must end in \.csv or \.jsonl"),
        ("t.jsonl", "[" * 99_999, "line 1: .* brackets too deep"),
        ("t.jsonl", f'{{"reference": {"1" * 5000}}}', "line 1: a number in this JSON is too long"),
        ("t.jsonl", '{"reference": "a", "target": "b", "caption": "\\ud800"}', "row 1: the caption must be text"),
        ("t.jsonl", '{"reference": "a\\u0000", "target": "b"}', "row 1: no file can have the name of the reference"),
        ("t.jsonl", '{"reference": "a", "target": "\\ud800"}', "row 1: no file can have the name of the target"),
        ("t.csv", f"reference,target\na,{'b' * 200_000}\n", r"Cannot read .*t\.csv: field larger than field limit"),
    ],
)
def test_a_bad_table_is_told(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=sentence):
        curate.list_table(tmp_path / name)


def test_a_quoted_field_of_a_table_goes_over_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('reference,target,caption\na,b,"two\nlines"\nc,d,one\u2028line\n', encoding="utf-8")
    assert [one.caption for one in curate.list_table(tmp_path / "t.csv")] == ["two\nlines", "one\u2028line"]


def test_thin_strokes_of_a_mask_stay_where_a_square_is_cut_out(tmp_path: Path) -> None:
    for name in ("left", "right"):
        a_picture(tmp_path / name / "a.png", (320, 256))
    mask = Image.new("L", (320, 256))
    mask.paste(255, (0, 100, 320, 101))
    (tmp_path / "masks").mkdir()
    mask.save(tmp_path / "masks" / "a.png")
    listed = curate.list_folders(tmp_path / "left", tmp_path / "right", tmp_path / "masks")
    (one,) = curate.read_listed(tasks.get("ref-inpainting"), listed, side=32)
    assert one.pair is not None
    assert one.pair.mask is not None
    assert one.pair.mask[0].nonzero()[:, 0].unique().tolist() == [100 * 32 // 256]
    assert one.pair.mask[0, 12].all()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: object) -> tuple[int, str, str]:
        code = 0
        try:
            cli.main(["curate", *(str(word) for word in words)])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


def test_the_command_reports_all(run: Run, album: Path) -> None:
    out, report = album.parent / "pairs", album.parent / "report.json"
    code, told, _ = run("deblur", album, "--out", out, "--size", 32, "--json", report)
    assert code == 0
    assert told.startswith(f"4 pairs of deblur in {out}\n2 rejected:\n  small.png: It is 24 x 24 px")
    assert json.loads(report.read_text())["rejected"] == 2
    code, _, err = run("deblur", album, "--out", out, "--size", 32)
    assert (code, "is not empty: give a new folder" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Give one of PHOTOS, --references with --targets, or --table."),
        (["album", "--table", "t.csv"], "Give one of"),
        (["album", "--references", "x"], "Give one of"),
        (["album", "--masks", "x"], "--masks goes with --references"),
        (["album", "--per-scene", "0"], "--per-scene must be at least 1, not 0."),
        (["album", "--size", "100"], "--size must be a multiple of 16, not 100."),
        (["nowhere"], "There is no folder nowhere."),
        (["album", "--degrade", "rust"], "There is no degradation 'rust'; there are blur, noise,"),
        (["album", "--foreground", "sam"], "--foreground must be u2netp, or GroundingDINO and SAM 2"),
        (["album", "--device", "abacus"], "there is no device 'abacus'"),
        (["album", "--depth", "nobody/nothing", "--device", "xpu"], "this machine has no xpu device"),
        (["album", "--json", "pairs"], "Cannot write pairs: the folder of pairs is to be there."),
    ],
)
def test_a_mistake_is_one_sentence(
    run: Run, album: Path, words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(album.parent)
    code, told, err = run("deblur", *words, "--out", "pairs")
    assert (code, told) == (2, "")
    assert sentence in err.splitlines()[-1]
    assert not Path("pairs").exists()


def test_views_are_matched_on_a_device_that_is_there(run: Run, album: Path) -> None:
    code, _, err = run("ref-inpainting", album, "--device", "xpu", "--out", album.parent / "pairs")
    assert (code, "this machine has no xpu device" in err) == (2, True)


def test_a_task_of_collected_pairs_says_so(album: Path) -> None:
    task = Task(name="age", summary="younger -> older")
    with pytest.raises(UserError, match="Pairs of the task age cannot be made of photographs: import collected ones"):
        list(curate.from_photos(task, curate.find_photos(album), side=32))


def test_a_metadata_file_that_cannot_be_read_is_told(album: Path) -> None:
    (album / "metadata.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"Cannot read .*metadata\.jsonl"):
        curate.find_photos(album)
    (album / "metadata.jsonl").write_text('{"name": "a.png"}')
    with pytest.raises(UserError, match="line 1: expected an object with file_name"):
        curate.find_photos(album)
    (album / "metadata.jsonl").write_text('{"file_name": "a.png"}\n{"file_name": "cut.png", "text": "\\ud800"}')
    with pytest.raises(UserError, match="line 2: the text must be text"):
        curate.find_photos(album)


def test_words_that_cannot_be_read_are_told(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    (album / "deep" / "metadata.jsonl").unlink()
    with pytest.raises(UserError, match=r"Cannot read .*a\.txt: Permission denied"):
        curate.find_photos(album)


def test_a_name_that_is_no_text_is_written_with_backslashes(tmp_path: Path) -> None:
    a_picture(tmp_path / "album" / "a.png").rename(tmp_path / "album" / os.fsdecode(b"\xfc.png"))
    report, folder = made(tmp_path / "album")
    assert report.pairs == 1
    assert "\\xfc.png" in lines(folder / "manifest.jsonl")[0]["sources"][0]["file"]  # type: ignore[index]


def test_a_reason_with_a_name_that_is_no_text_is_written(run: Run, tmp_path: Path) -> None:
    a_picture(tmp_path / "album" / "a.png")
    (tmp_path / "album" / os.fsdecode(b"torn\xfc.png")).write_bytes(b"torn")
    code, _, _ = run(
        "deblur", tmp_path / "album", "--size", 32, "--out", tmp_path / "out", "--json", tmp_path / "r.json"
    )
    assert code == 0
    for report in (tmp_path / "r.json", tmp_path / "out" / CURATION):
        (rejection,) = json.loads(report.read_text(encoding="utf-8"))["rejections"]
        assert "torn\udcfc.png is not a picture" in rejection["reason"]


def test_square_is_the_middle() -> None:
    picture = images.to_pil(random_panel(32, 96))
    assert curate.photos.square(picture, 32).tobytes() == picture.crop((32, 0, 64, 32)).tobytes()


def test_the_guide_s_python_runs(
    album: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "guides" / "curate.md").read_text(encoding="utf-8")
    text = guide.split("```python\n")[1].split("```")[0].replace("side=128", "side=32")
    album.rename(album.parent / "photos")
    monkeypatch.chdir(album.parent)
    exec(text, {})
    assert capsys.readouterr().out.startswith("4 pairs of deblur in pairs\n2 rejected:")
