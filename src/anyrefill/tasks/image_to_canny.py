"""Image to canny: the photograph on the left, its edges painted on the right, white on black.

The edges are those of `canny_to_image`, the same pair the other way round.
"""

from torch import Generator

from anyrefill.metrics import line_f1
from anyrefill.pairs import Pair, Photo, swap
from anyrefill.tasks import Task, canny_to_image

__all__ = ["make", "task"]


def make(photo: Photo, generator: Generator) -> Pair | None:
    """Pair a photograph with its edges; None if it has next to none."""
    pair = canny_to_image.make(photo, generator)
    return pair and swap(pair)


task = Task(
    name="image-to-canny",
    summary="photograph -> its Canny edges, white on black",
    prompt="edges of the photo {caption}",
    make=make,
    metrics=(line_f1,),
    pairs=3450,
    steps=15_000,
)
