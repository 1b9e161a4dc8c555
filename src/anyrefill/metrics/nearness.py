"""How near each pixel of a picture looks to a linear readout of VGG16's features.

No depth network is in a package that could be pinned. This readout is fitted to rendered rooms and portraits that no
held-out pair shows (`recipes/nearness.py` fits it and prints how well it does on held-out ones): weak, but it is not
the painter's own idea of depth.
"""

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate

from anyrefill.errors import UserError
from anyrefill.metrics.lpips import shared
from anyrefill.metrics.weights import weights_folder
from anyrefill.types import Panel, Panels

__all__ = ["READOUT", "nearness_vgg", "vgg_columns"]

READOUT = Path(str(files("anyrefill"))) / "assets" / "probes" / "nearness-vgg16.safetensors"
"""The readout: ``weight`` (D,) and ``bias`` (1,)."""

STAGES = slice(1, 5)
"""Of VGG16's five; the first sees colours alone."""


@torch.no_grad()
def nearness_vgg(panel: Panel) -> Float[Tensor, "1 H W"]:
    """Return how near each pixel looks, larger = nearer, of no scale; compare it by `depth_correlation`.

    Raises:
        UserError: the weights of VGG16, or the readout, are missing.
    """
    weight, bias = _readout(READOUT)
    seen = torch.einsum("bdhw,d->bhw", vgg_columns(panel[None].float().cpu()), weight)[:, None] + bias
    return interpolate(seen, tuple(panel.shape[1:]), mode="bilinear")[0]


@torch.no_grad()
def vgg_columns(pictures: Panels) -> Float[Tensor, "B D h w"]:
    """Return the features of four stages of VGG16, each of length 1, on one grid of a quarter of the picture.

    Raises:
        UserError: the weights are missing.
    """
    grid = (pictures.shape[2] // 4, pictures.shape[3] // 4)
    stages = shared("vgg", weights_folder()).features(pictures)[STAGES]
    unit = [stage / (stage.norm(dim=1, keepdim=True) + 1e-10) for stage in stages]
    return torch.cat([interpolate(stage, grid, mode="bilinear", antialias=True) for stage in unit], dim=1)


@lru_cache(maxsize=2)
def _readout(path: Path) -> tuple[Tensor, Tensor]:
    if not path.is_file():
        raise UserError(f"The readout of nearness is not in this installation: {path} is missing.")
    tensors = load_file(path)
    return tensors["weight"], tensors["bias"]
