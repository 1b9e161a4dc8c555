"""Where a base runs and in what form its weights lie there: by diffusers', torchao's and torch's own means.

The order matters and is kept: load, add and merge the adapters, make the weights smaller, bring them to the device,
compile. What is quantised or moved about is walked through by the model's own modules, never by fused weights.
"""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, cast, get_args

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from diffusers.hooks import apply_group_offloading
from torch import nn

from anyrefill.backbone import Attention
from anyrefill.backbone.engine import idle, unmerged
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.precision import present_device
from anyrefill.errors import UserError

__all__ = ["Compiled", "Offload", "Placement", "Weights", "held_bytes", "place"]

Weights = Literal["whole", "int8", "fp8"]
"""Of the transformer while it paints: in the type that is computed in; in torchao's 8-bit integers, a scale for each
row; or stored in 8-bit floats and cast for every product (diffusers' layerwise casting)."""

Offload = Literal["no", "idle", "all"]
"""What waits in main memory: nothing; all that no step reads, which are modulation, text encoders and, in
clean_ref_text, the prompt's layers; or everything, each layer coming to the device when it is its turn."""

Compiled = Literal["no", "blocks", "graphs"]
"""Torch's compiler on every block, which are built once and alike; and CUDA graphs of them too."""

UNCAST = re.compile("pos_embed|norm|^proj_out$")
"""Names of layers that layerwise casting leaves alone on FLUX; the modulation's are among them."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and how a base paints.

    Attributes:
        device: cpu, cuda, cuda:1, mps ...
        weights: the form of the transformer's.
        offload: what waits in main memory.
        compiled: what torch compiles; the first step then takes minutes, each new size of canvas too.
    """

    device: str = "cpu"
    weights: Weights = "whole"
    offload: Offload = "no"
    compiled: Compiled = "no"

    @property
    def loads_on(self) -> torch.device:
        """Where the weights are to be loaded, and adapters merged: in main memory if they will be smaller later."""
        return torch.device("cpu" if self.offload != "no" or self.weights != "whole" else self.device)

    def check(self, attention: Attention = "full") -> None:
        """Refuse what cannot be here, before anything slow.

        Args:
            attention: that will paint, where it is known.

        Raises:
            UserError: no such device or form, a device that is not there, or a package that is not installed.
        """
        _check_names(self)
        kind = present_device(self.device).type
        if self.weights == "int8" and find_spec("torchao") is None:
            raise UserError("weights in int8 need torchao: pip install torchao, or take fp8")
        if self.compiled == "graphs" and kind != "cuda":
            raise UserError(f"CUDA graphs need a CUDA device, not {self.device}")
        if self.compiled != "no" and attention != "full":
            raise UserError(f"compiled blocks are passed with full attention alone, not with {attention}")
        if self.offload != "no" and self.compiled != "no":
            raise UserError("layers that are offloaded cannot be compiled: leave one of the two out")


def place(backbone: FluxFill, placement: Placement, attention: Attention = "full") -> None:
    """Bring a loaded base, its adapters merged, to where it paints.

    Args:
        backbone: changed in place; nothing can be merged or taken out of it afterwards if its weights get smaller.
        placement: where and how.
        attention: that will paint; another one is right, too, but may have to wait for layers at every step.

    Raises:
        UserError: as ``Placement.check``, or adapters act beside weights that are to get smaller.
    """
    placement.check(attention)
    transformer, device = backbone.transformer, present_device(placement.device)
    if placement.weights != "whole":
        if unmerged(transformer):
            raise UserError(f"weights in {placement.weights} need the adapter in them: merge it first")
        _shrink(transformer, placement.weights)
    backbone.idle_waits = placement.offload == "idle"
    for part in backbone.loaded():
        if placement.offload == "idle" and part is transformer:
            _offload_idle(transformer, device, attention)
        elif placement.offload == "all" or (placement.offload == "idle" and not isinstance(part, AutoencoderKL)):
            _offload(part, device)
        elif placement.loads_on != device:
            cast(Any, part).to(device)
    if placement.compiled != "no":
        mode = "reduce-overhead" if placement.compiled == "graphs" else None
        transformer.compile_repeated_blocks(fullgraph=True, dynamic=False, mode=mode)


def held_bytes(model: nn.Module, placement: Placement, attention: Attention = "full") -> int:
    """Return the bytes of a transformer's weights on the device in a step; also of one without storage.

    All offloaded, it is the two largest layers: one at work, and the next on its way.
    """
    sizes = {name: _layer_bytes(name, layer, placement.weights) for name, layer in model.named_modules()}
    if placement.offload == "all":
        return sum(sorted(sizes.values())[-2:])
    return sum(size for name, size in sizes.items() if placement.offload == "no" or not idle(name, attention))


def _layer_bytes(name: str, layer: nn.Module, weights: Weights) -> int:
    """Return the bytes of a layer's own weights."""
    own = list(layer.parameters(recurse=False))
    if weights == "fp8" and isinstance(layer, nn.Linear) and not UNCAST.search(name):
        return sum(weight.numel() for weight in own)
    if weights == "int8" and isinstance(layer, nn.Linear):
        scales = layer.out_features * layer.weight.element_size()
        return layer.weight.numel() + scales + sum(weight.numel() * weight.element_size() for weight in own[1:])
    return sum(weight.numel() * weight.element_size() for weight in own)


def _shrink(transformer: FluxTransformer2DModel, weights: Weights) -> None:
    """Quantise the linear layers, or store them in fewer bits."""
    if weights == "fp8":
        transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=transformer.dtype)
        return
    from torchao.quantization import (  # pyright: ignore[reportMissingImports]  # optional
        Int8WeightOnlyConfig,
        quantize_,
    )

    quantize_(transformer, Int8WeightOnlyConfig())


def _offload(part: nn.Module, device: torch.device) -> None:
    """Let each layer of a part come to the device when it is its turn; on CUDA the next one is on its way meanwhile."""
    apply_group_offloading(
        part, onload_device=device, offload_type="leaf_level", use_stream=device.type == "cuda", low_cpu_mem_usage=True
    )


def _offload_idle(transformer: FluxTransformer2DModel, device: torch.device, attention: Attention) -> None:
    """Keep the layers that no step reads in main memory until they are called; bring all others to the device."""
    for name, layer in transformer.named_modules():
        if idle(name, attention) and isinstance(layer, nn.Linear):
            apply_group_offloading(layer, onload_device=device, offload_type="leaf_level", low_cpu_mem_usage=True)
        elif next(layer.children(), None) is None:
            cast(Any, layer).to(device)


def _check_names(placement: Placement) -> None:
    """Refuse unknown forms."""
    for what, given, known in (
        ("form of weights", placement.weights, get_args(Weights)),
        ("way to offload", placement.offload, get_args(Offload)),
        ("way to compile", placement.compiled, get_args(Compiled)),
    ):
        if given not in known:
            raise UserError(f"there is no {what} {given!r}; there are {', '.join(known)}")
