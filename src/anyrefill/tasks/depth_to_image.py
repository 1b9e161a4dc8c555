"""Depth to image: depth on the left, near white and far black, a photograph that has it painted on the right.

The paper's depth comes from Depth Anything; ours is that of `image_to_depth`, the same pair the other way round.
Whether a painted photograph has the depth asked for takes a depth estimator to say: `anyrefill.judges.depth_vgg` is a
weak one, but not the painter's own.
"""

from torch import Generator

from anyrefill.judges import depth_vgg
from anyrefill.metrics import kid_alex, lpips_alex, psnr, ssim
from anyrefill.pairs import Pair, Photo, swap
from anyrefill.tasks import Task, image_to_depth

__all__ = ["make", "task"]


def make(photo: Photo, generator: Generator) -> Pair | None:
    """Pair a photograph's depth with the photograph; None if it is unknown or the same everywhere."""
    pair = image_to_depth.make(photo, generator)
    return pair and swap(pair)


task = Task(
    name="depth-to-image",
    summary="depth, near white -> photograph that has it",
    prompt="photo with this depth {caption}",
    make=make,
    metrics=(psnr, ssim, lpips_alex),
    judges=(depth_vgg,),
    distances=(kid_alex,),
    pairs=10,
    steps=10_000,
)
