"""Relight: a picture on the left, the same under the light the caption names painted on the right.

The paper's pairs come from IC-Light; pairs of this task are collected, or rendered: the same scene with one lamp moved
and tinted (`recipes/world/people.py`). Caption: colour and direction as the viewer sees them, e.g. "warm light from
the left".

What is handed out has the painting's light and the fine detail of the reference, which light makes stronger or weaker.
"""

from anyrefill.judges import identity_dlib, lpips_background
from anyrefill.metrics import lpips_alex, psnr, rmse, ssim
from anyrefill.tasks import Task
from anyrefill.tasks.deblur import blur_widely
from anyrefill.types import Panel

__all__ = ["keep_detail", "task"]

FINE, FLOOR, MOST = 64, 0.05, 2.0
"""Shorter sides to a standard deviation of the Gaussian below which detail is fine; brightness of the range from 0 to 1
below which a ratio says little; the largest ratio. On 32 held-out pairs that the results do not use, LPIPS falls from
0.161 to 0.121 and RMSE from 0.0821 to 0.0801."""


def keep_detail(reference: Panel, painted: Panel) -> Panel:
    """Return the painting's coarse brightness and colour with the reference's fine detail, in proportion to the light.

    Source: the ratio image of two lights (Shashua and Riklin-Raviv, 2001), here for the fine detail alone.
    """
    before, after = (reference + 1) / 2, (painted + 1) / 2
    sigma = min(painted.shape[1:]) / FINE
    dark, lit = blur_widely(before, sigma), blur_widely(after, sigma)
    ratio = ((lit + FLOOR) / (dark + FLOOR)).clamp(0, MOST)
    return (2 * (lit + ratio * (before - dark)) - 1).clamp(-1, 1)


task = Task(
    name="relight",
    summary="picture + words for a light -> the same in that light",
    prompt="the left photo in {caption}",
    caption_required=True,
    finish=keep_detail,
    metrics=(rmse, psnr, ssim, lpips_alex),
    judges=(lpips_background, identity_dlib),
    pairs=35,
    steps=8_000,
)
