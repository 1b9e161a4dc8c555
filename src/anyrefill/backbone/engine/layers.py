"""The layers of a FluxTransformer2DModel as the engine walks through them: by its modules, or by fused matrices.

By modules, adapters act and gradients flow. Fused, query, key and value are one matrix product and are normed and
turned as one, and the module's own weights become views of the fused ones: nothing is held twice, a state dict does
not change, and what is written into a weight later (an adapter merged or taken out) is in the fused matrix too.
Packed are copies of fused layers for one run on a CPU, in the order its libraries read them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakValueDictionary

import torch
from diffusers import FluxTransformer2DModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from anyrefill.backbone.engine.parts import Parts, base_layer, double_parts, single_parts
from anyrefill.backbone.engine.products import (
    Map,
    PackedProducts,
    PairMap,
    PlainProducts,
    Products,
    activated,
    packs,
)
from anyrefill.errors import UserError

__all__ = ["Double", "Layers", "Single", "Stream", "by_modules", "fusable", "fused", "packed", "readable", "unmerged"]

Look = Callable[[Tensor], Sequence[Tensor]]
"""To queries and keys, normed, two tensors or one in float32 of twice the heads, then values: (B, N, h, D) each."""

LARGEST = 2**30
"""Bytes of weights that are packed, which holds them twice while a picture is painted."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What one kind of token, picture or text, passes in a double block.

    Attributes:
        look: to queries, keys and values.
        leave: the projection after attention.
        up: into the feed-forward layer, GELU and all.
        down: out of it.
    """

    look: Look
    leave: Map
    up: Map
    down: Map


@dataclass(frozen=True, kw_only=True)
class Double:
    """A block with weights of its own for pictures and for text.

    Attributes:
        image: the picture's way.
        text: the prompt's way.
    """

    image: Stream
    text: Stream


@dataclass(frozen=True, kw_only=True)
class Single:
    """A block that treats all tokens alike.

    Attributes:
        look: to queries, keys and values.
        up: into the feed-forward layer, GELU and all.
        leave: from attention beside the feed-forward layer's output.
    """

    look: Look
    up: Map
    leave: PairMap


@dataclass(frozen=True, kw_only=True)
class Layers:
    """A transformer's layers in the order they are passed.

    Attributes:
        model: whose layers they are.
        doubles: the double blocks.
        singles: the single blocks.
        fused: whether they read the weights past the model's modules.
    """

    model: FluxTransformer2DModel
    doubles: tuple[Double, ...]
    singles: tuple[Single, ...]
    fused: bool

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in."""
        return self.model.dtype

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.model.device


_PACKED: WeakValueDictionary[tuple[object, ...], Layers] = WeakValueDictionary()
"""Packed layers that are in use, by model, rows, and the place and version of every weight."""


def unmerged(model: FluxTransformer2DModel) -> bool:
    """Return whether adapters act beside the base's weights."""
    lora = [cast(Any, module) for module in model.modules() if isinstance(module, LoraLayer)]
    return any(not layer.disable_adapters and layer.active_adapters for layer in lora)


def fusable(model: FluxTransformer2DModel) -> bool:
    """Return whether every weight can be read past the modules, and holds all that acts."""
    return not unmerged(model) and all(readable(module) for module in model.modules())


def readable(module: nn.Module) -> bool:
    """Return whether a module's own weights can be read past it: unquantised, in their place, and not compiled."""
    hooked = hasattr(module, "_hf_hook") or hasattr(module, "_diffusers_hook")
    plain = all(type(weight) is nn.Parameter for weight in module.parameters(recurse=False))
    return plain and not hooked and getattr(module, "_compiled_call_impl", None) is None


def by_modules(model: FluxTransformer2DModel) -> Layers:
    """Return the layers as the model's own modules: adapters act, gradients flow."""
    doubles = [Double(image=_stream(image), text=_stream(text)) for image, text in double_parts(model)]
    singles = [_single(parts) for parts in single_parts(model)]
    return Layers(model=model, doubles=tuple(doubles), singles=tuple(singles), fused=False)


def fused(model: FluxTransformer2DModel) -> Layers:
    """Return the layers with query, key and value in one matrix; the model's weights become views of it.

    Raises:
        UserError: an adapter acts beside the weights, which a fused projection would drop without a word.
    """
    if unmerged(model):
        raise UserError("the fast way through the transformer needs the adapter in its weights: merge it first")
    plain = PlainProducts()
    return _past_modules(model, plain, plain, plain)


