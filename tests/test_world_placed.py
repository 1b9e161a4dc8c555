"""People placed in photographs: what stays, what changes, and where."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recipes.world import placed, render_pairs

from anyrefill.pairs import Pair, Photo
from drawn_renders import SIDE


def places(count: int) -> list[Photo]:
    generator = torch.Generator().manual_seed(0)
    return [Photo(pixels=torch.rand(3, SIDE, SIDE, generator=generator) * 2 - 1, caption=f"{n}") for n in range(count)]


def some(renders: Path, count: int, *, empty: int | None = None) -> list[Pair]:
    edits = render_pairs.age_edits("train", root=renders)
    return list(placed.placed_pairs(edits, places(count), 0, empty=empty))


def test_around_the_person_the_photograph_stays(renders: Path) -> None:
    for pair, place in zip(some(renders, 24), places(24), strict=True):
        assert pair.mask is not None
        outside = pair.mask[0] == 0
        mirrored = torch.equal(pair.reference[:, outside], place.pixels.flip(-1)[:, outside])
        assert mirrored or torch.equal(pair.reference[:, outside], place.pixels[:, outside])
        assert torch.equal(pair.reference[:, outside], pair.target[:, outside])
        assert pair.extra["place"] == place.caption


def test_people_come_in_many_sizes_and_spots_and_half_of_the_time_mirrored() -> None:
    random = np.random.default_rng(0)
    spots = [placed.a_spot(128, random) for _ in range(200)]
    low, high = (round(128 * share) for share in placed.SIZES)
    assert low <= min(spot.side for spot in spots) < 1.2 * low
    assert 0.9 * high < max(spot.side for spot in spots) <= high
    assert all(-spot.side / 5 - 1 <= spot.x <= max(0, 128.5 - 0.8 * spot.side) for spot in spots)
    assert all(-spot.side / 10 - 1 <= spot.y <= max(0, 128.5 - 0.8 * spot.side) for spot in spots)
    assert len({(spot.x, spot.y) for spot in spots}) > 150


def test_a_portrait_goes_on_downwards_where_it_ends() -> None:
    pixels, there = torch.full((3, 32, 32), 0.5), torch.zeros(1, 32, 32)
    there[:, 8:, 8:24] = 1
    weighted, alpha = placed.layer(pixels, there, placed.Spot(side=16, x=10, y=-2), 64)
    assert alpha[0, 0].max() == 0, "above the head"
    assert torch.equal(alpha[0, 20:], alpha[0, 20].expand(44, 64))
    assert alpha[0, 40, 16:20].min() > 0.999
    assert alpha[0, :, :10].max() == 0
    assert alpha[0, :, 26:].max() == 0
    assert torch.allclose(weighted, 0.5 * alpha.expand(3, -1, -1), atol=1e-6)


def test_some_pictures_show_nobody_and_stay(renders: Path) -> None:
    pairs = some(renders, 24, empty=4)
    still = [index for index, pair in enumerate(pairs) if torch.equal(pair.reference, pair.target)]
    assert still == [3, 7, 11, 15, 19, 23]
    assert all(pairs[index].caption for index in still)
    assert [index for index, pair in enumerate(pairs) if pair.mask is None] == still, "an empty mask is no mask"


def test_both_portraits_have_the_same_spot_and_tones(renders: Path) -> None:
    for edit, place in zip(render_pairs.age_edits("train", root=renders), places(8), strict=False):
        same = placed.placed(replace(edit, after=edit.before), place, np.random.default_rng(1))
        assert torch.equal(same.reference, same.target)
        assert not torch.equal(same.reference, place.pixels)


@pytest.mark.parametrize("power", [0.7, 1.3])
def test_a_curve_keeps_black_and_the_order_of_tones(power: float) -> None:
    curve = placed.Curve(power=power, gains=torch.tensor([0.9, 1.0, 1.1]).reshape(3, 1, 1))
    ramp = torch.linspace(-1, 1, 64).expand(3, 1, 64)
    out = curve(ramp)
    assert out.min() == -1
    assert out.max() <= 1
    assert (out.diff(dim=-1) >= 0).all()
    assert (out[0] <= out[2]).all()


def test_a_pair_depends_on_the_seed_and_its_place_alone(renders: Path) -> None:
    for one, other in zip(some(renders, 8), some(renders, 4), strict=False):
        assert torch.equal(one.reference, other.reference)
        assert torch.equal(one.target, other.target)
