"""The objects that training alone sees: icons of furniture and clip art."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from recipes.world import scenes
from recipes.world.furniture import entries
from recipes.world.scenes import OTHERS, Composer
from recipes.world.sources import Source, clip_art, coloured, icons

CATALOGUE = """id=x
name#1=Round Table!
icon#1=/pack/table.png
model#1=/pack/table.obj
name#2=Ghost
icon#2=/pack/ghost.png
model#2=/pack/ghost.obj
"""


def a_disc(path: Path, fill: tuple[int, int, int, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGBA", (80, 80))
    ImageDraw.Draw(image).ellipse((8, 8, 71, 71), fill=fill)
    image.save(path)
    return path


@pytest.fixture
def world(tmp_path: Path) -> Path:
    folder = tmp_path / "furniture" / "Scopia"
    a_disc(folder / "pack" / "table.png", (200, 60, 20, 255))
    (folder / "PluginFurnitureCatalog.properties").write_text(CATALOGUE, encoding="latin1")
    art = tmp_path / "x/openclipart-png/usr/share/openclipart/png"
    a_disc(art / "food/fruit/orange_someone_01.png", (250, 140, 0, 255))
    a_disc(art / "food/fruit/fruit_sign.png", (250, 140, 0, 255))
    a_disc(art / "food/fruit/shadow.png", (30, 30, 30, 255))
    a_disc(art / "shapes/disc.png", (250, 140, 0, 255))
    return tmp_path


def test_a_catalogue_is_read_and_a_missing_one_is_none(world: Path) -> None:
    table, ghost = entries(world)
    assert (table.words, table.licence, ghost.words) == ("round table", "CC-BY-3.0", "ghost")
    assert table.key == "Scopia/pack/table.obj"
    assert not list(entries(world / "elsewhere"))


def test_only_models_with_a_picture_become_objects(world: Path) -> None:
    (table,) = icons(world)
    assert (table.caption, table.kind, table.path.name) == ("round table", "icon", "table.png")


def test_clip_art_is_coloured_of_a_kind_and_no_sign(world: Path) -> None:
    (orange,) = clip_art(world)
    assert (orange.caption, orange.kind, orange.path.name) == ("fruit", "drawing", "orange_someone_01.png")


def test_outlines_and_whole_rectangles_are_no_drawings(tmp_path: Path) -> None:
    outline = Image.new("RGBA", (80, 80))
    ImageDraw.Draw(outline).ellipse((8, 8, 71, 71), outline=(250, 0, 0, 255), width=2)
    outline.save(tmp_path / "outline.png")
    Image.new("RGBA", (80, 80), (250, 0, 0, 255)).save(tmp_path / "whole.png")
    (tmp_path / "none.png").write_bytes(b"no picture")
    assert not any(coloured(tmp_path / f"{name}.png") for name in ("outline", "whole", "none"))
    assert coloured(a_disc(tmp_path / "disc.png", (250, 0, 0, 255)))


@pytest.mark.parametrize(("split", "subjects", "count"), [("train", True, 1), ("test", True, 0), ("train", False, 0)])
def test_other_objects_are_for_training_on_subjects_alone(
    split: str, subjects: bool, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [
        Source(path=a_disc(tmp_path / "a.png", (250, 0, 0, 255)), caption="a", kind="icon", held_out=False),
        Source(path=a_disc(tmp_path / "b.png", (0, 0, 250, 255)), caption="b", kind="icon", held_out=True),
    ]
    monkeypatch.setattr(scenes, "other_objects", lambda _: shown)
    monkeypatch.setattr(scenes, "photos", lambda *_, **__: [])
    monkeypatch.setattr(scenes, "cutouts", lambda _: [])
    composer = Composer(split, tmp_path, subjects=subjects)
    assert [caption for _, caption in composer.others] == ["a"] * count


def test_some_of_the_objects_are_others() -> None:
    composer = object.__new__(Composer)
    composer.cutouts, composer.emojis, composer.others = [
        [(Image.new("RGBA", (4, 4)), name)] for name in ("cutout", "emoji", "other")
    ]
    random = np.random.default_rng(0)
    names = [composer.pick(random)[1] for _ in range(400)]
    assert names.count("other") == pytest.approx(400 * OTHERS, abs=40)
    assert names.count("emoji") == pytest.approx(100 * (1 - OTHERS), abs=30)
