"""The flow-matching loss, and the forward pass that training takes."""

from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from anyrefill import flow
from anyrefill.backbone import Attention, Condition, Text, engine, kernels
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.latents import unpack
from anyrefill.train.config import Region, TrainConfig, Weighing
from anyrefill.train.data import Batch
from anyrefill.train.trained import Trained
from anyrefill.types import Sigma, Tokens

__all__ = ["Predictor", "channel_weights", "flow_loss", "weight_of"]


class Predictor:
    """Predicts the velocity of a batch with gradients, in the mode of attention that will paint."""

    def __init__(self, backbone: FluxFill, config: TrainConfig, trained: Trained) -> None:
        """Choose the way through the transformer.

        Args:
            backbone: changed in place: from now on this is the only way through it.
            config: guidance, attention, checkpointing and compiling.
            trained: what is trained; it may read the prompts itself.
        """
        self.trained = trained
        self.backbone, self.guidance = backbone, config.guidance
        self.attention: Attention = config.attention
        self.fast = backbone.device.type == "cpu" and self.attention == "full"
        if self.fast:
            kernels.make_fast(backbone.transformer)
        if config.checkpointing:
            _checkpoint_blocks(backbone)
        if config.compile:
            for block in _blocks(backbone):
                block.compile(dynamic=False)

    def guided(self, guidance: float) -> "Predictor":
        """Return the same way through the transformer, fed with another distilled guidance."""
        other = copy(self)
        other.guidance = guidance
        return other

    def __call__(self, noisy: Tokens, sigma: Sigma, batch: Batch) -> Tokens:
        """Return d latents / d sigma in float32."""
        if self.attention == "full":
            return self._full(noisy, sigma, batch)
        pairs = batch.part(slice(None, None, batch.draws))
        return engine.masked_forward(
            self.backbone.transformer,
            noisy,
            sigma,
            Condition(fill=pairs.fill, img_ids=batch.img_ids, text=self._text(pairs)),
            self.guidance,
            attention=self.attention,
            draws=batch.draws,
        ).float()

    def _text(self, batch: Batch) -> Text:
        """Return the encoded prompts, as the trained tokens let CLIP read them where there are such."""
        pooled = self.trained.pooled(batch.words)
        return batch.text if pooled is None else replace(batch.text, pooled=pooled)

    def _full(self, noisy: Tokens, sigma: Sigma, batch: Batch) -> Tokens:
        """Let all tokens attend to all, on a CPU in the forms that are fast there."""
        transformer, text = self.backbone.transformer, self._text(batch)
        if not self.fast:
            condition = Condition(fill=batch.fill, img_ids=batch.img_ids, text=text)
            return self.backbone.velocity(noisy, sigma, condition, self.guidance).float()
        rope = kernels.rope_of(transformer, text.embeds.shape[1], batch.img_ids, self.backbone.dtype)
        tokens = torch.cat([noisy, batch.fill.to(noisy)], dim=-1)
        strength = sigma.new_full(sigma.shape, self.guidance)
        return kernels.forward(transformer, tokens, text.embeds, text.pooled, sigma, strength, rope).float()


def flow_loss(predict: Predictor, batch: Batch, region: Region, weight: Tensor, channels: Tensor) -> Tensor:
    """Return the sum of ||(eps - x_0) - v||^2 over the tokens that count, divided by `weight`.

    With `weight_of` the same batch that is the mean. With that of a larger batch it is this part's share of the mean,
    and the shares add up. `channels` says what the error of each of a token's channels counts, mean one.

    Source: arXiv 2502.11158, eq. 3.
    """
    noisy = flow.interpolate(batch.clean, batch.noise, batch.sigma)
    guess = predict(noisy, batch.sigma, batch)
    wanted = flow.velocity(batch.clean, batch.noise).to(guess)
    error = ((guess - wanted).pow(2) * channels.to(guess)).mean(-1)
    return (error * _weights(batch, region).to(error)).sum() / weight.to(error)


def weight_of(batch: Batch, region: Region) -> Tensor:
    """Return what all tokens of a batch weigh together."""
    return _weights(batch, region).sum()


@torch.no_grad()
def channel_weights(weighing: Weighing, backbone: FluxFill, clean: Tokens, height: int, width: int) -> Tensor:
    """Return what the error of each of a token's channels counts in the loss, (64,), mean one.

    Args:
        weighing: one for all, or each channel's reach: how far the decoded pixels move when noise moves it.
        backbone: its autoencoder decodes.
        clean: packed latents of a few canvases to try it on.
        height: of the canvases, in pixels.
        width: of the canvases, in pixels.
    """
    if weighing == "even":
        return torch.ones(clean.shape[-1])
    latents = unpack(clean, height, width)
    noise = 0.1 * torch.randn(latents[:, 0].shape, generator=torch.Generator().manual_seed(0))
    still, reach = backbone.decode(latents), list[Tensor]()
    for channel in range(latents.shape[1]):
        moved = latents.clone()
        moved[:, channel] += noise
        reach.append((backbone.decode(moved) - still).norm())
    weights = torch.stack(reach)
    return (weights / weights.mean()).repeat_interleave(4)


def _weights(batch: Batch, region: Region) -> Tensor:
    """Return how much each token counts, (B, N): one, or the share of it that is painted."""
    if region == "whole":
        return torch.ones_like(batch.clean[..., 0])
    return batch.fill[..., -256:].mean(-1)


def _checkpoint_blocks(backbone: FluxFill) -> None:
    """Let every block compute its activations twice instead of keeping them."""
    for block in _blocks(backbone):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _blocks(backbone: FluxFill) -> list[Any]:
    """Return the transformer's blocks."""
    return [*backbone.transformer.transformer_blocks, *backbone.transformer.single_transformer_blocks]
