"""Reference inpainting: another photograph of the scene on the left fills the hole in the one on the right."""

from anyrefill.judges import psnr_hole
from anyrefill.metrics import lpips_alex, psnr, ssim
from anyrefill.tasks import Task, given_mask

__all__ = ["task"]

task = Task(
    name="ref-inpainting",
    summary="photograph with a hole + another view of the scene -> photograph",
    mask=given_mask,
    metrics=(psnr, ssim, lpips_alex),
    judges=(psnr_hole,),
    pairs=820_000,
    steps=90_000,
)
