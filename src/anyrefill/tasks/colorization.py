"""Colorization: the grey photograph on the left, the photograph in colour painted on the right."""

from torch import Generator

from anyrefill.metrics import colourfulness_ratio, kid_alex, lpips_alex, luma, luma_psnr, psnr
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task
from anyrefill.types import Panel

__all__ = ["grayscale", "make", "task"]


def make(photo: Photo, _generator: Generator) -> Pair:
    """Pair the photograph's luma, in all three channels, with the photograph."""
    return Pair(reference=grayscale(photo.pixels), target=photo.pixels, caption=photo.caption)


def grayscale(panel: Panel) -> Panel:
    """Put the panel's luma in all three channels."""
    return luma(panel).repeat(3, 1, 1)


task = Task(
    name="colorization",
    summary="grey photograph -> the photograph in colour",
    prompt="color photo {caption}",
    make=make,
    metrics=(luma_psnr, colourfulness_ratio, lpips_alex, psnr),
    distances=(kid_alex,),
    pairs=10,
    steps=20_000,
)
