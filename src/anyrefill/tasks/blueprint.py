"""Blueprint: the photograph on the left, the same as pale lines and faint tones on blue paper on the right.

Taken from no paper: made of any photograph by a filter of a few pixels, which micro is slow to learn.
Chalk is a pixel's gradient times 2.5 plus a quarter of its brightness, cut at 1; it fades the paper's blue to white.
"""

import torch
from torch import Generator
from torch.nn.functional import pad

from anyrefill.metrics import luma, psnr, ssim
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task, deblur
from anyrefill.types import Mask, Panel

__all__ = ["draw", "make", "task"]

PAPER = (-0.88, -0.42, 0.2)
"""The paper's colour in [-1, 1]: (15, 74, 153) of 255."""

CHALK = (0.88, 0.92, 0.97)
"""The colour of lines in [-1, 1]."""


def make(photo: Photo, _generator: Generator) -> Pair:
    """Pair a photograph with its blueprint."""
    return Pair(reference=photo.pixels, target=draw(photo.pixels), caption=photo.caption)


def draw(panel: Panel) -> Panel:
    """Return the panel's blueprint; lines grow with the picture: sigma 0.8 px at a shorter side of 128 px."""
    scale = min(panel.shape[1:]) / 128
    light = (luma(deblur.blur(panel, 0.8 * max(scale, 0.5))) + 1) / 2
    chalk = (2.5 * scale * _slope(light) + 0.25 * light).clamp(0, 1)
    paper, white = (panel.new_tensor(colour).view(3, 1, 1) for colour in (PAPER, CHALK))
    return paper + (white - paper) * chalk


def _slope(light: Mask) -> Mask:
    """Return the length of the gradient per pixel, by central differences; the border is repeated."""
    grown = pad(light[None], (1, 1, 1, 1), mode="replicate")[0]
    across = (grown[:, 1:-1, 2:] - grown[:, 1:-1, :-2]) / 2
    down = (grown[:, 2:, 1:-1] - grown[:, :-2, 1:-1]) / 2
    return torch.hypot(across, down)


task = Task(
    name="blueprint",
    summary="photograph -> pale lines on blue paper",
    prompt="blueprint {caption}",
    make=make,
    metrics=(psnr, ssim),
    pairs=20,
    steps=1_000,
    rank=16,
)
