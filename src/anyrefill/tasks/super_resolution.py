"""Super-resolution: a coarse photograph on the left, in blocks of one colour, the sharp one painted on the right.

The blocks are 4, 8 or 16 pixels wide, drawn anew for each pair with equal chance, so that one adapter serves all three
factors, as in the paper. Each is the mean of the pixels that it covers (the coarse picture is sampled by area) and is
blown up again by nearest neighbour; sides that the factor does not divide get blocks of nearly that size.

The coarse photograph tells the mean colour of every block for certain, so what is handed out keeps it.
"""

import math

import torch
from jaxtyping import Int
from torch import Generator, Tensor
from torch.nn.functional import interpolate, one_hot

from anyrefill.metrics import lpips_alex, psnr, ssim
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task
from anyrefill.types import Panel

__all__ = ["FACTORS", "block_means", "coarse", "factor_of", "keep_means", "make", "task"]

FACTORS = (4, 8, 16)
"""How many pixels of the target one pixel of the coarse photograph covers, along each side."""

STEP = 2 / 255
"""By how much the pixels of a block may differ from their mean, in [-1, 1]: a picture's own rounding, one level."""


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


def block_means(panel: Panel, factor: int) -> Panel:
    """Return the mean of every block, laid over the block: `coarse`, where the factor divides the sides."""
    rows, columns = (_blocks(side, factor) for side in panel.shape[1:])
    down, across = (one_hot(blocks).to(panel) / blocks.bincount() for blocks in (rows, columns))
    small = down.T @ panel @ across
    return small[:, rows][:, :, columns]


def _blocks(side: int, factor: int) -> Int[Tensor, " side"]:
    """Return the number of each pixel's block along a side, as blowing up by nearest neighbour lays them."""
    blocks = torch.arange(math.ceil(side / factor), dtype=torch.float32)
    return interpolate(blocks[None, None], size=side, mode="nearest-exact")[0, 0].long()


def factor_of(reference: Panel) -> int | None:
    """Return the factor whose blocks a panel is made of, the largest of `FACTORS` that fits; None if none does."""
    largest = sorted(FACTORS, reverse=True)
    return next((one for one in largest if torch.allclose(block_means(reference, one), reference, atol=STEP)), None)


def keep_means(reference: Panel, painted: Panel) -> Panel:
    """Return the painted panel, moved until the mean of every block is the reference's; as it is without blocks.

    The true panel has these means where the factor divides the sides, and of all panels that have them the returned one
    is nearest to the painted one, so its squared error is never larger. Source: back-projection (Irani and Peleg,
    1991), here in one step.
    """
    factor = factor_of(reference)
    return painted if factor is None else (painted + reference - block_means(painted, factor)).clamp(-1, 1)


task = Task(
    name="super-resolution",
    summary="photograph in blocks of 4, 8 or 16 px -> sharp photograph",
    prompt="sharp photo {caption}",
    make=make,
    finish=keep_means,
    metrics=(psnr, ssim, lpips_alex),
    split_by="factor",
    pairs=3450,
    steps=10_000,
)
