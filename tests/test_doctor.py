"""The examination of pairs: every planted fault is found and named, and a clean folder gives no finding."""

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from anyrefill import Pair, UserError, cli, images, tasks, write_pairs
from anyrefill.doctor import Report, examining
from anyrefill.doctor.copies import NEAR, _first_near
from anyrefill.doctor.page import html_page
from anyrefill.doctor.report import SEVERITIES
from anyrefill.doctor.shift import find_shift
from anyrefill.metrics import luma
from anyrefill.pairs import METADATA, PairFolder, Photo

PHOTOS = Path(cli.__file__).parents[1] / "assets" / "photos"
CORNERS = ((0, 0), (0, 128), (128, 0), (128, 128), (64, 64))


def photographs() -> Iterator[Photo]:
    """Yield pieces of the bundled photographs, each with what is brighter than usual for its foreground."""
    for path in sorted(PHOTOS.glob("*.jpg")):
        photo = images.to_panel(path)
        for top, left in CORNERS:
            pixels = photo[:, top : top + 128, left : left + 128].contiguous()
            grey = ((luma(pixels)[0] + 1) * 127.5).byte().numpy()
            _, bright = cv2.threshold(grey, 0, 1, cv2.THRESH_OTSU)
            foreground = torch.from_numpy(np.asarray(bright)).float()[None]
            yield Photo(pixels=pixels, foreground=foreground, caption=f"{path.stem} at {top}, {left}")


def make_pairs(task: str) -> Iterator[Pair]:
    """Yield what a task makes of the photographs."""
    make = tasks.get(task).make
    assert make is not None
    generator = torch.Generator().manual_seed(0)
    for photo in photographs():
        pair = make(photo, generator)
        assert pair is not None
        yield pair


def examine(folder: Path, task: str | None = None, against: tuple[Path, ...] = ()) -> Report:
    *_, last = examining(folder, None if task is None else tasks.get(task), against)
    assert last.report is not None
    return last.report


def named(report: Report) -> set[tuple[str, int | None]]:
    return {(finding.check, finding.line) for finding in report.findings}


