"""Telling base models apart by their weights, in milliseconds."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
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


def fingerprint(transformer: FluxTransformer2DModel, *, scale: float, shift: float) -> str:
    """Return sha256 over a transformer's essentials, its latents' scale and shift, and a sample of its weights.

    The sample is the first 16 rows of six matrices from the input to the output, rounded to bfloat16: the
    same for float32 and bfloat16 copies of one base, different after any fine-tuning of it, and milliseconds
    to compute on 12 billion parameters. The text encoders are not part of it.
    """
    config = {key: transformer.config[key] for key in ESSENTIALS}
    return digest_of(_sampled(transformer), json.dumps({**config, "scale": scale, "shift": shift}, sort_keys=True))


def digest_of(weights: Iterable[Tensor], head: str = "") -> str:
    """Return sha256 over a text and the first 16 rows of each weight, rounded to bfloat16."""
    digest = hashlib.sha256(head.encode())
    for weight in weights:
        rows = weight[:16].detach().to("cpu", torch.bfloat16).contiguous()
        digest.update(rows.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def _sampled(transformer: FluxTransformer2DModel) -> Iterator[Tensor]:
    """Yield the weights a fingerprint looks at, below any adapter."""
    double: Any = transformer.transformer_blocks
    single: Any = transformer.single_transformer_blocks
    layers: list[Any] = [
        transformer.x_embedder,
        transformer.context_embedder,
        double[0].attn.to_q,
        double[-1].attn.add_k_proj,
        single[-1].attn.to_v,
        transformer.proj_out,
    ]
    for layer in layers:
        yield getattr(layer, "base_layer", layer).weight
