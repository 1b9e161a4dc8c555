"""The layers of a FluxTransformer2DModel as the engine walks through them: by its modules, or by fused matrices.

By modules, adapters act and gradients flow. Fused, the projections that read the same input are one matrix product,
and the module's own weights become views of the fused ones: nothing is held twice, a state dict does not change, and
what is written into a weight later (an adapter merged or taken out) is in the fused matrix too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import FluxTransformer2DModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from anyrefill.errors import UserError

__all__ = ["Double", "Layers", "Single", "Stream", "by_modules", "fused", "unmerged"]

Map = Callable[[Tensor], Tensor]
Split = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What one kind of token, picture or text, passes in a double block.

    Attributes:
        project: to query, key and value (B, N, d) each.
        norm_query: of each head's queries.
        norm_key: of each head's keys.
        leave: the projection after attention.
        up: into the feed-forward layer.
        down: out of it.
    """

    project: Split
    norm_query: nn.Module
    norm_key: nn.Module
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
        project: to query, key, value (B, N, d) and the feed-forward layer's input (B, N, 4d).
        norm_query: of each head's queries.
        norm_key: of each head's keys.
        leave: from attention beside the feed-forward layer's output.
    """

    project: Split
    norm_query: nn.Module
    norm_key: nn.Module
    leave: Map


@dataclass(frozen=True, kw_only=True)
class Layers:
    """A transformer's layers in the order they are passed.

    Attributes:
        model: whose layers they are.
        doubles: the double blocks.
        singles: the single blocks.
        heads: of every attention.
    """

    model: FluxTransformer2DModel
    doubles: tuple[Double, ...]
    singles: tuple[Single, ...]
    heads: int

    @property
    def dtype(self) -> torch.dtype:
        """What is computed in."""
        return self.model.dtype

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.model.device


def unmerged(model: FluxTransformer2DModel) -> bool:
    """Return whether adapters act beside the base's weights."""
    lora = [cast(Any, module) for module in model.modules() if isinstance(module, LoraLayer)]
    return any(not layer.disable_adapters and layer.active_adapters for layer in lora)


def by_modules(model: FluxTransformer2DModel) -> Layers:
    """Return the layers as the model's own modules: adapters act, gradients flow."""
    return _layers(model, _each)


def fused(model: FluxTransformer2DModel) -> Layers:
    """Return the layers with the projections of one input in one matrix; the model's weights become views of it.

    Raises:
        UserError: an adapter acts beside the weights, which a fused projection would drop without a word.
    """
    if unmerged(model):
        raise UserError("the fast way through the transformer needs the adapter in its weights: merge it first")
    return _layers(model, _at_once)


def _layers(model: FluxTransformer2DModel, project: Callable[[Sequence[nn.Module]], Split]) -> Layers:
    """Name the layers of every block."""
    doubles = [_double(cast(Any, block), project) for block in model.transformer_blocks]
    singles = [_single(cast(Any, block), project) for block in model.single_transformer_blocks]
    heads = int(model.config["num_attention_heads"])
    return Layers(model=model, doubles=tuple(doubles), singles=tuple(singles), heads=heads)


def _double(block: Any, project: Callable[[Sequence[nn.Module]], Split]) -> Double:  # noqa: ANN401 - diffusers' block
    """Name the layers of a double block."""
    attn = block.attn
    image = Stream(
        project=project([attn.to_q, attn.to_k, attn.to_v]),
        norm_query=attn.norm_q,
        norm_key=attn.norm_k,
        leave=attn.to_out[0],
        up=block.ff.net[0].proj,
        down=block.ff.net[2],
    )
    text = Stream(
        project=project([attn.add_q_proj, attn.add_k_proj, attn.add_v_proj]),
        norm_query=attn.norm_added_q,
        norm_key=attn.norm_added_k,
        leave=attn.to_add_out,
        up=block.ff_context.net[0].proj,
        down=block.ff_context.net[2],
    )
    return Double(image=image, text=text)


def _single(block: Any, project: Callable[[Sequence[nn.Module]], Split]) -> Single:  # noqa: ANN401 - diffusers' block
    """Name the layers of a single block."""
    attn = block.attn
    return Single(
        project=project([attn.to_q, attn.to_k, attn.to_v, block.proj_mlp]),
        norm_query=attn.norm_q,
        norm_key=attn.norm_k,
        leave=block.proj_out,
    )


def _each(modules: Sequence[nn.Module]) -> Split:
    """Project with one product for each module."""
    return lambda x: [module(x) for module in modules]


def _at_once(modules: Sequence[nn.Module]) -> Split:
    """Project with one product for all modules."""
    linear = [_base(module) for module in modules]
    weight = _joined([layer.weight for layer in linear])
    bias = _joined([layer.bias for layer in linear])
    widths = [layer.out_features for layer in linear]
    return lambda x: F.linear(x, weight, bias).split(widths, dim=-1)


def _base(module: nn.Module) -> nn.Linear:
    """Return the base's own layer below adapters that rest."""
    return cast(nn.Linear, module.get_base_layer() if isinstance(module, LoraLayer) else module)


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