@dataclass
class Desk:
    """A folder of pairs to spoil: its lines are written again by `examine`."""

    folder: Path
    rows: list[dict[str, str] | str]
    against: tuple[Path, ...] = ()

    @classmethod
    def of(cls, folder: Path) -> "Desk":
        lines = (folder / METADATA).read_text(encoding="utf-8").splitlines()
        return cls(folder=folder, rows=[json.loads(line) for line in lines])

    def row(self, line: int) -> dict[str, str]:
        row = self.rows[line - 1]
        assert isinstance(row, dict)
        return row

    def file(self, line: int, part: str = "target") -> Path:
        return self.folder / self.row(line)[f"{part}_file_name"]

    def picture(self, line: int, part: str = "target") -> Image.Image:
        with Image.open(self.file(line, part)) as picture:
            return picture.copy()

    def add(self, like: int, save: Callable[[Path, Path], object]) -> int:
        """Add a line whose pictures are made of another one's by save(old, new); return its number."""
        row = dict(self.row(like))
        for part in ("reference", "target", "mask"):
            key = f"{part}_file_name"
            row[key] = row[key].replace("0000", "1000")
            save(self.file(like, part), self.folder / row[key])
        self.rows.append(row)
        return len(self.rows)

    def examine(self, task: str | None = None) -> Report:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in self.rows]
        (self.folder / METADATA).write_text("\n".join(lines), encoding="utf-8")
        return examine(self.folder, task, self.against)


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 20 colorizations with masks."""
    pairs = []
    for index, pair in enumerate(make_pairs("colorization")):
        mask = torch.zeros(1, 128, 128)
        mask[:, 8 + index : 90, 30 : 80 + index] = 1
        pairs.append(Pair(reference=pair.reference, target=pair.target, mask=mask, caption=pair.caption))
    folder = tmp_path_factory.mktemp("clean") / "pairs"
    write_pairs(pairs, folder)
    return folder


@pytest.fixture
def desk(clean: Path, tmp_path: Path) -> Desk:
    return Desk.of(Path(shutil.copytree(clean, tmp_path / "pairs")))


@pytest.mark.parametrize("task", ["deblur", "canny-to-image", "colorization", "image-to-segment"])
def test_a_clean_folder_gives_no_finding(task: str, tmp_path: Path) -> None:
    assert write_pairs(make_pairs(task), tmp_path / "pairs") == 20
    report = examine(tmp_path / "pairs", task)
    assert report.findings == ()
    assert (report.listed, report.read, report.captions) == (20, 20, 20)
    assert report.sizes == (("128 x 128 px", 20),)


Named = tuple[str, int | None]
Fault = Callable[[Desk], Named]
FAULTS: dict[str, Fault] = {}


def fault(plant: Fault) -> Fault:
    FAULTS[plant.__name__] = plant
    return plant


@fault
def unreadable(desk: Desk) -> Named:
    data = desk.file(1).read_bytes()
    desk.file(1).write_bytes(data[: len(data) // 2])
    return "unreadable", 1


@fault
def broken_line(desk: Desk) -> Named:
    desk.rows[1] = json.dumps(desk.rows[1])[:-5]
    return "broken-line", 2


@fault
def missing_file(desk: Desk) -> Named:
    desk.file(3, "reference").unlink()
    return "missing-file", 3


@fault
def size_outlier(desk: Desk) -> Named:
    for part in ("reference", "target", "mask"):
        desk.picture(4, part).resize((48, 48)).save(desk.file(4, part))
    return "size-outlier", 4


@fault
def aspect_differs(desk: Desk) -> Named:
    for part in ("target", "mask"):
        desk.picture(5, part).crop((0, 0, 128, 100)).save(desk.file(5, part))
    return "aspect-differs", 5


@fault
def shifted(desk: Desk) -> Named:
    whole = images.to_panel(PHOTOS / "chelsea.jpg")
    piece = (whole[:, 6:134, 9:137].permute(1, 2, 0) + 1) * 127.5
    assert desk.row(6)["caption"] == "chelsea at 0, 0"
    Image.fromarray(piece.round().byte().numpy()).save(desk.file(6))
    return "shifted", 6


@fault
def swapped(desk: Desk) -> Named:
    row = desk.row(7)
    row["reference_file_name"], row["target_file_name"] = row["target_file_name"], row["reference_file_name"]
    return "swapped", 7


@fault
def duplicate(desk: Desk) -> Named:
    return "duplicate", desk.add(8, shutil.copy)


@fault
def near_duplicate(desk: Desk) -> Named:
    def resized(old: Path, new: Path) -> None:
        with Image.open(old) as picture:
            picture.resize((112, 112)).save(new)

    return "near-duplicate", desk.add(9, resized)


@fault
def leak(desk: Desk) -> Named:
    other = desk.folder.with_name("leaked")
    (other / "reference").mkdir(parents=True)
    for part in ("reference", "target"):
        shutil.copy(desk.file(10, part), other / f"{part}.png")
    (other / METADATA).write_text('{"reference_file_name": "reference.png", "target_file_name": "target.png"}')
    desk.against += (other,)
    return "leak", 10


@fault
def unusable_mask(desk: Desk) -> Named:
    Image.new("L", (128, 128)).save(desk.file(11, "mask"))
    return "unusable-mask", 11


@fault
def missing_caption(desk: Desk) -> Named:
    desk.row(12)["caption"] = ""
    return "missing-caption", 12


TWELVE = tuple(FAULTS)


@fault
def mask_size(desk: Desk) -> Named:
    desk.picture(13, "mask").resize((64, 64)).save(desk.file(13, "mask"))
    return "mask-size", 13


@fault
def full_mask(desk: Desk) -> Named:
    Image.new("L", (128, 128), "white").save(desk.file(14, "mask"))
    return "full-mask", 14


@fault
def blank_panel(desk: Desk) -> Named:
    Image.new("RGB", (128, 128), "teal").save(desk.file(15))
    return "blank-panel", 15


@fault
def sixteen_bits(desk: Desk) -> Named:
    grey = np.asarray(desk.picture(16, "reference").convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(desk.file(16, "reference"))
    return "converted", 16


@fault
def transparent(desk: Desk) -> Named:
    picture = desk.picture(16)
    picture.putalpha(Image.linear_gradient("L").resize(picture.size).point(lambda value: max(value, 200)))
    picture.save(desk.file(16))
    return "converted", 16


@fault
def unlisted(desk: Desk) -> Named:
    desk.picture(17).transpose(Image.Transpose.ROTATE_90).save(desk.folder / "target" / "forgotten.png")
    return "unlisted", None


@fault
def identical_panels(desk: Desk) -> Named:
    shutil.copy(desk.file(18, "reference"), desk.file(18))
    return "identical-panels", 18


@fault
def ambiguous(desk: Desk) -> Named:
    first, second = desk.row(19), desk.row(20)
    for key in ("reference_file_name", "mask_file_name", "caption"):
        for unused in [desk.folder / second[key]] if key != "caption" else []:
            unused.unlink()
        second[key] = first[key]
    return "ambiguous", 20


@fault
def listed_twice(desk: Desk) -> Named:
    desk.rows.append({**desk.row(16), "caption": "other words"})
    return "listed-twice", len(desk.rows)


@fault
def aspect_outlier(desk: Desk) -> Named:
    for part in ("reference", "target", "mask"):
        desk.picture(17, part).crop((0, 0, 128, 64)).save(desk.file(17, part))
    return "aspect-outlier", 17


@fault
def one_caption(desk: Desk) -> Named:
    for line in range(1, 21):
        desk.row(line)["caption"] = "a photograph"
    return "one-caption", None


@fault
def class_balance(desk: Desk) -> Named:
    for line in range(1, 21):
        desk.row(line)["caption"] = "a cat" if line < 19 else "a dog"
    return "class-balance", None


@fault
def all_shifted(desk: Desk) -> Named:
    for line in range(1, 21):
        picture = np.asarray(desk.picture(line, "reference"))
        Image.fromarray(np.roll(picture, (0, 11), (0, 1))).save(desk.file(line, "reference"))
    return "shifted", None


def test_twelve_planted_faults_are_found_and_nothing_else(desk: Desk) -> None:
    planted = {FAULTS[name](desk) for name in TWELVE}
    assert len(planted) == 12
    report = desk.examine()
    assert named(report) == planted
    assert len(report.findings) == 12
    assert (report.listed, report.read) == (22, 19)


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in TWELVE])
def test_a_fault_alone_is_one_finding(name: str, desk: Desk) -> None:
    planted = FAULTS[name](desk)
    (finding,) = desk.examine().findings
    assert (finding.check, finding.line) == planted
    assert finding.sentence.endswith(".")
    assert str(desk.folder) not in finding.sentence


def test_the_one_that_is_not_shifted_is_the_odd_one(desk: Desk) -> None:
    straight = desk.file(3, "reference").read_bytes()
    FAULTS["all_shifted"](desk)
    desk.file(3, "reference").write_bytes(straight)
    folder, one = desk.examine().findings
    assert (folder.line, one.line, one.check) == (None, 3, "shifted")
    assert "lies exactly on the reference, unlike most" in one.sentence


@pytest.mark.parametrize("name", ["shifted", "all_shifted"])
def test_a_shift_is_told_in_pixels(name: str, desk: Desk) -> None:
    FAULTS[name](desk)
    (finding,) = desk.examine().findings
    wanted = "9 px left of and 6 px above" if name == "shifted" else "11 px left of"
    assert wanted in finding.sentence


def test_a_task_asks_for_what_it_needs(desk: Desk, tmp_path: Path) -> None:
    del desk.row(2)["mask_file_name"]
    shutil.move(desk.folder / "mask" / "000001.png", tmp_path)
    assert named(desk.examine()) == set()
    assert named(desk.examine("ref-inpainting")) == {("missing-mask", 2)}
    (tmp_path / "named.py").write_text(
        "from anyrefill.tasks import Task\ntask = Task(name='named', summary='', caption_required=True)\n"
    )
    desk.row(5)["caption"] = " "
    report = desk.examine(str(tmp_path / "named.py"))
    assert [(finding.check, finding.line, finding.severity) for finding in report.findings] == [
        ("missing-caption", 5, "error")
    ]


def test_a_near_leak_is_found_and_what_could_not_be_compared_is_said(desk: Desk, clean: Path, tmp_path: Path) -> None:
    other = Desk.of(Path(shutil.copytree(clean, tmp_path / "other")))
    for line in range(1, 21):
        for part in ("reference", "target"):
            kept = (
                desk.picture(line, part)
                if line == 4
                else desk.picture(line, part).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            )
            kept.convert("RGB").save(other.file(line, part), "JPEG", quality=80)
    other.file(9).write_bytes(b"")
    desk.against = (other.folder,)
    report = desk.examine()
    assert named(report) == {("near-leak", 4), ("not-compared", None)}
    assert f"{other.folder} too (line 4)" in report.findings[0].sentence


def test_another_folder_inside_or_beside_is_called_by_its_name(
    desk: Desk, clean: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, other in ((desk.folder, desk.folder / "test"), (Path(), Path("../beside"))):
        monkeypatch.chdir(desk.folder)
        shutil.copytree(clean, other)
        leaks = [finding for finding in examine(folder, against=(other,)).findings if finding.check == "leak"]
        assert [f" is in {other} too (line {line})" in leaks[line - 1].sentence for line in range(1, 21)] == [True] * 20
        shutil.rmtree(other)


def test_a_picture_that_cannot_be_read_is_called_by_its_name_in_the_folder(desk: Desk) -> None:
    desk.file(2).write_bytes(b"")
    Image.new("L", (128, 128)).save(desk.file(5, "mask"))
    sentences = [finding.sentence for finding in desk.examine().findings]
    assert sentences[0].startswith("target/000001.png is empty")
    assert sentences[1].startswith("The mask mask/000004.png is empty")


def test_a_name_that_is_no_text_is_in_both_reports(desk: Desk, tmp_path: Path) -> None:
    shutil.copy(desk.file(1), desk.folder / os.fsdecode(b"new\xfc.png"))
    cli.main(["doctor", str(desk.folder), "--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")])
    (finding,) = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["findings"]
    assert "No line names new\udcfc.png" in finding["sentence"]
    assert "No line names new\\udcfc.png" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_two_missing_files_of_a_line_are_two_findings(desk: Desk) -> None:
    for part in ("reference", "target"):
        desk.file(3, part).unlink()
    assert [finding.line for finding in desk.examine().findings] == [3, 3]


def test_views_without_a_common_place_are_not_called_shifted(desk: Desk) -> None:
    draw = np.random.default_rng(0)
    for line in range(1, 21):
        shift = draw.integers(-20, 21, 2)
        Image.fromarray(np.roll(np.asarray(desk.picture(line)), shift, (0, 1))).save(desk.file(line))
    assert named(desk.examine()) == set()


def test_a_folder_of_blank_references_is_one_finding(desk: Desk) -> None:
    for line in range(1, 21):
        Image.new("RGB", (128, 128), (line, line, line)).save(desk.file(line, "reference"))
    (finding,) = [finding for finding in desk.examine().findings if finding.check == "blank-panel"]
    assert (finding.line, finding.sentence[:23]) == (None, "20 of 20 references hav")


def test_a_folder_without_a_pair_is_an_error(tmp_path: Path) -> None:
    (tmp_path / METADATA).write_text("\n")
    report = examine(tmp_path)
    assert named(report) == {("broken-line", None)}
    assert report.count("error") == 1


def test_bytes_that_are_no_text_are_one_broken_line(desk: Desk) -> None:
    desk.examine()
    lines = (desk.folder / METADATA).read_bytes().split(b"\n")
    lines[4] = lines[4].replace(b'"caption": "', b'"caption": "\xff')
    (desk.folder / METADATA).write_bytes(b"\n".join(lines))
    assert named(examine(desk.folder)) == {("broken-line", 5)}


def test_json_too_deep_is_one_broken_line(desk: Desk) -> None:
    desk.examine()
    with (desk.folder / METADATA).open("a") as lines:
        lines.write("\n" + "[" * 99_999)
    assert named(examine(desk.folder)) == {("broken-line", len(desk.rows) + 1)}


def test_a_name_too_long_for_any_file_is_one_broken_line(desk: Desk) -> None:
    desk.row(4)["target_file_name"] = "x" * 300 + ".png"
    report = desk.examine()
    assert named(report) == {("broken-line", 4), ("unlisted", None)}
    assert "File name too long: repair or delete the line." in report.findings[0].sentence
    with pytest.raises(UserError, match="line 4: cannot read .*: File name too long"):
        PairFolder(desk.folder)


def test_near_hashes_are_found_as_by_comparing_all() -> None:
    draw = np.random.default_rng(0)
    hashes = draw.integers(0, 2**64, (300, 2), dtype=np.uint64)
    for index in range(200, 300):
        flipped = draw.choice(64, draw.integers(0, 9), replace=False).astype(np.uint64)
        hashes[index] = hashes[index - 200] ^ np.bitwise_xor.reduce(np.uint64(1) << flipped, initial=np.uint64(0))
    for before in (300, 150):
        bits = np.bitwise_count(hashes[:, None] ^ hashes[None]).max(axis=2) <= NEAR
        wanted = [next((j for j in range(min(i, before)) if bits[i, j]), -1) for i in range(300)]
        assert _first_near(hashes, before) == wanted
        assert sum(index >= 0 for index in wanted) > 20


@pytest.mark.parametrize("shift", [(0, 0), (5, -7), (-20, 11)])
def test_a_shift_is_measured(shift: tuple[int, int]) -> None:
    grey = luma(images.to_panel(PHOTOS / "astronaut.jpg"))[0].numpy() * 127.5
    found = find_shift(grey[30:-30, 30:-30], np.roll(255 - grey, shift, (0, 1))[30:-30, 30:-30], scale=2.0)
    assert (found.down, found.right, found.is_sure) == (2 * shift[0], 2 * shift[1], True)


def test_noise_has_no_sure_shift() -> None:
    draw = np.random.default_rng(0)
    assert not any(find_shift(*draw.random((2, 64, 96), dtype=np.float32)).is_sure for _ in range(50))


def test_the_reports_say_the_same(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in TWELVE:
        FAULTS[name](desk)
    expected = desk.examine()
    words = ["doctor", str(desk.folder), "--against", str(desk.against[0])]
    with pytest.raises(SystemExit, match="1"):
        cli.main([*words, "--html", str(tmp_path / "r.html"), "--json", str(tmp_path / "r.json")])
    captured = capsys.readouterr()
    assert captured.out == expected.to_text() + "\n"
    assert "21/21" in captured.err, "the progress bar: 20 lines that are right, and the leaked pair"
    facts = json.loads((tmp_path / "r.json").read_text())
    assert {(item["check"], item["line"]) for item in facts["findings"]} == named(expected)
    assert facts["counts"] == {severity: expected.count(severity) for severity in ("error", "warning", "note")}
    page = (tmp_path / "r.html").read_text()
    assert page == html_page(expected)
    thumbnails = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    assert len(thumbnails) >= 18
    assert Image.open(io.BytesIO(base64.b64decode(thumbnails[0]))).size == (128, 128)
    assert "http" not in page


def test_only_errors_give_exit_code_1(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    FAULTS["blank_panel"](desk)
    desk.examine()
    cli.main(["doctor", str(desk.folder)])
    assert "0 errors, 1 warning, 0 notes" in capsys.readouterr().out


def test_nothing_is_changed(desk: Desk) -> None:
    for name in TWELVE:
        FAULTS[name](desk)
    desk.examine()
    before = {path: path.read_bytes() for path in desk.folder.rglob("*.*")}
    examine(desk.folder, against=desk.against)
    assert {path: path.read_bytes() for path in desk.folder.rglob("*.*")} == before


def test_misuse_is_one_sentence(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    folder = str(desk.folder)
    for words, sentence in (
        ([str(tmp_path / "none")], "There is no folder"),
        ([str(empty)], "has no metadata.jsonl"),
        ([folder, "--task", "sing"], "There is no task 'sing'"),
        ([folder, "--against", folder], "cannot be compared with itself"),
        ([folder, "--html", "a", "--json", "a"], "give two files"),
        ([folder, "--html", str(tmp_path / "a"), "--json", str(empty / ".." / "a")], "give two files"),
        ([folder, "--json", str(tmp_path)], "it is a folder"),
    ):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["doctor", *words])
        assert sentence in capsys.readouterr().err


def test_a_long_list_is_cut_on_the_terminal_only(desk: Desk) -> None:
    for line in range(1, 21):
        desk.file(line).unlink()
    report = desk.examine()
    assert "10 more of missing-file: --json FILE lists all" in report.to_text()
    assert len(json.loads(report.to_json())["findings"]) == 20


def test_an_unknown_folder_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="There is no folder"):
        examine(Path("nowhere"))


def test_the_guide_names_every_finding() -> None:
    root = Path(__file__).parents[1]
    source = "\n".join(path.read_text() for path in (root / "src/anyrefill/doctor").glob("*.py"))
    guide = (root / "docs/guides/check-your-pairs.md").read_text()
    known = re.findall(r'"([a-z]+(?:-[a-z]+)*)", "(?:error|warning|note)"', source)
    known += re.findall(r'check="([a-z-]+)"', source)
    known += re.findall(r'_twice\([^"]*"([a-z-]+)"', source)
    assert set(re.findall(r"^\| `([a-z-]+)`", guide, re.MULTILINE)) == set(known) - set(SEVERITIES)


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_a_report_never_takes_the_place_of_the_pairs(
    option: str, clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs"
    shutil.copytree(clean, pairs)
    before = (pairs / METADATA).read_bytes()
    for words in (["doctor", str(pairs)], ["doctor", str(clean), "--against", str(pairs)]):
        with pytest.raises(SystemExit) as stop:
            cli.main([*words, option, str(pairs / METADATA)])
        assert stop.value.code == 2
        assert " is to be read." in capsys.readouterr().err
    assert (pairs / METADATA).read_bytes() == before


def test_a_report_never_takes_the_place_of_a_task(
    clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = tmp_path / "mine.py"
    task.write_text("precious")
    with pytest.raises(SystemExit, match="2"):
        cli.main(["doctor", str(clean), "--task", str(task), "--json", str(task)])
    assert f"{task} is to be read." in capsys.readouterr().err
    assert task.read_text() == "precious"
