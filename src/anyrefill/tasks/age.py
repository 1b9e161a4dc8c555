"""Age: a person on the left, the same person at the age the caption names painted on the right.

The paper's pairs come from SeedEdit, which is closed; pairs of this task are collected, or rendered: the same
parametric person, pose, light and background at two ages (`recipes/world/people.py`). Everything but the age is to
stay. Caption: what the target shows, e.g. "an old woman".

What is handed out is the reference itself wherever the painting hardly differs from it.
"""

from anyrefill.judges import identity_dlib, lpips_background
from anyrefill.metrics import lpips_alex, psnr, rmse, ssim
from anyrefill.tasks import Task
from anyrefill.tasks.deblur import blur_widely
from anyrefill.types import Panel

__all__ = ["keep_unchanged", "task"]

SAME, OTHER, REACH = 0.02, 0.05, 64
"""Differences of the range from 0 to 1 up to which a place is the reference's and from which it is the painting's;
shorter sides to a standard deviation of the Gaussian that both are seen through. On 48 held-out pairs of age in
photographs that the results do not use, LPIPS of the background falls from 0.068 to 0.018 and RMSE from 0.0884 to
0.0809; on 48 of portraits from 0.042 to 0.025, where RMSE rises from 0.0718 to 0.0724."""


def keep_unchanged(reference: Panel, painted: Panel) -> Panel:
    """Return the painting where it differs from the reference, the reference where it hardly does, mixed between.

    Both are blurred before they are compared: fine detail that the autoencoder lost is no edit, and comes back.
    """
    apart = (blur_widely(painted - reference, min(painted.shape[1:]) / REACH).abs() / 2).mean(dim=0, keepdim=True)
    return reference + ((apart - SAME) / (OTHER - SAME)).clamp(0, 1) * (painted - reference)


task = Task(
    name="age",
    summary="person + words for an age -> the same person at that age",
    prompt="the left person as {caption}",
    caption_required=True,
    finish=keep_unchanged,
    metrics=(rmse, psnr, ssim, lpips_alex),
    judges=(lpips_background, identity_dlib),
    pairs=50,
    steps=10_000,
)
