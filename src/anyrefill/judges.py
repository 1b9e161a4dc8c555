"""Scores that need more than the target: the pair's reference, or its mask. Functions of (painted, pair) -> number."""

import math
from collections.abc import Callable

import torch

from anyrefill import metrics
from anyrefill.errors import UserError
from anyrefill.pairs import Pair
from anyrefill.types import Mask, Panel

__all__ = [
    "EXTRACTORS",
    "Judge",
    "background",
    "depth_vgg",
    "identity_dlib",
    "iou_u2netp",
    "lpips_background",
    "psnr_hole",
]

Judge = Callable[[Panel, Pair], float]
"""(painted panel, pair) -> score; its ``__name__`` heads the column of a table and says where it is best, as a
metric's does. nan where this pair cannot tell."""

SAME = 8 / 127.5
"""Largest difference in [-1, 1] of pixels that reference and target are said to share: 8 of 255."""

LEAST_BACKGROUND = 0.02
"""Share of the panel below which a background is too small to look at."""


def psnr_hole(painted: Panel, pair: Pair) -> float:
    """Return the PSNR in dB of what was to be painted alone.

    Raises:
        UserError: the pair has no mask.
    """
    if pair.mask is None:
        raise UserError("psnr_hole looks at what the mask marks, and a pair has none.")
    return metrics.psnr_in(painted, pair.target, pair.mask)


def lpips_background(painted: Panel, pair: Pair) -> float:
    """Return LPIPS (AlexNet) to the target of what was to stay, see `background`; the rest is given as the target's.

    Raises:
        UserError: the weights are missing.
    """
    kept = background(pair)
    if kept.mean().item() < LEAST_BACKGROUND:
        return math.nan
    return metrics.lpips_alex(torch.where(kept.bool(), painted, pair.target), pair.target)


def background(pair: Pair) -> Mask:
    """Return 1 where the target shows what the reference shows: outside the mask, or without one, where they agree."""
    if pair.mask is not None:
        return 1 - pair.mask
    return ((pair.reference - pair.target).abs().amax(dim=0, keepdim=True) <= SAME).float()


def iou_u2netp(painted: Panel, pair: Pair) -> float:
    """Return the IoU of the subject that U2-Net-p finds in the painted photograph and the silhouette asked for.

    Raises:
        UserError: weights or onnxruntime are missing.
    """
    return metrics.iou(2 * metrics.subject(painted) - 1, pair.reference.mean(dim=0, keepdim=True))


def depth_vgg(painted: Panel, pair: Pair) -> float:
    """Return the correlation of what was asked for with the nearness that VGG16 and a head see in the picture.

    See `anyrefill.metrics.nearness_vgg`.

    Raises:
        UserError: the weights are missing.
    """
    return metrics.depth_correlation(metrics.nearness_vgg(painted), pair.reference.mean(dim=0, keepdim=True))


def identity_dlib(painted: Panel, pair: Pair) -> float:
    """Return how far the painted person's face is from the reference's: L2, about 0.6 between strangers.

    nan where no face is found in one of the two. See `anyrefill.metrics.face`.

    Raises:
        UserError: weights or dlib are missing.
    """
    one, other = metrics.face(painted), metrics.face(pair.reference)
    return math.nan if one is None or other is None else (one - other).norm().item()


EXTRACTORS: tuple[Judge, ...] = (iou_u2netp, depth_vgg, identity_dlib)
"""Those that find the condition, or the person, again by a network, which errs on true targets, too."""
