import pytest
import torch
from jaxtyping import TypeCheckError

from anyrefill import Canvas
from anyrefill.canvas import Side, pasted
from panels import random_panel

SIDES: tuple[Side, Side] = ("left", "right")


def half_mask(height: int = 32, width: int = 48) -> torch.Tensor:
    mask = torch.zeros(1, height, width)
    mask[:, :16, 5:] = 1
    return mask


@pytest.mark.parametrize("side", SIDES)
def test_panels_stand_where_they_should(side: Side) -> None:
    reference, target, mask = random_panel(seed=1), random_panel(seed=2), half_mask()
    canvas = Canvas.stitch(reference, target, mask, reference_on=side)
    left, right = canvas.pixels.chunk(2, dim=-1)
    assert torch.equal(left if side == "left" else right, reference)
    assert torch.equal(canvas.panel(canvas.pixels), target)
    assert torch.equal(canvas.panel(canvas.mask), mask)
    assert canvas.mask.sum() == mask.sum()


def test_panel_cuts_batches_and_latents_too() -> None:
    canvas = Canvas.stitch(random_panel(), random_panel(), half_mask())
    latents = torch.randn(2, 16, 4, 12)
    assert torch.equal(canvas.panel(latents), latents[..., 6:])


def test_size_is_that_of_both_panels() -> None:
    canvas = Canvas.stitch(random_panel(512, 512), random_panel(512, 512), torch.ones(1, 512, 512))
    assert (canvas.height, canvas.width, canvas.tokens) == (512, 1024, 2048)


@pytest.mark.parametrize("side", SIDES)
def test_masked_is_grey_in_the_hole_and_equal_elsewhere(side: Side) -> None:
    canvas = Canvas.stitch(random_panel(seed=1), random_panel(seed=2), half_mask(), reference_on=side)
    hole = canvas.mask.bool().expand(3, -1, -1)
    assert (canvas.masked[hole] == 0).all()
    assert torch.equal(canvas.masked[~hole], canvas.pixels[~hole])
    assert torch.equal(canvas.masked, canvas.pixels * (1 - canvas.mask))


@pytest.mark.parametrize("side", SIDES)
def test_pasting_keeps_every_bit_outside_the_mask(side: Side) -> None:
    target, mask = random_panel(seed=2) * 0.999, half_mask()
    canvas = Canvas.stitch(random_panel(seed=1), target, mask, reference_on=side)
    painted = torch.randn(canvas.pixels.shape)
    panel, hole = canvas.paste(painted), mask.bool().expand(3, -1, -1)
    assert torch.equal(panel[~hole], target[~hole])
    assert torch.equal(panel[hole], canvas.panel(painted)[hole])


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("other", [float("nan"), float("inf"), -1.0, 1.0])
def test_a_hidden_target_does_not_leak(side: Side, other: float) -> None:
    """Neither value nor sign bit nor NaN of the hidden target reaches what sampling sees or returns."""
    full, painted = torch.ones(1, 32, 48), torch.randn(3, 32, 96)
    canvases = [
        Canvas.stitch(random_panel(), target, full, reference_on=side)
        for target in (random_panel(seed=3), torch.full((3, 32, 48), other))
    ]
    seen, changed = (canvas.masked.view(torch.int32) for canvas in canvases)
    assert torch.equal(seen, changed)
    assert torch.equal(*(canvas.paste(painted) for canvas in canvases))


def test_an_empty_mask_returns_the_target() -> None:
    target = random_panel(seed=2)
    canvas = Canvas.stitch(random_panel(), target, torch.zeros(1, 32, 48))
    assert torch.equal(canvas.paste(torch.randn(3, 32, 96)), target)


def test_panels_of_two_sizes_are_refused() -> None:
    with pytest.raises(TypeCheckError):
        Canvas.stitch(torch.zeros(3, 32, 48), torch.zeros(3, 32, 32), torch.zeros(1, 32, 32))


def test_sides_that_tokens_do_not_cover_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a multiple of 16; got 32 x 40, 32 x 40, 32 x 40"):
        Canvas.stitch(torch.zeros(3, 32, 40), torch.zeros(3, 32, 40), torch.zeros(1, 32, 40))


@pytest.mark.parametrize("side", SIDES)
def test_further_references_stand_beyond_the_first(side: Side) -> None:
    first, second, target, mask = random_panel(seed=1), random_panel(seed=2), random_panel(seed=3), half_mask()
    canvas = Canvas.stitch([first, second], target, mask, reference_on=side)
    parts = canvas.pixels.chunk(3, dim=-1)
    assert all(map(torch.equal, parts if side == "right" else parts[::-1], (target, first, second)))
    assert torch.equal(canvas.panel(canvas.pixels), target)
    assert torch.equal(canvas.panel(canvas.mask), mask)
    assert torch.equal(canvas.beside(canvas.pixels), torch.cat(parts[1:] if side == "right" else parts[:-1], -1))
    assert not canvas.beside(canvas.mask).any()


def test_a_soft_mask_mixes_and_keeps_what_it_does_not_touch() -> None:
    target, painted = random_panel(seed=2) * 0.999, random_panel(seed=4)
    mask = torch.zeros(1, 32, 48)
    mask[:, :8], mask[:, 8:16] = 1, 0.25
    pasted_panel = pasted(painted, target, mask)
    assert torch.equal(pasted_panel[:, 16:], target[:, 16:])
    assert torch.equal(pasted_panel[:, :8], painted[:, :8])
    torch.testing.assert_close(pasted_panel[:, 8:16], 0.75 * target[:, 8:16] + 0.25 * painted[:, 8:16])


@pytest.mark.parametrize("side", SIDES)
def test_without_its_references_a_canvas_is_grey_there_and_the_same_elsewhere(side: Side) -> None:
    target = random_panel(seed=2)
    canvas = Canvas.stitch([random_panel(seed=1), random_panel(seed=3)], target, half_mask(), reference_on=side)
    blank = canvas.without_reference()
    assert (blank.beside(blank.pixels) == 0).all()
    assert torch.equal(blank.panel(blank.pixels), target)
    assert torch.equal(blank.mask, canvas.mask)
    assert torch.equal(canvas.panel(canvas.target), torch.ones(1, 32, 48))
    assert canvas.target.sum() == 32 * 48
