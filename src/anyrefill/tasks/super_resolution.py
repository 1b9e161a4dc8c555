"""Super-resolution: a coarse photograph on the left, in blocks of one colour, the sharp one painted on the right.

The blocks are 4, 8 or 16 pixels wide, drawn anew for each pair with equal chance, so that one adapter serves all three
factors, as in the paper. Each is the mean of the pixels that it covers (the coarse picture is sampled by area) and is
blown up again by nearest neighbour; sides that the factor does not divide get blocks of nearly that size.
"""

import math

import torch
from torch import Generator
from torch.nn.functional import interpolate

from anyrefill.metrics import lpips_alex, psnr, ssim
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task
from anyrefill.types import Panel

__all__ = ["FACTORS", "coarse", "make", "task"]

FACTORS = (4, 8, 16)
"""How many pixels of the target one pixel of the coarse photograph covers, along each side."""


def make(photo: Photo, generator: Generator) -> Pair:
    """Pair a photograph with a coarse copy of it; the factor stands in the pair's extra."""
    factor = FACTORS[int(torch.randint(len(FACTORS), (1,), generator=generator))]
    return Pair(
        reference=coarse(photo.pixels, factor), target=photo.pixels, caption=photo.caption, extra={"factor": factor}
    )


def coarse(panel: Panel, factor: int) -> Panel:
    """Return the panel reduced by a factor by area, then blown up to its size by nearest neighbour."""
    size = panel.shape[1:]
    small = interpolate(panel[None], size=[math.ceil(side / factor) for side in size], mode="area")
    return interpolate(small, size=size, mode="nearest-exact")[0]


task = Task(
    name="super-resolution",
    summary="photograph in blocks of 4, 8 or 16 px -> sharp photograph",
    prompt="sharp photo {caption}",
    make=make,
    metrics=(psnr, ssim, lpips_alex),
    split_by="factor",
    pairs=3450,
    steps=10_000,
)
