"""The modules of diffusers' FLUX blocks by what they are for: the one place that knows their names."""

from dataclasses import dataclass
from typing import Any, cast

from diffusers import FluxTransformer2DModel
from peft.tuners.lora import LoraLayer
from torch import nn

__all__ = ["Parts", "base_layer", "double_parts", "single_parts"]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The modules of a stream or of a single block, which has no way down.

    Attributes:
        query: projects to queries.
        key: to keys.
        value: to values.
        norms: of each head's queries, and of its keys.
        leave: the projection after attention; of a single block from the feed-forward layer too.
        up: into the feed-forward layer, without its GELU.
        down: out of it.
        heads: of the attention.
    """

    query: nn.Module
    key: nn.Module
    value: nn.Module
    norms: tuple[nn.Module, nn.Module]
    leave: nn.Module
    up: nn.Module
    down: nn.Module | None = None
    heads: int


def double_parts(model: FluxTransformer2DModel) -> list[tuple[Parts, Parts]]:
    """Name the modules of the double blocks, the picture's and the prompt's."""
    blocks, heads = cast(Any, model.transformer_blocks), int(model.config["num_attention_heads"])
    return [
        (
            Parts(
                query=block.attn.to_q,
                key=block.attn.to_k,
                value=block.attn.to_v,
                norms=(block.attn.norm_q, block.attn.norm_k),
                leave=block.attn.to_out[0],
                up=block.ff.net[0].proj,
                down=block.ff.net[2],
                heads=heads,
            ),
            Parts(
                query=block.attn.add_q_proj,
                key=block.attn.add_k_proj,
                value=block.attn.add_v_proj,
                norms=(block.attn.norm_added_q, block.attn.norm_added_k),
                leave=block.attn.to_add_out,
                up=block.ff_context.net[0].proj,
                down=block.ff_context.net[2],
                heads=heads,
            ),
        )
        for block in blocks
    ]


def single_parts(model: FluxTransformer2DModel) -> list[Parts]:
    """Name the modules of the single blocks."""
    return [
        Parts(
            query=block.attn.to_q,
            key=block.attn.to_k,
            value=block.attn.to_v,
            norms=(block.attn.norm_q, block.attn.norm_k),
            leave=block.proj_out,
            up=block.proj_mlp,
            heads=int(model.config["num_attention_heads"]),
        )
        for block in cast(Any, model.single_transformer_blocks)
    ]


def base_layer(module: nn.Module) -> nn.Linear:
    """Return the base's own layer below adapters that rest."""
    return cast(nn.Linear, module.get_base_layer() if isinstance(module, LoraLayer) else module)
