"""How near each pixel of a picture looks to a small network on VGG16's features.

No depth network is in a package that could be pinned. This one has seen rendered rooms and portraits and drawn stages
that no held-out pair shows (`recipes/nearness.py` trains it and prints how well it does on held-out ones), and knows
little else; but it is not the painter's own idea of depth.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate

from anyrefill.errors import UserError
from anyrefill.metrics.lpips import shared, unit
from anyrefill.metrics.weights import weights_folder
from anyrefill.types import Panel, Panels

__all__ = ["HEAD", "NearnessHead", "nearness_vgg", "vgg_stages"]

HEAD = Path(str(files("anyrefill"))) / "assets" / "probes" / "nearness-vgg16.safetensors"
"""The trained weights of `NearnessHead`."""

CHANNELS = (128, 256, 512, 512)
"""Of the second to the fifth stage of VGG16; the first sees colours alone."""


class NearnessHead(nn.Module):
    """Reads nearness from four stages of VGG16, coarse to fine, as feature pyramids do (arXiv 1612.03144).

    Args:
        width: channels of each level.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in CHANNELS)
        self.whole = nn.Linear(CHANNELS[-1], width)
        self.inner = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        self.outer = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(3))
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, stages: Sequence[Tensor]) -> Float[Tensor, "B 1 h w"]:
        """Return nearness, larger = nearer and of no scale, at a quarter of the size of the picture.

        Args:
            stages: of `vgg_stages`.
        """
        fine, *below = (lateral(stage) for lateral, stage in zip(self.lateral, stages, strict=True))
        x = self._refined(0, below[2] + self.whole(stages[-1].mean(dim=(2, 3)))[..., None, None])
        x = self._refined(1, below[1] + _resized(x, below[1]))
        x = self._refined(2, below[0] + _resized(x, below[0]) + _resized(fine, below[0]))
        return self.out(gelu(x))

    def _refined(self, level: int, x: Tensor) -> Tensor:
        return x + self.outer[level](gelu(self.inner[level](gelu(x))))


@torch.no_grad()
def nearness_vgg(panel: Panel, head: Path = HEAD) -> Float[Tensor, "1 H W"]:
    """Return how near each pixel looks, larger = nearer, of no scale; compare it by `depth_correlation`.

    Args:
        panel: to look at.
        head: weights of a `NearnessHead`.

    Raises:
        UserError: the weights of VGG16, or those of the head, are missing.
    """
    seen = _head(head)(vgg_stages(panel[None].float().cpu()))
    return interpolate(seen, tuple(panel.shape[1:]), mode="bilinear")[0]


@torch.no_grad()
def vgg_stages(pictures: Panels) -> list[Float[Tensor, "B D h w"]]:
    """Return the features of four stages of VGG16, coarser and coarser, the column at each place of length 1.

    Raises:
        UserError: the weights are missing.
    """
    return [unit(stage) for stage in shared("vgg", weights_folder()).features(pictures)[1:]]


def _resized(x: Tensor, other: Tensor) -> Tensor:
    return interpolate(x, tuple(other.shape[2:]), mode="bilinear", antialias=True)


@lru_cache(maxsize=2)
def _head(path: Path) -> NearnessHead:
    if not path.is_file():
        raise UserError(f"The network that sees depth is not in this installation: {path} is missing.")
    head = NearnessHead().requires_grad_(False).eval()
    head.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return head
