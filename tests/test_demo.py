"""The demonstration: a sheet and a page that show what was painted."""

import base64
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from anyrefill import Painter, Pair, UserError, cli, images, tasks, write_pairs
from anyrefill.backbone import embedded
from anyrefill.backbone.tiny import TinyFill
from anyrefill.demo import PHOTOS, Gallery, demonstrating, examples, read_photos
from anyrefill.demo.page import contact_sheet, html_page, scores
from anyrefill.metrics import psnr
from panels import random_panel


def copying(task: str) -> Painter:
    return Painter(backbone=TinyFill(), task=tasks.get(task), size=(32, 32), steps=2)


def gallery(task: str, folder: Path = PHOTOS) -> Gallery:
    *_, last = demonstrating(copying(task), examples(tasks.get(task), (32, 32), folder))
    assert last.gallery is not None
    return last.gallery


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Return a folder with one photograph whose subject nobody knows."""
    Image.effect_noise((40, 40), 80).convert("RGB").save(tmp_path / "a.png")
    (tmp_path / "photos.json").write_text('{"a.png": {"caption": "noise"}}')
    return tmp_path


def test_the_bundled_photographs_say_whose_they_are() -> None:
    photos = read_photos((32, 32))
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


def test_every_task_that_makes_pairs_is_shown_on_photographs() -> None:
    made = [name for name in tasks.names() if tasks.get(name).make is not None and "depth" not in name]
    assert len(made) >= 8
    for name in made:
        found = examples(tasks.get(name), (64, 64))
        assert all(example.name in {"astronaut", "chelsea", "coffee", "rocket"} for example in found)
        assert len(found) == (3 if name == "segment-to-image" else 4), name
        assert all(example.licence != "unknown" and example.pair.caption for example in found)


def test_what_is_given_painted_and_true() -> None:
    pictures, photos = gallery("colorization").pictures, read_photos((32, 32))
    assert [picture.example.name for picture in pictures] == [named.name for named in photos]
    for picture, named in zip(pictures, photos, strict=True):
        assert picture.truth is not None
        assert picture.truth.equal(named.photo.pixels)
        assert (picture.painted - picture.reference).abs().max() < 1e-4
        assert picture.metric == "psnr"
        assert picture.score == pytest.approx(psnr(picture.painted, picture.truth))


def test_a_segment_without_a_known_subject_is_only_shown(noise: Path) -> None:
    (picture,) = gallery("image-to-segment", noise).pictures
    assert picture.truth is None
    assert math.isnan(picture.score)
    assert scores(gallery("image-to-segment", noise)).endswith("no known truth")
    assert examples(tasks.get("segment-to-image"), (32, 32), noise) == [], "a photograph is no silhouette"


def test_a_known_mask_gives_the_truth(noise: Path) -> None:
    mask = Image.new("L", (40, 40))
    mask.paste(255, (0, 0, 40, 20))
    mask.save(noise / "a.mask.png")
    (picture,) = gallery("image-to-segment", noise).pictures
    assert picture.truth is not None
    assert picture.truth.mean() == 0
    assert 0 <= picture.score <= 1


def test_bundled_pairs_stand_in_for_what_no_photograph_makes(noise: Path) -> None:
    assert examples(tasks.get("age"), (32, 32), noise) == []
    old = Pair(
        reference=random_panel(32, 32, 1), target=random_panel(32, 32, 2), caption="an old man",
        extra={"source": "us", "licence": "Apache-2.0"},
    )  # fmt: skip
    write_pairs([old], noise / "pairs" / "age")
    (picture,) = gallery("age", noise).pictures
    assert picture.truth is not None
    assert picture.truth.equal(old.target)
    assert (picture.example.licence, picture.example.pair.caption) == ("Apache-2.0", "an old man")
    assert "rendered pairs: us, Apache-2.0" in html_page([gallery("age", noise)], 1.0)


def test_missing_photographs_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"photos\.json is missing"):
        read_photos((32, 32), tmp_path)


def test_the_sheet_has_a_line_for_each_task() -> None:
    found = [gallery("colorization"), gallery("segment-to-image")]
    sheet = contact_sheet(found)
    assert sheet.size == (4 + 8 * 36, 2 * (24 + 36))
    first = sheet.crop((4, 24, 36, 56))
    assert first.tobytes() == images.to_pil(found[0].pictures[0].reference).tobytes()
    second = sheet.crop((40, 84, 72, 116))
    assert second.tobytes() == images.to_pil(found[1].pictures[0].painted).tobytes()


def test_the_page_needs_no_other_file() -> None:
    found = gallery("colorization")
    page = html_page([found], 83.6)
    pictures = re.findall(r'src="([^"]*)"', page)
    assert len(pictures) == 3 * len(found.pictures)
    kind, data = pictures[0].split(",")
    assert kind == "data:image/png;base64"
    pixels = Image.open(io.BytesIO(base64.b64decode(data)))
    assert pixels.tobytes() == images.to_pil(found.pictures[0].reference).tobytes()
    assert "http" not in page
    assert "took 84 s" in page
    assert all(picture.example.licence in page for picture in found.pictures)
    assert page.count("<img alt=") == len(pictures)


def test_times_and_scores_are_one_line() -> None:
    assert re.match(r"deblur +\d+\.\d\d s a picture, 2 steps +psnr: \w+ \d+\.\d\d", scores(gallery("deblur")))


def test_the_command_paints_every_shipped_task(
    as_micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cli.main(["demo", "--out", "shown/here", "--steps", "1"])
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["colorization", "image-to-segment"]
    assert re.fullmatch(r"8 pictures in \d+ s, loading included", lines[2])
    assert lines[3:] == ["shown/here/contact-sheet.png", "shown/here/index.html"]
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
def test_every_shipped_task_has_pictures_to_be_shown_on() -> None:
    for name in (*embedded.shipped(), *embedded.mixes()):
        first, *_ = name.split("+")
        task = replace(tasks.get(first), name=name)
        assert examples(task, (32, 32)), f"{name}: run python -m recipes.demo_pairs"
    for name in embedded.shipped():
        assert (embedded.EMBEDDED / "adapters" / f"{name}.safetensors").stat().st_size < 20e6


def test_bundled_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (PHOTOS / "pairs").rglob("*.*") if path.suffix != ".jsonl"}
    assert all(size < 15_000 for size in sizes.values()), sizes
