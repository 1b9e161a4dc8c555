"""The demonstration: a sheet and a page that show what was painted."""

import base64
import io
import json
import math
import re
from pathlib import Path

import pytest
from PIL import Image

from anyrefill import Painter, UserError, cli, images, tasks
from anyrefill.backbone import embedded
from anyrefill.backbone.tiny import TinyFill
from anyrefill.demo import PHOTOS, Gallery, NamedPhoto, demonstrating, read_photos
from anyrefill.demo.page import contact_sheet, html_page, scores


def copying(task: str) -> Painter:
    return Painter(backbone=TinyFill(), task=tasks.get(task), size=(32, 32), steps=2)


def gallery(task: str, photos: list[NamedPhoto]) -> Gallery:
    *_, last = demonstrating(copying(task), photos)
    assert last.gallery is not None
    return last.gallery


@pytest.fixture
def photos() -> list[NamedPhoto]:
    return read_photos((32, 32))


def test_the_bundled_photographs_say_whose_they_are(photos: list[NamedPhoto]) -> None:
    assert len(photos) >= 4
    for named in photos:
        assert named.photo.caption
        assert named.source != "unknown"
        assert re.search("CC0|public domain", named.licence, re.IGNORECASE)
    listed = set(json.loads((PHOTOS / "photos.json").read_text()))
    there = {path.name for path in PHOTOS.iterdir() if path.suffix in (".jpg", ".png")}
    assert listed == {name for name in there if not name.endswith(".mask.png")}
    for name in listed:
        with Image.open(PHOTOS / name) as picture:
            assert min(picture.size) >= 128


def test_what_is_given_painted_and_true(photos: list[NamedPhoto]) -> None:
    found = gallery("colorization", photos)
    assert [picture.photo for picture in found.pictures] == [named.name for named in photos]
    for picture, named in zip(found.pictures, photos, strict=True):
        assert picture.truth is not None
        assert picture.truth.equal(named.photo.pixels)
        assert (picture.painted - picture.reference).abs().max() < 1e-4
        assert picture.metric == "luma_psnr"
        assert picture.score > 30


def test_a_segment_without_a_known_subject_is_only_shown(photos: list[NamedPhoto]) -> None:
    unknown = [named for named in photos if named.photo.foreground is None]
    for picture in gallery("image-to-segment", unknown).pictures:
        assert picture.truth is None
        assert math.isnan(picture.score)


def test_a_known_mask_gives_the_truth(tmp_path: Path) -> None:
    Image.effect_noise((40, 40), 80).convert("RGB").save(tmp_path / "a.png")
    mask = Image.new("L", (40, 40))
    mask.paste(255, (0, 0, 40, 20))
    mask.save(tmp_path / "a.mask.png")
    (tmp_path / "photos.json").write_text('{"a.png": {"caption": "noise"}}')
    (picture,) = gallery("image-to-segment", read_photos((32, 32), tmp_path)).pictures
    assert picture.truth is not None
    assert picture.truth.mean() == 0
    assert 0 <= picture.score <= 1


def test_missing_photographs_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"photos\.json is missing"):
        read_photos((32, 32), tmp_path)


def test_the_sheet_has_a_row_for_each_photograph(photos: list[NamedPhoto]) -> None:
    sheet = contact_sheet([gallery("colorization", photos), gallery("deblur", photos)], photos)
    assert sheet.size == (4 + 5 * 36, 24 + 36 * len(photos))
    first = sheet.crop((4, 24, 36, 56))
    assert first.tobytes() == images.to_pil(photos[0].photo.pixels).tobytes()


def test_the_page_needs_no_other_file(photos: list[NamedPhoto]) -> None:
    found = gallery("colorization", photos)
    page = html_page([found], photos)
    pictures = re.findall(r'src="([^"]*)"', page)
    assert len(pictures) == 3 * len(photos)
    kind, data = pictures[0].split(",")
    assert kind == "data:image/png;base64"
    pixels = Image.open(io.BytesIO(base64.b64decode(data)))
    assert pixels.tobytes() == images.to_pil(found.pictures[0].reference).tobytes()
    assert "http" not in page
    assert all(named.licence in page for named in photos)
    assert page.count("<img alt=") == len(pictures)


def test_times_and_scores_are_one_line(photos: list[NamedPhoto]) -> None:
    line = scores(gallery("deblur", photos))
    assert re.match(r"deblur +\d+\.\d\d s a picture, 2 steps +psnr: \w+ \d+\.\d\d", line)
    unknown = [named for named in photos if named.photo.foreground is None]
    assert scores(gallery("image-to-segment", unknown)).endswith("no known truth")


def test_the_command_paints_every_shipped_task(
    as_micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cli.main(["demo", "--out", "shown/here", "--steps", "1"])
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["colorization", "image-to-segment"]
    assert lines[2:] == ["shown/here/contact-sheet.png", "shown/here/index.html"]
    assert sorted(path.name for path in Path("shown/here").iterdir()) == ["contact-sheet.png", "index.html"]
    assert "1/1" in captured.err, "a progress bar"


def test_nothing_to_demonstrate_is_said(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty" / "transformer").mkdir(parents=True)
    monkeypatch.setattr(embedded, "EMBEDDED", tmp_path / "empty")
    with pytest.raises(SystemExit, match="2"):
        cli.main(["demo", "--out", "out"])
    assert "nothing to demonstrate" in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.skipif(not embedded.shipped(), reason="assets/micro is not in this checkout yet")
def test_the_embedded_backbone_brings_its_adapters() -> None:
    for task in embedded.shipped():
        assert tasks.get(task).make is not None, "the demo makes references from photographs"
        assert (embedded.EMBEDDED / "adapters" / f"{task}.safetensors").stat().st_size < 20e6
