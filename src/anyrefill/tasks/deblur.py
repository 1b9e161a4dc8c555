"""Deblur: the blurred and noisy photograph on the left, the sharp one painted on the right.

The degradation, all drawn anew for each pair: a Gaussian blur with sigma uniform in 1.0-2.0 px for a picture whose
shorter side has 128 px, growing in proportion (4-8 px at 512 px), the kernel cut at 3 sigma and the border reflected;
then Gaussian noise with a standard deviation uniform in 0.04-0.1 of the full range (10-25 of 255; 0.08-0.2 in
[-1, 1]), independent in each channel; then clipping to [-1, 1]. The paper's text adds Gaussian noise alone and gives
no numbers (arXiv 2502.11158, section IV, Restoration); ours adds the blur that the task is named after.
"""

import math

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

from anyrefill.metrics import psnr, ssim
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task
from anyrefill.types import Panel

__all__ = ["add_noise", "blur", "blur_widely", "make", "task"]

BLUR = (1.0, 2.0)
"""Sigma in pixels of a picture whose shorter side has 128 px."""

NOISE = (0.08, 0.2)
"""Standard deviation in units of [-1, 1], i.e. 0.04-0.1 of the full range."""


WIDE = 4.0
"""Sigma in pixels that `blur_widely` leaves of a wider blur."""

RESIZED = 1 / 12 + 1 / 6
"""Variance of averaging over one small pixel and of going straight from one to the next, in small pixels squared."""


def make(photo: Photo, generator: Generator) -> Pair:
    """Pair a photograph with a blurred and noisy copy of it; both strengths stand in the pair's extra."""
    sharp = photo.pixels
    draw_blur, draw_noise = torch.rand(2, generator=generator).tolist()
    sigma = _between(BLUR, draw_blur) * min(sharp.shape[1:]) / 128
    deviation = _between(NOISE, draw_noise)
    return Pair(
        reference=add_noise(blur(sharp, sigma), deviation, generator),
        target=sharp,
        caption=photo.caption,
        extra={"blur_sigma": sigma, "noise_deviation": deviation},
    )


def blur(panel: Panel, sigma: float) -> Panel:
    """Return the panel under a Gaussian of sigma pixels, cut at 3 sigma (at most half the shorter side)."""
    radius = min(max(1, math.ceil(3 * sigma)), min(panel.shape[1:]) // 2)
    line = torch.exp(-(torch.arange(-radius, radius + 1, dtype=panel.dtype) ** 2) / (2 * sigma**2))
    line = line / line.sum()
    return _along_rows(_along_rows(panel, line).mT, line).mT.contiguous()


def blur_widely(panel: Panel, sigma: float) -> Panel:
    """Return nearly what `blur` does, in a time that does not grow with sigma.

    From two times `WIDE` pixels on the panel is made smaller before and larger after; what that blurs by itself is
    taken off.
    """
    shrink = int(sigma / WIDE)
    if shrink < 2:
        return blur(panel, sigma)
    height, width = panel.shape[1:]
    whole = pad(panel[None], (0, -width % shrink, 0, -height % shrink), mode="replicate")
    soft = blur(avg_pool2d(whole, shrink)[0], math.sqrt((sigma / shrink) ** 2 - RESIZED))
    return interpolate(soft[None], scale_factor=shrink, mode="bilinear")[0, :, :height, :width]


def add_noise(panel: Panel, deviation: float, generator: Generator) -> Panel:
    """Add Gaussian noise, independent in each channel, and clip to [-1, 1].

    Args:
        panel: to degrade.
        deviation: the noise's standard deviation in units of [-1, 1], i.e. twice the share of the full range.
        generator: of the noise.
    """
    return (panel + torch.randn(panel.shape, generator=generator) * deviation).clamp(-1, 1)


def _along_rows(panel: Panel, kernel: Float[Tensor, " k"]) -> Panel:
    """Return each row of each channel under a kernel, its ends reflected."""
    radius = len(kernel) // 2
    return conv2d(pad(panel[:, None], (radius, radius, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))[:, 0]


def _between(ends: tuple[float, float], share: float) -> float:
    """Return the point that lies that share of the way from one end to the other."""
    return ends[0] + (ends[1] - ends[0]) * share


task = Task(
    name="deblur",
    summary="blurred and noisy photograph -> sharp photograph",
    prompt="sharp photo {caption}",
    make=make,
    metrics=(psnr, ssim),
    pairs=100,
    steps=10_000,
)
