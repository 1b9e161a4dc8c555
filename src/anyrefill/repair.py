"""Colour repair: what autoencoder and model did to colours, learned where both versions of a pixel are known."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from anyrefill.types import Mask, Panel

__all__ = ["Repair", "fit_repair", "ring"]

BLOCK, FEWEST = 16, 512
"""Pixels on a side of the blocks that are fitted and judged in turn; known pixels below which nothing is fitted."""


@dataclass(frozen=True, kw_only=True)
class Repair:
    """A gain and an offset for each channel.

    Attributes:
        gain: (3, 1, 1).
        offset: (3, 1, 1), in units of [-1, 1].
        before: RMSE of the known pixels that the fit did not see, as painted, of the range [0, 1].
        after: their RMSE, repaired.
    """

    gain: Tensor
    offset: Tensor
    before: float
    after: float

    def __str__(self) -> str:
        """Say what it does, in one sentence."""
        error = f"{self.before:.4f} to {self.after:.4f}"
        return f"The colours were repaired: RMSE of known pixels that the fit did not see from {error}."

    def __call__(self, panel: Panel) -> Panel:
        """Return the panel with repaired colours, in [-1, 1]."""
        return (panel * self.gain.to(panel) + self.offset.to(panel)).clamp(-1, 1)


def fit_repair(painted: Panel, known: Panel, where: Mask) -> Repair | None:
    """Return the least-squares repair of painted towards known pixels, or None where it would not help.

    The known pixels are dealt to two halves, like a chessboard's fields. Each half's fit is judged on the other: the
    repair is refused unless that error falls on both. What is returned is fitted to all of them.

    Args:
        painted: as the model gave it back.
        known: the true pixels.
        where: 1 where they are known.
    """
    rows, columns = (torch.arange(side) // BLOCK for side in painted.shape[1:])
    black = ((rows[:, None] + columns) % 2).bool()
    halves = [where[0].bool() & black, where[0].bool() & ~black]
    if min(int(half.sum()) for half in halves) < FEWEST // 2:
        return None
    errors = [_judged(painted, known, *pair) for pair in (halves, halves[::-1])]
    if any(after >= before for before, after in errors):
        return None
    everywhere = where[0].bool()
    gain, offset = _fitted(painted[:, everywhere], known[:, everywhere])
    before, after = (sum(pair) / 2 for pair in zip(*errors, strict=True))
    return Repair(gain=gain[:, None, None], offset=offset[:, None, None], before=before, after=after)


def ring(mask: Mask, width: int = 16) -> Mask:
    """Return 1 on kept pixels at most that far from painted ones."""
    near = max_pool2d(mask[None], 2 * width + 1, stride=1, padding=width)[0]
    return ((near > 0) & (mask == 0)).to(mask)


def _fitted(painted: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return gain and offset (3,) that take painted (3, K) nearest to known; a flat channel keeps its gain."""
    mean, wanted = painted.double().mean(1), known.double().mean(1)
    spread = painted.double() - mean[:, None]
    variance = spread.pow(2).mean(1)
    slope = (spread * (known.double() - wanted[:, None])).mean(1) / variance.clamp_min(1e-12)
    gain = torch.where(variance > 1e-6, slope, torch.ones_like(slope))
    return gain.float(), (wanted - gain * mean).float()


def _judged(painted: Panel, known: Panel, fitted: Tensor, judged: Tensor) -> tuple[float, float]:
    """Return the error of one half of the known pixels before and after the repair that the other half asks for."""
    gain, offset = _fitted(painted[:, fitted], known[:, fitted])
    moved = (painted[:, judged] * gain[:, None] + offset[:, None]).clamp(-1, 1)
    return _rmse(painted[:, judged], known[:, judged]), _rmse(moved, known[:, judged])


def _rmse(one: Tensor, other: Tensor) -> float:
    """Return the root mean square of the difference, of the range [0, 1]."""
    return float((one - other).double().pow(2).mean().sqrt() / 2)
