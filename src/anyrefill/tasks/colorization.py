"""Colorization: the grey photograph on the left, the photograph in colour painted on the right.

What is handed out has the painted colours and the brightness of the photograph itself, at its own size.
"""

import torch
from torch import Generator

from anyrefill.metrics import colourfulness_ratio, kid_alex, lpips_alex, luma, luma_psnr, psnr
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task
from anyrefill.types import Panel

__all__ = ["grayscale", "keep_luma", "make", "task"]


def make(photo: Photo, _generator: Generator) -> Pair:
    """Pair the photograph's luma, in all three channels, with the photograph."""
    return Pair(reference=grayscale(photo.pixels), target=photo.pixels, caption=photo.caption)


def grayscale(panel: Panel) -> Panel:
    """Put the panel's luma in all three channels."""
    return luma(panel).repeat(3, 1, 1)


def keep_luma(reference: Panel, painted: Panel) -> Panel:
    """Return the painted colours under the reference's luma, to rounding; colours outside the range lose saturation.

    Args:
        reference: grey; of another one its luma is taken.
        painted: of the same size.
    """
    brightness, colour = luma(reference), painted - luma(painted)
    room = torch.where(colour > 0, 1 - brightness, 1 + brightness)
    share = (room / colour.abs().clamp(min=1e-6)).amin(0, keepdim=True).clamp(max=1)
    return brightness + share * colour


task = Task(
    name="colorization",
    summary="grey photograph -> the photograph in colour",
    prompt="color photo {caption}",
    make=make,
    finish=keep_luma,
    metrics=(psnr, luma_psnr, colourfulness_ratio, lpips_alex),
    distances=(kid_alex,),
    pairs=10,
    steps=20_000,
)
