"""Subjects in the colour that the caption names, and nothing else of the scene touched."""

from pathlib import Path

import pytest
import torch
from recipes import colour_words
from recipes.world.coloured import COLOURS, STRENGTHS, coloured, coloured_pairs, has_one_subject, words

from anyrefill.metrics import luma
from anyrefill.painter import load
from anyrefill.pairs import Photo


def scene(caption: str = "an iguana in front of wood", side: int = 64, inner: int = 32, seed: int = 0) -> Photo:
    generator = torch.Generator().manual_seed(seed)
    foreground = torch.zeros(1, side, side)
    foreground[:, :inner, :inner] = 1
    pixels = torch.rand(3, side, side, generator=generator) * 1.2 - 0.6
    return Photo(pixels=pixels, foreground=foreground, caption=caption)


@pytest.mark.parametrize("colour", COLOURS)
def test_the_subject_takes_the_colour_under_its_own_luma(colour: str) -> None:
    photo = scene()
    inside = photo.foreground
    assert inside is not None
    painted = coloured(photo, colour, "")
    assert torch.equal(painted[:, 32:], photo.pixels[:, 32:]), "the background stays bit for bit"
    assert torch.allclose(luma(painted), luma(photo.pixels), atol=1e-5)
    assert painted.abs().max() <= 1 + 1e-5
    assert colour_words.named(painted, inside) == colour
    assert colour_words.named(photo.pixels, 1 - inside) == colour_words.named(painted, 1 - inside)


def test_vivid_is_more_than_pale() -> None:
    grey = Photo(pixels=torch.zeros(3, 64, 64), foreground=scene().foreground, caption="")
    pale, plain, vivid = (coloured(grey, "green", word).std(0).mean() for word in STRENGTHS)
    assert pale < plain < vivid


@pytest.mark.parametrize("caption", ["a violin in front of wood", "an oboe in front of wood", "race car in front of a"])
def test_captions_name_the_colour_before_the_subject(caption: str) -> None:
    subject = caption.removeprefix("a ").removeprefix("an ")
    assert words(caption, "red", "vivid") == f"a vivid red {subject}"
    assert words(caption, "orange", "") == f"an orange {subject}"


@pytest.mark.parametrize(
    ("photo", "one"),
    [
        (scene(), True),
        (scene("a crow and an apple in front of wood"), False),
        (scene("a crow in front of salt and pepper"), True),
        (scene("wood"), False),
        (scene(inner=8), False),
        (Photo(pixels=torch.zeros(3, 64, 64), caption="a crow in front of wood"), False),
    ],
)
def test_only_scenes_of_one_subject_have_a_colour_to_name(photo: Photo, *, one: bool) -> None:
    assert has_one_subject(photo) == one
    assert len(list(coloured_pairs([photo], 0))) == one


def test_without_a_subject_there_is_nothing_to_colour() -> None:
    with pytest.raises(ValueError, match="nothing to colour"):
        coloured(Photo(pixels=torch.zeros(3, 64, 64), foreground=torch.zeros(1, 64, 64)), "red", "")


def test_a_pair_depends_on_the_seed_and_its_place_alone() -> None:
    photos = [scene(seed=seed) for seed in range(12)]
    once, again = (list(coloured_pairs(photos, 3)) for _ in range(2))
    assert [pair.caption for pair in once] == [pair.caption for pair in again]
    assert [pair.caption for pair in once] != [pair.caption for pair in coloured_pairs(photos, 4)]
    first = once[0]
    assert first.reference.std(0).max() == 0
    assert torch.equal(first.target, coloured(photos[0], str(first.extra["colour"]), str(first.extra["strength"])))
    assert len({pair.extra["colour"] for pair in coloured_pairs(photos * 10, 0)}) == len(COLOURS)


def test_subjects_whose_name_was_met_are_not_asked() -> None:
    known = ["a crow and an iguana in front of wood", "the crow in front of a wall", "crow"]
    photos = [scene(), scene("the crow in front of a lake"), scene("an old crow in front of wood"), scene("wood")]
    assert [photo.caption for photo in colour_words.unmet(photos, known)] == [photos[0].caption, photos[2].caption]


def test_what_was_asked_for_and_taken_is_counted(as_micro: Path) -> None:
    painter = load("colorization")
    photos = [scene(side=64, seed=seed) for seed in range(2)]
    found, sheet = colour_words.ask(painter, photos, limit=1)
    assert list(found) == [colour_words.NOTHING, *COLOURS]
    assert all(sum(taken.values()) == pytest.approx(1) for taken in found.values())
    assert sheet.width > sheet.height
    right = {words: {name: float(name == words) for name in COLOURS} for words in [colour_words.NOTHING, *COLOURS]}
    assert colour_words.obeyed(right) == 1
    page = colour_words.page(colour_words.Measured(count=2, plain=found, guided=right))
    assert f"{colour_words.obeyed(found):.0%} took the colour" in page
    assert page.count("**100%**") == len(COLOURS)
