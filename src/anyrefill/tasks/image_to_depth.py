"""Image to depth: the photograph on the left, how near each pixel is painted on the right, near white, far black.

The paper's pairs come from Depth Anything; ours from pictures whose depth is known exactly (renderings, or an
annotator of `anyrefill.curate`). The panel is linear in 1 / distance, as `anyrefill.pairs.Photo.depth` says. It has no
scale and no zero, so `decode` reads it as if the farthest pixel were four times as far away as the nearest. What is
handed out is grey.
"""

from torch import Generator, Tensor

from anyrefill.metrics import abs_rel, delta1, depth_correlation
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task
from anyrefill.types import Panel

__all__ = ["decode", "grey", "make", "task"]

FARTHEST = 4.0
"""Distance of a black pixel if a white one is 1 away: about what furnished rooms have."""


def make(photo: Photo, _generator: Generator) -> Pair | None:
    """Pair a photograph with its depth; None if that is unknown or the same everywhere."""
    if photo.depth is None or photo.depth.min() == photo.depth.max():
        return None
    return Pair(reference=photo.pixels, target=photo.depth.repeat(3, 1, 1), caption=photo.caption)


def decode(panel: Panel) -> Tensor:
    """Return the distance of each pixel (1, H, W) in 1-`FARTHEST`, larger = farther."""
    nearness = (panel.mean(dim=0, keepdim=True).clamp(-1, 1) + 1) / 2
    return 1 / (1 / FARTHEST + (1 - 1 / FARTHEST) * nearness)


def grey(reference: Panel, painted: Panel) -> Panel:
    """Return the painting's mean over its channels: depth has no colour, and `decode` reads no other value."""
    del reference
    return painted.mean(dim=0, keepdim=True).repeat(3, 1, 1)


task = Task(
    name="image-to-depth",
    summary="photograph -> its depth, near white, far black",
    prompt="depth map {caption}",
    make=make,
    finish=grey,
    decode=decode,
    metrics=(delta1, abs_rel, depth_correlation),
    pairs=3450,
    steps=15_000,
)
