"""Tiles: they cover, they agree, they come back as what they were cut from; and canvases painted by them."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyrefill import Canvas
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.tiny import TinyFill
from anyrefill.sample import Large, large_sheet, sample, sampling_large
from anyrefill.tiles import Tiles, seam_ratio
from panels import random_panel


@settings(deadline=None, max_examples=25)
@given(st.integers(4, 14), st.integers(4, 14), st.integers(0, 2))
def test_tiles_cover_a_grid_and_overlap_enough(height: int, width: int, overlap: int) -> None:
    tiles = Tiles.over((height, width), (4, 4), (overlap, overlap))
    grid = torch.arange(1.0, height * width + 1).view(1, height, width)
    torch.testing.assert_close(tiles.merge(tiles.cut(grid)), grid)
    lefts = sorted({left for _, left in tiles.corners})
    assert all(before + 4 - after >= overlap for before, after in pairwise(lefts))
    assert len(lefts) == -(-(width - overlap) // (4 - overlap)), "no tile more than needed"


def test_a_grid_smaller_than_a_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="do not cover"):
        Tiles.over((3, 8), (4, 4), (1, 1))


def test_what_no_tile_covers_is_zero() -> None:
    tiles = Tiles.over((4, 7), (4, 4), (1, 1)).only([True, False])
    whole = tiles.merge(tiles.cut(torch.ones(2, 4, 7)))
    assert torch.equal(whole, torch.cat([torch.ones(2, 4, 4), torch.zeros(2, 4, 3)], -1))


def test_a_seam_is_measured_where_tiles_meet() -> None:
    tiles = Tiles.over((4, 7), (4, 4), (1, 1)).scaled(16)
    assert tiles.seams() == ((), (56,))
    ramp = torch.linspace(0, 1, 112).expand(3, 64, 112)
    assert seam_ratio(ramp, tiles) == pytest.approx(1 / (110 / (110 + 63)), rel=0.01), "columns rise, rows are flat"
    for place, least, most in ((56, 100, 1e9), (30, 0, 0.1)):
        stepped = ramp.clone()
        stepped[..., place:] += 0.5
        assert least < seam_ratio(stepped, tiles) < most


def large(height: int, width: int, references: int = 1, hole: slice = slice(None)) -> Large:
    beside = [random_panel(height, width, seed) for seed in range(references)]
    mask = torch.zeros(1, height, width)
    mask[..., hole] = 1
    return Large.of(Canvas.stitch(beside, random_panel(height, width, 9), mask), (32, 32), 0.5)


def test_tokens_are_cut_and_blended_where_their_pixels_are() -> None:
    big = large(48, 80, references=2)
    tokens = torch.randn(1, 3 * 15, 4)
    torch.testing.assert_close(big.blend(big.cut(tokens)), big.cut(tokens))
    assert len(big.canvases()) == len(big.tiles) == 2 * 4
    sheets = torch.stack([canvas.pixels for canvas in big.canvases()])
    torch.testing.assert_close(big.join(sheets), big.canvas.pixels)


def test_the_exact_model_paints_a_large_canvas_without_seams() -> None:
    big = large(64, 96)
    *_, last = sampling_large(TinyFill(), big, "", seed=0, steps=3, batch_size=4)
    assert (last.done, last.steps) == (3, 3)
    sheet = large_sheet(TinyFill(), big, last.latents, batch_size=4)
    torch.testing.assert_close(big.canvas.panel(sheet), big.canvas.beside(big.canvas.pixels), atol=1e-5, rtol=0)


@pytest.mark.parametrize("strength", [{}, {"reference_guidance": 2.5}, {"caption_guidance": 2.5}])
def test_one_tile_is_the_canvas_itself(backbone: FluxFill, strength: dict[str, float]) -> None:
    canvas = Canvas.stitch(random_panel(32, 32, 1), random_panel(32, 32, 2), torch.ones(1, 32, 32))
    whole = Large.of(canvas, (32, 32))
    *_, last = sampling_large(backbone, whole, "a", seed=5, steps=2, **strength)
    (alone,) = sample(backbone, [canvas], ["a"], seeds=[5], steps=2, **strength)
    torch.testing.assert_close(canvas.paste(large_sheet(backbone, whole, last.latents)), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("attention", ["full", "clean_ref_text"])
def test_tiles_agree_at_every_step_and_only_where_there_is_something_to_paint(
    backbone: FluxFill, attention: str
) -> None:
    big = large(32, 80, hole=slice(50, 60))
    assert [left for _, left in big.tiles.corners] == [2, 3], "in tokens"
    for step in sampling_large(backbone, big, "a", seed=0, steps=2, attention=attention, batch_size=1):
        torch.testing.assert_close(big.blend(step.latents), step.latents)
    painted = big.canvas.paste(large_sheet(backbone, big, step.latents))
    target = big.canvas.panel(big.canvas.pixels)
    assert torch.equal(painted[..., :50], target[..., :50])
    assert torch.equal(painted[..., 60:], target[..., 60:])
    assert not torch.equal(painted[..., 50:60], target[..., 50:60])
    assert torch.equal(big.covered().amax((0, 1))[80:], (torch.arange(80) >= 32).float())
