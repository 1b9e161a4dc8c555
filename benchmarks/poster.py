"""Poster: the photograph on the left, the same in four flat colours on the right."""

import torch
from torch import Generator

from anyrefill.metrics import luma, psnr, ssim
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task
from anyrefill.tasks.deblur import blur

INKS = torch.tensor([[0, 48, 73], [214, 40, 40], [247, 157, 0], [252, 240, 200]]) / 127.5 - 1


def make(photo: Photo, _generator: Generator) -> Pair:
    """Print each quarter of the brightness in one ink."""
    brightness = (luma(blur(photo.pixels, 1.5))[0] + 1) / 2
    inks = INKS[(4 * brightness).long().clamp(0, 3)]
    return Pair(reference=photo.pixels, target=inks.permute(2, 0, 1), caption=photo.caption)


task = Task(
    name="poster",
    summary="photograph -> the same in four flat colours",
    prompt="poster {caption}",
    make=make,
    metrics=(psnr, ssim),
)
