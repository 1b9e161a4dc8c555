"""Degradations: a photograph made worse in a known way, as the reference of a restoration task.

Each is a pure function of the panel and its strength (`blur` of the task deblur and `coarse` of super-resolution
among them); `draw` draws the strength from a documented range, so that the
same generator gives the same bytes. Ranges in pixels are for a panel whose shorter side has 128 px and grow with it.
The paper degrades by Gaussian noise (deblur), by downsampling and nearest upsampling at 4, 8 and 16 (super-resolution)
and by grey (colorization), without further numbers (arXiv 2502.11158, section IV); the ranges are ours.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from PIL import Image
from torch import Generator

from anyrefill import images
from anyrefill.errors import UserError
from anyrefill.tasks.colorization import grayscale
from anyrefill.tasks.deblur import BLUR, NOISE, add_noise, blur
from anyrefill.tasks.super_resolution import coarse
from anyrefill.types import Panel

__all__ = ["DEGRADATIONS", "Degraded", "add_noise", "check", "draw", "grayscale", "jpeg"]

QUALITY = (10, 50)
"""Of JPEG, 1-95."""


def _nothing() -> Mapping[str, int | float]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Degraded:
    """A degraded panel.

    Attributes:
        panel: in [-1, 1].
        parameters: what was drawn, by name.
    """

    panel: Panel
    parameters: Mapping[str, int | float] = field(default_factory=_nothing)


def jpeg(panel: Panel, quality: int) -> Panel:
    """Write the panel as a JPEG of that quality (1-95, chroma at half the size) and read it again."""
    file = io.BytesIO()
    images.to_pil(panel).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    file.seek(0)
    with Image.open(file, formats=["JPEG"]) as picture:
        return images.to_panel(picture)


def draw(name: str, panel: Panel, generator: Generator) -> Degraded:
    """Degrade a panel, the strength drawn.

    Args:
        name: one of `DEGRADATIONS`.
        panel: to degrade.
        generator: of the strength, then of the noise.

    Raises:
        UserError: there is no such degradation.
    """
    check(name)
    return DEGRADATIONS[name](panel, generator)


def check(name: str) -> None:
    """Refuse a name that is no degradation's, before anything slow.

    Raises:
        UserError: it is none.
    """
    if name not in DEGRADATIONS:
        raise UserError(f"There is no degradation {name!r}; there are {', '.join(DEGRADATIONS)}.")


def _blur(panel: Panel, generator: Generator) -> Degraded:
    """Blur by a Gaussian of 1-2 px at 128 px."""
    sigma = _between(BLUR, generator) * min(panel.shape[1:]) / 128
    return Degraded(panel=blur(panel, sigma), parameters={"blur_sigma_px": sigma})


def _noise(panel: Panel, generator: Generator) -> Degraded:
    """Add noise of 0.04-0.1 of the full range."""
    deviation = _between(NOISE, generator)
    return Degraded(panel=add_noise(panel, deviation, generator), parameters={"noise_deviation": deviation})


def _blur_and_noise(panel: Panel, generator: Generator) -> Degraded:
    """Blur, then add noise."""
    blurred = _blur(panel, generator)
    noisy = _noise(blurred.panel, generator)
    return Degraded(panel=noisy.panel, parameters={**blurred.parameters, **noisy.parameters})


def _jpeg(panel: Panel, generator: Generator) -> Degraded:
    """Compress with a quality of 10-50."""
    quality = int(torch.randint(QUALITY[0], QUALITY[1] + 1, (), generator=generator))
    return Degraded(panel=jpeg(panel, quality), parameters={"jpeg_quality": quality})


def _downsample(panel: Panel, _generator: Generator, factor: int) -> Degraded:
    """Downsample by a factor that is not drawn, as the task super-resolution does."""
    return Degraded(panel=coarse(panel, factor), parameters={"factor": factor})


def _gray(panel: Panel, _generator: Generator) -> Degraded:
    """Take the colour away; nothing is drawn."""
    return Degraded(panel=grayscale(panel))


def _between(ends: tuple[float, float], generator: Generator) -> float:
    """Draw a number between two."""
    return ends[0] + (ends[1] - ends[0]) * torch.rand((), generator=generator).item()


DEGRADATIONS: Mapping[str, Callable[[Panel, Generator], Degraded]] = {
    "blur": _blur,
    "noise": _noise,
    "blur+noise": _blur_and_noise,
    "jpeg": _jpeg,
    "down4": partial(_downsample, factor=4),
    "down8": partial(_downsample, factor=8),
    "down16": partial(_downsample, factor=16),
    "gray": _gray,
}
"""By the name that ``anyrefill curate --degrade`` takes."""