def packed(layers: Layers, image: int, text: int) -> Layers:
    """Return fused layers with copies of the weights packed for one run; others, and too large ones, as they are.

    Fields of like passes that live at the same time, such as a large picture's, share one copy.

    Args:
        layers: of a model that is not written to while the packed ones are used.
        image: rows of picture tokens in each pass, all canvases together.
        text: rows of prompt tokens that pass beside them; 0 if they do not.
    """
    size = sum(weight.numel() * weight.element_size() for weight in layers.model.parameters())
    if not layers.fused or not packs(layers.device, layers.dtype) or size > LARGEST:
        return layers
    state = tuple((weight.data_ptr(), weight._version) for weight in layers.model.parameters())
    key = (id(layers.model), image, text, state)
    found = _PACKED.get(key)
    if found is None:
        words = PackedProducts(rows=text) if text else PlainProducts()
        found = _past_modules(layers.model, PackedProducts(rows=image), words, PackedProducts(rows=image + text))
        _PACKED[key] = found
    return found


def _past_modules(model: FluxTransformer2DModel, image: Products, text: Products, both: Products) -> Layers:
    """Return layers that read the weights themselves."""
    doubles = [
        Double(image=_fused_stream(one, image), text=_fused_stream(two, text)) for one, two in double_parts(model)
    ]
    singles = [_fused_single(parts, both) for parts in single_parts(model)]
    return Layers(model=model, doubles=tuple(doubles), singles=tuple(singles), fused=True)


def _stream(parts: Parts) -> Stream:
    """Return a stream that calls its modules."""
    up, down = parts.up, cast(nn.Module, parts.down)
    return Stream(look=_each(parts), leave=parts.leave, up=lambda x: activated(up(x)), down=down)


def _single(parts: Parts) -> Single:
    """Return a single block that calls its modules."""
    up, leave = parts.up, parts.leave
    return Single(
        look=_each(parts),
        up=lambda x: activated(up(x)),
        leave=lambda attended, mlp: leave(torch.cat([attended, mlp], -1)),
    )


def _fused_stream(parts: Parts, products: Products) -> Stream:
    """Return a stream that reads its weights."""
    up, down, leave = base_layer(parts.up), base_layer(cast(nn.Module, parts.down)), base_layer(parts.leave)
    return Stream(
        look=_at_once(parts, products),
        leave=products.one(leave.weight, leave.bias),
        up=products.one(up.weight, up.bias, activate=True),
        down=products.one(down.weight, down.bias),
    )


def _fused_single(parts: Parts, products: Products) -> Single:
    """Return a single block that reads its weights."""
    up, leave = base_layer(parts.up), base_layer(parts.leave)
    return Single(
        look=_at_once(parts, products),
        up=products.one(up.weight, up.bias, activate=True),
        leave=products.two(leave.weight, leave.bias, leave.in_features - up.out_features),
    )


def _each(parts: Parts) -> Look:
    """Project and norm with one module after the other."""

    def look(x: Tensor) -> Sequence[Tensor]:
        query, key, value = (part(x).unflatten(-1, (parts.heads, -1)) for part in (parts.query, parts.key, parts.value))
        return parts.norms[0](query), parts.norms[1](key), value

    return look


def _at_once(parts: Parts, products: Products) -> Look:
    """Project with one product, and norm queries and keys as one."""
    linear = [base_layer(module) for module in (parts.query, parts.key, parts.value)]
    product = products.one(_joined([layer.weight for layer in linear]), _joined([layer.bias for layer in linear]))
    weight = torch.cat([cast(Tensor, norm.weight).float().expand(parts.heads, -1) for norm in parts.norms])
    eps, heads = float(cast(Any, parts.norms[0]).eps), parts.heads

    def look(x: Tensor) -> Sequence[Tensor]:
        both, value = product(x).unflatten(-1, (3 * heads, -1)).split([2 * heads, heads], dim=2)
        return _normed(both, weight, eps), value

    return look


def _normed(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return RMSNorm of (B, N, h, D) in float32, a weight for each head."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return (x.float() * torch.rsqrt(length.square() / x.shape[-1] + eps)).mul_(weight)


@torch.no_grad()
def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Return parameters joined by rows, and make each a view of its share; joined ones are found, not copied."""
    first, rows = parts[0], sum(len(part) for part in parts)
    if _adjoining(parts):
        return first.detach().as_strided((rows, *first.shape[1:]), first.stride())
    whole = torch.cat([part.detach() for part in parts])
    for part, share in zip(parts, whole.split([len(part) for part in parts]), strict=True):
        part.data = share
    return whole


def _adjoining(parts: Sequence[Tensor]) -> bool:
    """Return whether tensors lie one behind the other in one storage already."""
    storage, end = parts[0].untyped_storage(), parts[0].storage_offset()
    for part in parts:
        if part.untyped_storage().data_ptr() != storage.data_ptr() or part.storage_offset() != end:
            return False
        end += part.numel()
    return len(parts) > 1 and all(part.is_contiguous() for part in parts)
