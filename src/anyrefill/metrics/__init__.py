"""Scores: pure functions of (painted, target) -> one number, pixels in [-1, 1] unless they say otherwise."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from anyrefill.metrics.depth import abs_rel, align, delta1, depth_correlation
from anyrefill.metrics.lpips import Lpips, lpips_alex, lpips_vgg, weights_folder
from anyrefill.metrics.pixels import (
    colourfulness,
    colourfulness_error,
    colourfulness_ratio,
    luma,
    luma_psnr,
    psnr,
    psnr_in,
    ssim,
    ssim_in,
    ssim_legacy,
)
from anyrefill.metrics.shapes import canny, edge_f1, edge_scores, iou, line_f1, line_scores

__all__ = [
    "Aim",
    "Lpips",
    "Metric",
    "RegionMetric",
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
    "iou",
    "line_f1",
    "line_scores",
    "lpips_alex",
    "lpips_vgg",
    "luma",
    "luma_psnr",
    "psnr",
    "psnr_in",
    "ssim",
    "ssim_in",
    "ssim_legacy",
    "weights_folder",
]

Metric = Callable[[Tensor, Tensor], float]
"""(painted, target) -> score; its ``__name__`` heads the column of a table."""

RegionMetric = Callable[[Tensor, Tensor, Tensor], float]
"""(painted, target, mask) -> score of the pixels where the mask is 1."""

Aim = Literal["higher", "lower", "one"]
"""Where a metric is best."""


def aim(metric: Metric) -> Aim:
    """Return where a metric is best, which its name says: errors and LPIPS low, ratios at 1, all others high."""
    name = metric.__name__
    if name.endswith("_ratio"):
        return "one"
    return "lower" if name.endswith("_error") or name.startswith(("lpips", "abs_rel")) else "higher"
