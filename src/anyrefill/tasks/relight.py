"""Relight: a picture on the left, the same under the light the caption names painted on the right.

The paper's pairs come from IC-Light; pairs of this task are collected, or rendered: the same scene with one lamp moved
and tinted (`recipes/world/people.py`). Caption: colour and direction as the viewer sees them, e.g. "warm light from
the left".
"""

from anyrefill.judges import identity_dlib, lpips_background
from anyrefill.metrics import lpips_alex, psnr, rmse, ssim
from anyrefill.tasks import Task

__all__ = ["task"]

task = Task(
    name="relight",
    summary="picture + words for a light -> the same in that light",
    prompt="the left photo in {caption}",
    caption_required=True,
    metrics=(rmse, psnr, ssim, lpips_alex),
    judges=(lpips_background, identity_dlib),
    pairs=35,
    steps=8_000,
)
