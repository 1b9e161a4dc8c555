"""Canny to image: edges on the left, white on black, a photograph that has them painted on the right.

The edges are OpenCV's Canny with thresholds 100 and 200 on the photograph's 8-bit grey, as ControlNet's annotator.
"""

from torch import Generator

from anyrefill.metrics import canny, edge_f1, psnr
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task

__all__ = ["make", "task"]


def make(photo: Photo, _generator: Generator) -> Pair:
    """Pair a photograph's edges with the photograph."""
    edges = (2 * canny(photo.pixels) - 1).repeat(3, 1, 1)
    return Pair(reference=edges, target=photo.pixels, caption=photo.caption)


task = Task(
    name="canny-to-image",
    summary="Canny edges -> photograph that has them",
    prompt="photo from edges {caption}",
    make=make,
    metrics=(edge_f1, psnr),
    pairs=10,
    steps=10_000,
)
