"""The ways through the transformer: a velocity field for sampling, and one pass with gradients for training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn

from anyrefill.backbone import Attention, Condition, Field, Text
from anyrefill.backbone.engine.layers import Layers, by_modules, packed, readable
from anyrefill.backbone.engine.layout import Layout, gather, scatter
from anyrefill.backbone.engine.modulation import Modulation, modulate, tabulate
from anyrefill.backbone.engine.parts import base_layer
from anyrefill.backbone.engine.passes import Prefix, Rotary, passed, prefilled, rotary
from anyrefill.types import Fill, Sigma, Tokens

__all__ = ["field", "masked_forward"]


def masked_forward(
    model: FluxTransformer2DModel,
    noisy: Tokens,
    sigma: Sigma,
    condition: Condition,
    guidance: float,
    *,
    attention: Attention = "full",
    draws: int = 1,
) -> Tokens:
    """Predict the velocity with gradients, in the mode of attention that will paint.

    Clean tokens, those with nothing to paint below them, pass once for each canvas, at noise level 0 and with their
    masked latents in the noisy slot; the noisy ones of every draw attend to them. What comes back for a clean token is
    the velocity towards its masked latents, (x - z) / sigma, a constant: a loss must weigh it 0, as the mask does.

    Args:
        model: adapters act, gradients flow where they are on. The CPU's fast forms need no ``make_fast`` here.
        noisy: x_sigma of whole canvases, (pairs * draws, N, D), the draws of one canvas one after the other.
        sigma: of each row of ``noisy``, in float32.
        condition: of each canvas, one row for a pair, not for a draw.
        guidance: distilled strength.
        attention: who attends to whom; with ``full`` nothing is shared between draws.
        draws: noise draws of each canvas, which share its clean prefix.

    Returns:
        d latents / d sigma in the type of ``noisy``, (pairs * draws, N, D).
    """
    way = _prepare(by_modules(model), condition, guidance, attention, draws)
    return way.velocity(noisy, sigma, modulate(model, sigma, guidance, way.condition.text.pooled))


@torch.no_grad()
def field(
    layers: Layers,
    condition: Condition,
    guidance: float,
    sigmas: Sequence[float],
    attention: Attention,
    draws: int = 1,
) -> Field:
    """Return the velocity field of a batch of canvases, with all that the latents do not change made beforehand.

    Args:
        layers: the transformer's, fused or by modules.
        condition: canvases and prompts.
        guidance: distilled strength.
        sigmas: at which the field will be asked for.
        attention: who attends to whom.
        draws: rows of latents of each canvas, one after the other, which share its clean prefix.
    """
    way = _prepare(layers, condition, guidance, attention, draws).for_a_run()
    table = tabulate(layers.model, [sigma for sigma in sigmas if sigma > 0], guidance, way.condition.text.pooled)

    @torch.no_grad()
    def velocity(latents: Tokens, sigma: float) -> Tokens:
        return way.velocity(latents, latents.new_full((len(latents),), sigma), table[sigma])

    return velocity


@dataclass(frozen=True, kw_only=True)
class _Way:
    """A batch of canvases on its way through the transformer: all that stays when latents and noise level change.

    Attributes:
        layers: the transformer's.
        condition: one row for each row of latents, on the model's device, in its type.
        layout: which tokens are noisy; None where all pass together.
        embed: embeds latents of the tokens that pass, beside their part of the condition.
        text: the embedded prompt, where it passes beside them.
        rope: of the tokens that pass.
        bias: of those that only fill up.
        prefix: what they attend to beside themselves.
    """

    layers: Layers
    condition: Condition
    layout: Layout | None
    embed: Callable[[Tensor], Tensor]
    text: Tensor | None
    rope: Rotary
    bias: Tensor | None = None
    prefix: Prefix | None = None

    def velocity(self, latents: Tokens, sigma: Sigma, modulation: Modulation) -> Tokens:
        """Return d latents / d sigma of whole canvases."""
        moving = latents if self.layout is None else gather(latents, self.layout.noisy.to(latents.device))
        image = self.embed(moving.to(self.layers.device, self.layers.dtype))
        out = passed(self.layers, image, self.text, modulation, self.rope, self.prefix, self.bias).to(latents)
        if self.layout is None:
            return out
        known = self.condition.fill[..., :-256].to(latents)
        still = (latents - known) / sigma.to(latents).view(-1, 1, 1)
        here = self.layout.noisy_here[..., None].to(latents.device)
        return torch.where(here, scatter(out, self.layout.noisy.to(out.device), latents.shape[1]), still)

    def for_a_run(self) -> "_Way":
        """Return the same with weights packed and room behind the prefix; for passes without gradients."""
        rows, tokens = self.condition.fill.shape[:2]
        tokens = tokens if self.layout is None else self.layout.noisy.shape[1]
        words = 0 if self.text is None else self.text.shape[1]
        prefix = None if self.prefix is None else self.prefix.with_room(tokens + words)
        return replace(self, layers=packed(self.layers, rows * tokens, rows * words), prefix=prefix)


def _prepare(layers: Layers, condition: Condition, guidance: float, attention: Attention, draws: int) -> _Way:
    """Pass the clean tokens, if they go first, and get the others ready."""
    condition = _placed(condition, layers)
    whole = rotary(layers.model, condition.text.embeds.shape[1], condition.img_ids)
    repeated = condition.repeated(draws)
    words = layers.model.context_embedder(repeated.text.embeds)
    if attention == "full":
        embed = _embedder(layers, repeated.fill)
        return _Way(layers=layers, condition=repeated, layout=None, embed=embed, text=words, rope=whole)
    layout, texts = Layout.of(condition.fill), condition.text.embeds.shape[1]
    prefix = _prefix(layers, condition, guidance, layout, whole, with_text=attention == "clean_ref_text")
    layout, live = layout.repeat(draws), attention == "clean_ref"
    return _Way(
        layers=layers,
        condition=repeated,
        layout=layout,
        embed=_embedder(layers, gather(repeated.fill, layout.noisy)),
        text=words if live else None,
        rope=whole.at(texts, layout.noisy, with_text=live),
        bias=_bias(layout.noisy_counts, texts if live else 0, layers.dtype),
        prefix=prefix.repeat(draws),
    )


def _prefix(
    layers: Layers, condition: Condition, guidance: float, layout: Layout, rope: Rotary, *, with_text: bool
) -> Prefix:
    """Pass the clean tokens at noise level 0, their known latents in the noisy slot."""
    fill, texts = gather(condition.fill, layout.clean), condition.text.embeds.shape[1]
    image = _embedder(layers, fill)(fill[..., :-256])
    words = layers.model.context_embedder(condition.text.embeds) if with_text else None
    still = torch.zeros(len(condition.text.pooled))
    modulation = modulate(layers.model, still, guidance, condition.text.pooled)
    bias = _bias(layout.clean_counts, texts if with_text else 0, layers.dtype)
    return prefilled(layers, image, words, modulation, rope.at(texts, layout.clean, with_text=with_text), bias)


def _placed(condition: Condition, layers: Layers) -> Condition:
    """Return a condition on the model's device, in its type."""
    text = Text(
        embeds=condition.text.embeds.to(layers.device, layers.dtype),
        pooled=condition.text.pooled.to(layers.device, layers.dtype),
    )
    fill = condition.fill.to(layers.device, layers.dtype)
    return Condition(fill=fill, img_ids=condition.img_ids.to(layers.device), text=text)


def _embedder(layers: Layers, fill: Fill) -> Callable[[Tensor], Tensor]:
    """Return the map from latents to embedded tokens; the product with the condition, 5/6 of the work, is made once."""
    embed = cast(nn.Module, layers.model.x_embedder)
    embed = base_layer(embed) if layers.fused else embed  # fused, what adapters add is in the weights
    if not isinstance(embed, nn.Linear) or not readable(embed):  # an adapter acts on it, or its weights are elsewhere
        return lambda latents: embed(torch.cat([latents, fill], -1))
    own = embed.weight.shape[1] - fill.shape[-1]
    weight, constant = embed.weight[:, :own], F.linear(fill, embed.weight[:, own:], embed.bias)
    return lambda latents: F.linear(latents, weight) + constant


def _bias(counts: Tensor, texts: int, dtype: torch.dtype) -> Tensor | None:
    """Return (rows, 1, 1, texts + M), -inf for entries that only fill up; None if there are none."""
    if bool(counts.all()):
        return None
    bias = torch.zeros(counts.shape, dtype=dtype, device=counts.device).masked_fill(~counts, -torch.inf)
    return F.pad(bias, (texts, 0))[:, None, None]
