"""Gender: a person on the left, the same person as the woman or man the caption names painted on the right.

The paper's pairs come from SeedEdit, which is closed; pairs of this task are collected, or rendered: the same
parametric person, age, pose, light and background as woman and as man (`recipes/world/people.py`). Everything but the
gender is to stay. Caption: what the target shows, e.g. "an old man"; what the reference cannot tell may be added,
"an old man with cropped hair and a beard".

What is handed out is the reference itself wherever the painting hardly differs from it, as in `age`.
"""

from anyrefill.judges import identity_dlib, lpips_background
from anyrefill.metrics import lpips_alex, psnr, rmse, ssim
from anyrefill.tasks import Task
from anyrefill.tasks.age import keep_unchanged

__all__ = ["task"]

task = Task(
    name="gender",
    summary='person + "a man" or "a woman" -> the same person as that',
    prompt="the left person as {caption}",
    caption_required=True,
    finish=keep_unchanged,
    metrics=(rmse, psnr, ssim, lpips_alex),
    judges=(lpips_background, identity_dlib),
    pairs=50,
    steps=8_000,
)
