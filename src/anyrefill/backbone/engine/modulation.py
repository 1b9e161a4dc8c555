"""What noise level, guidance and pooled prompt do to every block: shifts, scales and gates, and nothing else.

On FLUX.1-Fill the layers that make them hold 3.246 of 11.902 billion parameters. They do not depend on the latents,
so sampling makes them once for its whole schedule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from anyrefill.types import Pooled, Sigma

__all__ = ["Modulation", "modulate", "tabulate"]


@dataclass(frozen=True, kw_only=True)
class Modulation:
    """Shifts, scales and gates of all blocks for rows of a batch; each tensor is (values, rows, 1, d).

    A scale is kept as 1 + scale, the factor it is used as.

    Attributes:
        image: of each double block: shift, scale, gate of the attention, then of the feed-forward layer.
        text: the same for the prompt's tokens.
        single: of each single block: shift, scale, gate.
        out: of the last layer: shift, scale.
    """

    image: tuple[Tensor, ...]
    text: tuple[Tensor, ...]
    single: tuple[Tensor, ...]
    out: Tensor

    def rows(self, index: slice | Tensor) -> "Modulation":
        """Return some rows."""
        return Modulation(
            image=tuple(block[:, index] for block in self.image),
            text=tuple(block[:, index] for block in self.text),
            single=tuple(block[:, index] for block in self.single),
            out=self.out[:, index],
        )


def modulate(model: FluxTransformer2DModel, sigma: Sigma, guidance: float, pooled: Pooled) -> Modulation:
    """Return the modulation of each row; sigma and guidance stay float32 up to their embedding.

    Source: diffusers, FluxTransformer2DModel.forward, AdaLayerNormZero, AdaLayerNormZeroSingle, AdaLayerNormContinuous.
    """
    device = model.device
    thousandths, pooled = 1000 * sigma.to(device, torch.float32), pooled.to(device, model.dtype)
    embed = cast(Any, model.time_text_embed)
    if model.config["guidance_embeds"]:
        time = embed(thousandths, torch.full_like(thousandths, 1000 * guidance), pooled)
    else:
        time = embed(thousandths, pooled)
    time = F.silu(time)
    doubles, singles = cast(Any, model.transformer_blocks), cast(Any, model.single_transformer_blocks)
    scale, shift = _values(model.norm_out.linear, time, (1, 0))
    return Modulation(
        image=tuple(_values(block.norm1.linear, time, (0, 1, 0, 0, 1, 0)) for block in doubles),
        text=tuple(_values(block.norm1_context.linear, time, (0, 1, 0, 0, 1, 0)) for block in doubles),
        single=tuple(_values(block.norm.linear, time, (0, 1, 0)) for block in singles),
        out=torch.stack([shift, scale]),
    )


@torch.no_grad()
def tabulate(
    model: FluxTransformer2DModel, sigmas: Sequence[float], guidance: float, pooled: Pooled
) -> dict[float, Modulation]:
    """Return the modulation at every noise level; prompts that occur several times are computed once.

    A table for one prompt has one row, which holds for every canvas.
    """
    distinct, row = torch.unique(pooled, dim=0, return_inverse=True)
    count, levels = len(distinct), list(dict.fromkeys(sigmas))
    sigma = torch.tensor(levels).repeat_interleave(count)
    whole = modulate(model, sigma, guidance, distinct.repeat(len(levels), 1))
    table = {level: whole.rows(slice(i * count, (i + 1) * count)) for i, level in enumerate(levels)}
    return table if count == 1 else {level: part.rows(row) for level, part in table.items()}


def _values(layer: nn.Module, time: Tensor, ones: tuple[int, ...]) -> Tensor:
    """Return a layer's values (values, rows, 1, d), 1 added to those that scale."""
    values = layer(time).unflatten(-1, (len(ones), -1)).transpose(0, 1)[:, :, None]
    return values + values.new_tensor(ones).view(-1, 1, 1, 1)
