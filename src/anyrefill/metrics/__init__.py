"""Scores: pure functions of (painted, target) -> one number, pixels in [-1, 1] unless they say otherwise."""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor

from anyrefill.metrics.depth import abs_rel, align, delta1, depth_correlation
from anyrefill.metrics.faces import Face, face
from anyrefill.metrics.features import Spread, kid_alex
from anyrefill.metrics.lpips import Lpips, lpips_alex, lpips_vgg
from anyrefill.metrics.nearness import nearness_vgg
from anyrefill.metrics.pixels import (
    colourfulness,
    colourfulness_error,
    colourfulness_ratio,
    luma,
    luma_psnr,
    psnr,
    psnr_in,
    rmse,
    ssim,
    ssim_in,
    ssim_legacy,
)
from anyrefill.metrics.shapes import canny, edge_f1, edge_scores, iou, line_f1, line_scores
from anyrefill.metrics.u2netp import subject
from anyrefill.metrics.weights import weights_folder
from anyrefill.types import Panel

__all__ = [
    "Aim",
    "Distance",
    "Face",
    "Lpips",
    "Metric",
    "RegionMetric",
    "Spread",
    "abs_rel",
    "aim",
    "align",
    "canny",
    "colourfulness",
    "colourfulness_error",
    "colourfulness_ratio",
    "delta1",
    "depth_correlation",
    "edge_f1",
    "edge_scores",
    "face",
    "iou",
    "kid_alex",
    "line_f1",
    "line_scores",
    "lpips_alex",
    "lpips_vgg",
    "luma",
    "luma_psnr",
    "nearness_vgg",
    "psnr",
    "psnr_in",
    "rmse",
    "ssim",
    "ssim_in",
    "ssim_legacy",
    "subject",
    "weights_folder",
]

Metric = Callable[[Tensor, Tensor], float]
"""(painted, target) -> score; its ``__name__`` heads the column of a table."""

RegionMetric = Callable[[Tensor, Tensor, Tensor], float]
"""(painted, target, mask) -> score of the pixels where the mask is 1."""

Distance = Callable[[Sequence[Panel], Sequence[Panel]], Spread]
"""(painted panels, real ones) -> how far the two sets are apart; for what no single picture can tell."""

Aim = Literal["higher", "lower", "one"]
"""Where a metric is best."""


def aim(metric: Callable[..., object]) -> Aim:
    """Return where a score is best, which its name says: errors and distances low, ratios at 1, all others high."""
    name = metric.__name__
    if name.endswith("_ratio"):
        return "one"
    is_distance = name.startswith(("lpips", "abs_rel", "rmse", "kid", "identity"))
    return "lower" if is_distance or name.endswith("_error") else "higher"
