"""Canny to image: edges on the left, white on black, a photograph that has them painted on the right.

The edges are OpenCV's Canny with thresholds 100 and 200 on the photograph's 8-bit grey, as ControlNet's annotator.
"""

from torch import Generator

from anyrefill.metrics import canny, edge_f1, kid_alex, psnr
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task, white_on_black

__all__ = ["make", "task"]

FEWEST = 0.005
"""Share of the photograph's pixels that must be edges to be worth a pair: 82 pixels of 128 x 128."""


def make(photo: Photo, _generator: Generator) -> Pair | None:
    """Pair a photograph's edges with the photograph; None if it has next to none, e.g. an empty sky."""
    edges = canny(photo.pixels)
    if edges.mean().item() < FEWEST:
        return None
    return Pair(reference=white_on_black(edges), target=photo.pixels, caption=photo.caption)


task = Task(
    name="canny-to-image",
    summary="Canny edges -> photograph that has them",
    prompt="photo from edges {caption}",
    make=make,
    metrics=(edge_f1, psnr),
    distances=(kid_alex,),
    pairs=10,
    steps=10_000,
)
