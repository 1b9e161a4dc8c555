"""Segment to image: a silhouette on the left, white on black, a photograph with such a subject painted on the right.

The paper's silhouettes come from Grounded SAM; ours are those of `image_to_segment`, the same pair the other way
round. Whether a painted photograph has the silhouette asked for takes a segmenter to say: U2-Net-p in
`anyrefill.judges.iou_u2netp`.
"""

from torch import Generator

from anyrefill.judges import iou_u2netp
from anyrefill.metrics import kid_alex, lpips_alex, psnr, ssim
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
    judges=(iou_u2netp,),
    distances=(kid_alex,),
    pairs=10,
    steps=10_000,
)
