"""FLUX.1-Fill-dev as it is published: known here, so that it can be counted and planned for without its weights."""

from typing import Any

__all__ = ["FLUX", "FLUX_TRANSFORMER"]

FLUX = "black-forest-labs/FLUX.1-Fill-dev"
"""Its hub id."""

FLUX_TRANSFORMER: dict[str, Any] = {
    "in_channels": 384,
    "out_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "axes_dims_rope": (16, 56, 56),
}
"""Its transformer's public configuration: 11,902,391,360 parameters."""
