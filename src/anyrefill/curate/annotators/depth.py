"""Depth by Depth Anything V2, or any other depth model of ``transformers``.

Source: Yang et al. 2024 (arXiv 2406.09414). Its models predict inverse depth up to scale and shift.
"""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from anyrefill import images
from anyrefill.curate.annotators import DepthMap
from anyrefill.curate.annotators.hub import pretrained
from anyrefill.pairs import Photo

__all__ = ["DepthAnything", "spread"]


@final
class DepthAnything:
    """Guesses inverse depth: the nearest pixel 1, the farthest -1.

    Args:
        model: hub id or folder of a model that predicts inverse depth, as Depth Anything's relative ones do.
        device: of torch.
        download: whether the hub may be asked.

    Raises:
        UserError: the model is not on this machine, or no depth model.
    """

    def __init__(self, model: str, device: str = "cpu", *, download: bool = False) -> None:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        self.name = model
        self._device = device
        self._prepare = pretrained(AutoImageProcessor, model, download=download, backend="pil")
        self._model = pretrained(AutoModelForDepthEstimation, model, download=download).to(device).eval()

    @torch.inference_mode()
    def __call__(self, photos: Sequence[Photo]) -> list[DepthMap]:
        """Return the depth of each photograph, all in one batch."""
        inputs = self._prepare(images=[images.to_pil(photo.pixels) for photo in photos], return_tensors="pt")
        found: Tensor = self._model(pixel_values=inputs["pixel_values"].to(self._device)).predicted_depth
        size = tuple(photos[0].pixels.shape[1:])
        sized = interpolate(found.float()[:, None], size, mode="bicubic", align_corners=False).cpu()
        return [spread(inverse) for inverse in sized.clone()]


def spread(inverse: Float[Tensor, "1 H W"]) -> DepthMap:
    """Return inverse depth scaled and shifted to [-1, 1]; all 0 if it is the same everywhere."""
    low, high = inverse.min(), inverse.max()
    if low == high:
        return torch.zeros_like(inverse)
    return ((inverse - low) / (high - low) * 2 - 1).clamp(-1, 1)
