"""What others call the layers that a LoRA changes: Black Forest Labs' modules and the layers of diffusers they hold.

Black Forest Labs keep query, key and value, and in a single block the first feed-forward matrix too, in one module.
kohya's names are Black Forest Labs' with underscores for dots.

Source: black-forest-labs/flux, model.Flux; kohya-ss/sd-scripts, networks/convert_flux_lora.py; ComfyUI, comfy/lora.py.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

__all__ = ["MLP_RATIO", "SWAPPED", "Layout", "layers_of", "module_key", "module_of"]

Layout = Literal["diffusers", "kohya", "bfl"]
"""diffusers and peft; kohya's sd-scripts; Black Forest Labs' names as ComfyUI reads them."""

PREFIXES: Mapping[Layout, str] = MappingProxyType(
    {"diffusers": "transformer.", "kohya": "lora_unet_", "bfl": "diffusion_model."}
)

DOUBLE = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn.proj": ("attn.to_out.0",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn.proj": ("attn.to_add_out",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "txt_mod.lin": ("norm1_context.linear",),
}
SINGLE = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
}
OUTSIDE = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in.in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "guidance_in.in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "vector_in.in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in.out_layer": ("time_text_embed.text_embedder.linear_2",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
    "final_layer.linear": ("proj_out",),
}
BLOCKS = (("double_blocks", "transformer_blocks", DOUBLE), ("single_blocks", "single_transformer_blocks", SINGLE))
"""(their name, diffusers' name, the modules of one block)"""

MLP_RATIO = 4
"""Rows of ``proj_mlp`` for each row of ``to_q``."""

SWAPPED = frozenset({"final_layer.adaLN_modulation.1"})
"""Modules that give (shift, scale) where diffusers' layer gives (scale, shift)."""


def layers_of(module: str) -> tuple[str, ...]:
    """Return the layers of diffusers that a name in any layout stands for, in the order they are stacked.

    Args:
        module: of a file's keys, without the factor's name: ``transformer.transformer_blocks.0.attn.to_q``,
            ``lora_unet_double_blocks_0_img_attn_qkv``, ``diffusion_model.double_blocks.0.img_attn.qkv``, or the
            last without its prefix.

    Returns:
        Nothing for a name that FLUX does not have.
    """
    theirs = module.startswith(PREFIXES["diffusers"])
    plain = next((module.removeprefix(prefix) for prefix in PREFIXES.values() if module.startswith(prefix)), module)
    if theirs:
        return (plain,) if module_of(plain) is not None else ()
    numbered = re.fullmatch(r"(double|single)_blocks[._](\d+)[._](.+)", plain)
    if numbered is None:
        return _UNDERSCORED.get(plain.replace(".", "_"), ())
    kind, number, rest = numbered.groups()
    outer, parts = _BLOCK_UNDERSCORED.get((f"{kind}_blocks", rest.replace(".", "_")), ("", ()))
    return tuple(f"{outer}.{number}.{part}" for part in parts)


def module_of(layer: str) -> str | None:
    """Return the module of Black Forest Labs that holds a layer of diffusers; None for a layer FLUX does not have."""
    for theirs, ours, modules in BLOCKS:
        if numbered := re.fullmatch(rf"{ours}\.(\d+)\.(.+)", layer):
            number, rest = numbered.groups()
            return next((f"{theirs}.{number}.{name}" for name, parts in modules.items() if rest in parts), None)
    return next((name for name, parts in OUTSIDE.items() if layer in parts), None)


def module_key(module: str, layout: Layout) -> str:
    """Return what a module (of diffusers: a layer) is called in the keys of a file."""
    return PREFIXES[layout] + (module.replace(".", "_") if layout == "kohya" else module)


_UNDERSCORED = {name.replace(".", "_"): parts for name, parts in OUTSIDE.items()}
_BLOCK_UNDERSCORED = {
    (theirs, name.replace(".", "_")): (ours, parts)
    for theirs, ours, modules in BLOCKS
    for name, parts in modules.items()
}
