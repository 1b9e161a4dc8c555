"""Image to segment: the photograph on the left, its subject painted on the right, white on black.

The paper's pairs come from Grounded SAM; ours from photographs whose foreground is known exactly (an alpha channel, a
rendering, or an annotator of `anyrefill.curate`).
"""

from torch import Generator, Tensor

from anyrefill.metrics import iou
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task, black_and_white
from anyrefill.types import Panel

__all__ = ["decode", "make", "task"]

LEAST = -0.25
"""Brightness in [-1, 1] from which a pixel is the subject's. A model that is unsure paints grey, and a subject that is
half found scores less than one with too much around it: on 32 held-out pairs that the results do not use, micro's
adapter has IoU 0.677 there, 0.666 from 0 on, and more than 0.671 from -0.4 to -0.1."""

COVERAGE = (0.02, 0.95)
"""Share of the photograph that its foreground must cover to be worth a pair."""


def make(photo: Photo, _generator: Generator) -> Pair | None:
    """Pair a photograph with its foreground; None if that is unknown, or nearly nothing, or nearly everything."""
    if photo.foreground is None or not COVERAGE[0] <= photo.foreground.mean().item() <= COVERAGE[1]:
        return None
    segment = (2 * photo.foreground - 1).repeat(3, 1, 1)
    return Pair(reference=photo.pixels, target=segment, caption=photo.caption)


def decode(panel: Panel) -> Tensor:
    """Return how much each pixel (1, H, W) belongs to the subject; above 0 it does."""
    return panel.mean(dim=0, keepdim=True) - LEAST


task = Task(
    name="image-to-segment",
    summary="photograph -> silhouette of its subject, white on black",
    prompt="white silhouette on black {caption}",
    make=make,
    finish=black_and_white(decode),
    decode=decode,
    metrics=(iou,),
    pairs=6125,
    steps=15_000,
)
