"""The flow-matching loss, and the forward pass that training takes."""

from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from anyrefill import flow
from anyrefill.backbone import Attention, Condition, engine, kernels
from anyrefill.backbone.fill import FluxFill
from anyrefill.train.config import Region, TrainConfig
from anyrefill.train.data import Batch
from anyrefill.types import Ids, Sigma, Tokens

__all__ = ["Predictor", "flow_loss", "weight_of"]


class Predictor:
    """Predicts the velocity of a batch with gradients, in the mode of attention that will paint."""

    def __init__(self, backbone: FluxFill, img_ids: Ids, config: TrainConfig) -> None:
        """Choose the way through the transformer.

        Args:
            backbone: changed in place: from now on this is the only way through it.
            img_ids: the tokens' places.
            config: guidance, attention and checkpointing.
        """
        self.backbone, self.img_ids, self.guidance = backbone, img_ids, config.guidance
        self.attention: Attention = config.attention
        self.fast = backbone.device.type == "cpu" and self.attention == "full"
        if self.fast:
            kernels.make_fast(backbone.transformer)
        if config.checkpointing:
            _checkpoint_blocks(backbone)

    def __call__(self, noisy: Tokens, sigma: Sigma, batch: Batch) -> Tokens:
        """Return d latents / d sigma in float32."""
        if self.fast:
            return self._fast(noisy, sigma, batch)
        condition = Condition(fill=batch.fill, img_ids=self.img_ids, text=batch.text)
        if self.attention == "full":
            return self.backbone.velocity(noisy, sigma, condition, self.guidance).float()
        pairs = batch.part(slice(None, None, batch.draws))
        return engine.masked_forward(
            self.backbone.transformer,
            noisy,
            sigma,
            Condition(fill=pairs.fill, img_ids=self.img_ids, text=pairs.text),
            self.guidance,
            attention=self.attention,
            draws=batch.draws,
        ).float()

    def _fast(self, noisy: Tokens, sigma: Sigma, batch: Batch) -> Tokens:
        """Take the CPU's way, full attention."""
        transformer, text = self.backbone.transformer, batch.text
        rope = kernels.rope_of(transformer, text.embeds.shape[1], self.img_ids, self.backbone.dtype)
        tokens = torch.cat([noisy, batch.fill.to(noisy)], dim=-1)
        strength = sigma.new_full(sigma.shape, self.guidance)
        return kernels.forward(transformer, tokens, text.embeds, text.pooled, sigma, strength, rope).float()


def flow_loss(predict: Predictor, batch: Batch, region: Region, weight: Tensor) -> Tensor:
    """Return the sum of ||(eps - x_0) - v||^2 over the tokens that count, divided by `weight`.

    With `weight_of` the same batch that is the mean. With that of a larger batch it is this part's share of the mean,
    and the shares add up.

    Source: arXiv 2502.11158, eq. 3.
    """
    noisy = flow.interpolate(batch.clean, batch.noise, batch.sigma)
    guess = predict(noisy, batch.sigma, batch)
    wanted = flow.velocity(batch.clean, batch.noise).to(guess)
    error = (guess - wanted).pow(2).mean(-1)
    return (error * _weights(batch, region).to(error)).sum() / weight.to(error)


def weight_of(batch: Batch, region: Region) -> Tensor:
    """Return what all tokens of a batch weigh together."""
    return _weights(batch, region).sum()


def _weights(batch: Batch, region: Region) -> Tensor:
    """Return how much each token counts, (B, N): one, or the share of it that is painted."""
    if region == "whole":
        return torch.ones_like(batch.clean[..., 0])
    return batch.fill[..., -256:].mean(-1)


def _checkpoint_blocks(backbone: FluxFill) -> None:
    """Let every block compute its activations twice instead of keeping them."""
    for block in (*backbone.transformer.transformer_blocks, *backbone.transformer.single_transformer_blocks):
        cast(Any, block).forward = partial(checkpoint, block.forward, use_reentrant=False)
