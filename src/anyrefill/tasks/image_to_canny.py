"""Image to canny: the photograph on the left, its edges painted on the right, white on black.

The edges are those of `canny_to_image`, the same pair the other way round. Where it is sure of an edge but not of its
place to the pixel, a model paints a soft ridge, dim and some pixels wide; `decode` reads the ridge's crest, and that is
what is handed out.
"""

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from anyrefill.metrics import line_f1
from anyrefill.pairs import Pair, Photo, swap
from anyrefill.tasks import Task, canny_to_image, white_on_black
from anyrefill.types import Panel

__all__ = ["decode", "drawing", "make", "task"]

LEAST = -0.7
"""Brightness in [-1, 1] from which a crest is a line. On 32 held-out pairs that the results do not use, micro's adapter
has the best F1 there; from -0.85 to -0.6 it is within 0.05 of that."""


def make(photo: Photo, generator: Generator) -> Pair | None:
    """Pair a photograph with its edges; None if it has next to none."""
    pair = canny_to_image.make(photo, generator)
    return pair and swap(pair)


def decode(panel: Panel) -> Tensor:
    """Return the drawing (1, H, W), above 0 where there is a line: crests brighter than `LEAST`, thinned.

    A crest is a pixel that no neighbour outshines along one of the four directions, and that outshines one of the two:
    Canny's non-maximum suppression, of the drawing itself. Every pixel of a line one pixel wide is one.
    """
    grey = panel.mean(dim=0)
    around = pad(grey[None], (1, 1, 1, 1), mode="replicate")[0]
    height, width = grey.shape

    def beside(down: int, right: int) -> Tensor:
        return around[1 + down : 1 + down + height, 1 + right : 1 + right + width]

    crest = torch.zeros_like(grey, dtype=torch.bool)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one, other = beside(down, right), beside(-down, -right)
        crest |= (grey >= torch.maximum(one, other)) & (grey > torch.minimum(one, other))
    return torch.where(crest, grey - LEAST, -1.0)[None]


def drawing(reference: Panel, painted: Panel) -> Panel:
    """Return the lines that `decode` finds, white on black."""
    del reference
    return white_on_black(decode(painted) > 0)


task = Task(
    name="image-to-canny",
    summary="photograph -> its Canny edges, white on black",
    prompt="edges of the photo {caption}",
    make=make,
    finish=drawing,
    decode=decode,
    metrics=(line_f1,),
    pairs=3450,
    steps=15_000,
)
