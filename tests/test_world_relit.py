"""Photographs under other lights: brighter on the lamp's side, in the lamp's colour, and nothing else."""

import pytest
import torch
from recipes.world import relit
from recipes.world.render import LAMPS, TINTS, light_words

from anyrefill.pairs import Photo

SIDE = 64


def ball(*, of: bool = True) -> Photo:
    """Return a grey disc before a grey wall."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    disc = ((x - 31.5) ** 2 + (y - 31.5) ** 2 < 20**2).float()[None]
    return Photo(pixels=torch.zeros(3, SIDE, SIDE), foreground=disc if of else None, caption="a ball")


@pytest.mark.parametrize(
    ("place", "bright", "dark"),
    [
        ("left", (slice(None), slice(16, 28)), (slice(None), slice(36, 48))),
        ("right", (slice(None), slice(36, 48)), (slice(None), slice(16, 28))),
        ("above", (slice(16, 28), slice(None)), (slice(36, 48), slice(None))),
    ],
)
@pytest.mark.parametrize("of", [True, False])
def test_the_side_of_the_lamp_is_brighter(place: str, bright: tuple, dark: tuple, *, of: bool) -> None:
    photo = ball(of=of)
    light = relit.lit(photo, "white", place)[0]
    assert light[bright].mean() > light[dark].mean() + (0.2 if of else 0.03)


@pytest.mark.parametrize("tint", TINTS)
def test_grey_takes_the_colour_of_the_lamp(tint: str) -> None:
    found = (relit.lit(ball(), tint, "the front")[:, 32, 32] + 1) / 2
    order = torch.tensor(TINTS[tint]).argsort()
    assert (found[order].diff() >= 0).all()


def test_white_from_the_front_leaves_what_faces_it_nearly_as_bright() -> None:
    found = relit.lit(ball(of=False), "white", "the front")[1]
    assert abs(((found[32, 32] + 1) / 2).item() - 0.5) < 0.05


def test_black_stays_black_under_any_lamp() -> None:
    black = Photo(pixels=-torch.ones(3, SIDE, SIDE), caption="")
    for place in LAMPS:
        assert torch.equal(relit.lit(black, "warm", place), black.pixels)


def test_a_subject_is_round_and_a_wall_is_flat() -> None:
    height, normals = relit.shape_of(ball())
    assert height[31, 31] > height[31, 16] > relit.WALL == height[0, 0]
    assert normals[0, 31, 16] < -0.3 < 0.3 < normals[0, 31, 47], "away from the middle"
    assert normals[1, 16, 31] > 0.3, "y is up"
    assert (normals[2, :8] == 1).all()
    assert torch.allclose(torch.from_numpy((normals**2).sum(0)), torch.ones(SIDE, SIDE, dtype=torch.float64))


def test_a_lamp_is_changed_for_another_and_named() -> None:
    pairs = list(relit.relit_pairs([ball() for _ in range(32)], 0))
    every = {light_words(tint, place) for tint in TINTS for place in LAMPS}
    for pair in pairs:
        assert pair.caption in every
        assert pair.extra["from"] != pair.caption
        assert torch.equal(pair.reference, ball().pixels) == (pair.extra["from"] == "its own light")
        assert not torch.equal(pair.reference, pair.target)
    assert len({pair.caption for pair in pairs}) > 8
    assert 8 < sum(pair.extra["from"] == "its own light" for pair in pairs) < 24
    again = list(relit.relit_pairs([ball() for _ in range(3)], 0))
    assert all(torch.equal(one.target, other.target) for one, other in zip(again, pairs, strict=False))
