"""Age: a person on the left, the same person at the age the caption names painted on the right.

The paper's pairs come from SeedEdit, which is closed; pairs of this task are collected, or rendered: the same
parametric person, pose, light and background at two ages (`recipes/world/people.py`). Everything but the age is to
stay. Caption: what the target shows, e.g. "an old woman".
"""

from anyrefill.judges import identity_dlib, lpips_background
from anyrefill.metrics import lpips_alex, psnr, rmse, ssim
from anyrefill.tasks import Task

__all__ = ["task"]

task = Task(
    name="age",
    summary="person + words for an age -> the same person at that age",
    prompt="the left person as {caption}",
    caption_required=True,
    metrics=(rmse, psnr, ssim, lpips_alex),
    judges=(lpips_background, identity_dlib),
    pairs=50,
    steps=10_000,
)
