"""The modules of diffusers' FLUX blocks by what they are for: the one place that knows their names."""

from dataclasses import dataclass
from typing import Any, cast

from diffusers import FluxTransformer2DModel
from peft.tuners.lora import LoraLayer
from torch import nn

from anyrefill.backbone import Attention

__all__ = ["Parts", "base_layer", "double_parts", "idle", "single_parts"]

ONCE = (
    "norm1.linear", "norm1_context.linear", "norm.linear", "norm_out.linear", "time_text_embed", "context_embedder",
)  # fmt: skip
"""Parts of names of the layers that give modulation and embed the prompt: what they give is made before the first step.
"""

PROMPT = ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "norm_added", "ff_context")
"""The same of the prompt's way through the double blocks."""


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
    heads = int(model.config["num_attention_heads"])
    return [(_image(block, heads), _text(block, heads)) for block in cast(Any, model.transformer_blocks)]


def single_parts(model: FluxTransformer2DModel) -> list[Parts]:
    """Name the modules of the single blocks."""
    heads = int(model.config["num_attention_heads"])
    blocks = cast(Any, model.single_transformer_blocks)
    return [_own(block.attn, heads, leave=block.proj_out, up=block.proj_mlp) for block in blocks]


def idle(name: str, attention: Attention) -> bool:
    """Return whether the engine's steps read nothing of the layer of that name, only what is made before the first."""
    return any(part in name for part in (*ONCE, *(PROMPT if attention == "clean_ref_text" else ())))


def _image(block: Any, heads: int) -> Parts:  # noqa: ANN401  # diffusers types none of its modules
    """Name what the picture's tokens pass in a double block."""
    ff = block.ff.net
    return _own(block.attn, heads, leave=block.attn.to_out[0], up=ff[0].proj, down=ff[2])


def _text(block: Any, heads: int) -> Parts:  # noqa: ANN401
    """Name what the prompt's tokens pass in a double block."""
    attn, ff = block.attn, block.ff_context.net
    return Parts(
        query=attn.add_q_proj,
        key=attn.add_k_proj,
        value=attn.add_v_proj,
        norms=(attn.norm_added_q, attn.norm_added_k),
        leave=attn.to_add_out,
        up=ff[0].proj,
        down=ff[2],
        heads=heads,
    )


def _own(attn: Any, heads: int, *, leave: nn.Module, up: nn.Module, down: nn.Module | None = None) -> Parts:  # noqa: ANN401
    """Name an attention's own projections, with what follows them."""
    norms = (attn.norm_q, attn.norm_k)
    return Parts(
        query=attn.to_q, key=attn.to_k, value=attn.to_v, norms=norms, leave=leave, up=up, down=down, heads=heads
    )


def base_layer(module: nn.Module) -> nn.Linear:
    """Return the base's own layer below adapters that rest."""
    return cast(nn.Linear, module.get_base_layer() if isinstance(module, LoraLayer) else module)
