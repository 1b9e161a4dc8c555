"""Segment to image: a silhouette on the left, white on black, a photograph with such a subject painted on the right.

The paper's silhouettes come from Grounded SAM; ours are those of `image_to_segment`, the same pair the other way
round. Whether a painted photograph has the silhouette asked for takes a segmenter to say, so it is no metric of this
task: `anyrefill.metrics.iou` compares what such a segmenter, e.g. the image-to-segment adapter, finds.
"""

from torch import Generator

from anyrefill.metrics import lpips_alex, psnr, ssim
from anyrefill.pairs import Pair, Photo, swap
from anyrefill.tasks import Task, image_to_segment

__all__ = ["make", "task"]


def make(photo: Photo, generator: Generator) -> Pair | None:
    """Pair a foreground with its photograph; None if it is unknown, or nearly nothing, or nearly everything."""
    pair = image_to_segment.make(photo, generator)
    return pair and swap(pair)


task = Task(
    name="segment-to-image",
    summary="silhouette, white on black -> photograph with such a subject",
    prompt="photo with this subject {caption}",
    make=make,
    metrics=(psnr, ssim, lpips_alex),
    pairs=10,
    steps=10_000,
)
