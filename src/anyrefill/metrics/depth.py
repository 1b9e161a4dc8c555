"""How near two depth maps are, when only their shape counts: relative depth has no scale and no zero."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["abs_rel", "align", "delta1", "depth_correlation"]

Depth = Float[Tensor, "1 H W"]
"""Relative depth, larger = farther, at least 0."""

FLOOR = 1e-3
"""Depths are clamped to this before anything is divided by them."""


def align(painted: Depth, target: Depth) -> Depth:
    """Return a painted + b with the least-squares a and b; the target's mean where painted is flat.

    Source: Ranftl et al. 2019 (arXiv 1907.01341), eq. 4, on depth as Marigold's evaluation does (arXiv 2312.02145).
    """
    x, y = painted.double(), target.double()
    centred = x - x.mean()
    variance = centred.pow(2).mean()
    scale = (centred * (y - y.mean())).mean() / variance if variance > 0 else variance
    return (scale * centred + y.mean()).to(target.dtype)


def abs_rel(painted: Depth, target: Depth) -> float:
    """Return the mean of |d - d*| / d* after `align`; 0 is best."""
    depth, truth = align(painted, target), target.clamp_min(FLOOR)
    return ((depth - truth).abs() / truth).mean().item()


def delta1(painted: Depth, target: Depth) -> float:
    """Return the share of pixels with max(d / d*, d* / d) < 1.25 after `align`; 1 is best."""
    depth, truth = align(painted, target).clamp_min(FLOOR), target.clamp_min(FLOOR)
    return (torch.maximum(depth / truth, truth / depth) < 1.25).float().mean().item()


def depth_correlation(painted: Depth, target: Depth) -> float:
    """Return Pearson's correlation of two depth maps, in [-1, 1]; 0 where either is flat, 1 is best.

    Blind to scale and zero by itself, so nothing is aligned; a map upside down scores below 0.
    """
    x, y = (depth.double() - depth.double().mean() for depth in (painted, target))
    spread = (x.pow(2).sum() * y.pow(2).sum()).sqrt()
    return ((x * y).sum() / spread).item() if spread > 0 else 0.0
