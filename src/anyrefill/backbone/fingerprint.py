"""Telling base models apart by their weights, in milliseconds."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from safetensors import safe_open
from torch import Tensor

__all__ = ["digest_of", "fingerprint"]

ESSENTIALS = (
    "in_channels",
    "out_channels",
    "num_layers",
    "num_single_layers",
    "attention_head_dim",
    "num_attention_heads",
    "joint_attention_dim",
    "pooled_projection_dim",
    "guidance_embeds",
    "axes_dims_rope",
)
"""The entries of a transformer's configuration that decide what its weights mean."""


def fingerprint(transformer: FluxTransformer2DModel, *, scale: float, shift: float, stored: Path | None = None) -> str:
    """Return sha256 over a transformer's essentials, its latents' scale and shift, and a sample of its weights.

    The sample is the first 16 rows of six matrices from the input to the output, rounded to bfloat16: the
    same for float32 and bfloat16 copies of one base, different after any fine-tuning of it, and milliseconds
    to compute on 12 billion parameters. The text encoders are not part of it.

    Args:
        transformer: with adapters or without.
        scale: of its latents.
        shift: of its latents.
        stored: the folder of its weights' files, to look there: weights that were quantised are others in memory.
    """
    config = {key: transformer.config[key] for key in ESSENTIALS}
    weights = _sampled(transformer) if stored is None else _read(transformer, stored)
    return digest_of(weights, json.dumps({**config, "scale": scale, "shift": shift}, sort_keys=True))


def digest_of(weights: Iterable[Tensor], head: str = "") -> str:
    """Return sha256 over a text and the first 16 rows of each weight, rounded to bfloat16."""
    digest = hashlib.sha256(head.encode())
    for weight in weights:
        rows = weight[:16].detach().to("cpu", torch.bfloat16).contiguous()
        digest.update(rows.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def _sampled(transformer: FluxTransformer2DModel) -> Iterator[Tensor]:
    """Yield the weights a fingerprint looks at, below any adapter."""
    for name in _names(transformer):
        layer: Any = transformer.get_submodule(name)
        yield getattr(layer, "base_layer", layer).weight


def _read(transformer: FluxTransformer2DModel, folder: Path) -> Iterator[Tensor]:
    """Yield the same weights from the files that they were loaded from, 16 rows of each."""
    names = [f"{name}.weight" for name in _names(transformer)]
    rows = dict[str, Tensor]()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            here = set(file.keys())
            rows.update({name: file.get_slice(name)[:16] for name in names if name in here})
    for name in names:
        yield rows[name]


def _names(transformer: FluxTransformer2DModel) -> tuple[str, ...]:
    """Name the layers a fingerprint looks at."""
    last_double, last_single = transformer.config["num_layers"] - 1, transformer.config["num_single_layers"] - 1
    return (
        "x_embedder",
        "context_embedder",
        "transformer_blocks.0.attn.to_q",
        f"transformer_blocks.{last_double}.attn.add_k_proj",
        f"single_transformer_blocks.{last_single}.attn.to_v",
        "proj_out",
    )
