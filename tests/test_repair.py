"""Colour repair: found where there is a shift, refused where there is none or nothing is known."""

import pytest
import torch

from anyrefill.repair import fit_repair, ring
from panels import random_panel


def shifted(known: torch.Tensor, noise: float = 0.02) -> torch.Tensor:
    gain, offset = torch.tensor([0.9, 1.0, 1.1])[:, None, None], torch.tensor([0.05, -0.08, 0.0])[:, None, None]
    return known * gain + offset + noise * torch.randn(known.shape)


def test_a_shift_of_colours_is_undone() -> None:
    known = random_panel(64, 64) * 0.8
    painted, everywhere = shifted(known), torch.ones(1, 64, 64)
    repair = fit_repair(painted, known, everywhere)
    assert repair is not None
    assert repair.after < 0.011 < 0.03 < repair.before
    assert (repair(painted) - known).abs().mean() < 0.025
    assert str(repair).startswith("The colours were repaired: RMSE of known pixels that the fit did not see from 0.0")


def test_nothing_to_repair_is_left_alone() -> None:
    known = random_panel(64, 64)
    assert fit_repair(known, known, torch.ones(1, 64, 64)) is None


def test_a_shift_that_holds_on_one_side_only_is_refused() -> None:
    known = random_panel(64, 64) * 0.8
    painted, rows = known.clone(), torch.arange(64) // 16
    black = ((rows[:, None] + rows) % 2).bool()
    painted[:, black] += 0.1
    painted[:, ~black] -= 0.1
    assert fit_repair(painted, known, torch.ones(1, 64, 64)) is None


def test_a_few_pixels_are_not_enough() -> None:
    known, where = random_panel(64, 64) * 0.8, torch.zeros(1, 64, 64)
    where[:, :8, :20] = 1
    assert fit_repair(shifted(known), known, where) is None


@pytest.mark.parametrize("width", [4, 16])
def test_a_ring_lies_around_the_hole(width: int) -> None:
    mask = torch.zeros(1, 64, 64)
    mask[:, 20:40, 20:40] = 1
    around = ring(mask, width)
    assert not (around * mask).any()
    assert around.sum() == (20 + 2 * width) ** 2 - 20**2
    assert not ring(torch.ones(1, 32, 32)).any()
