"""The flow-matching loss, and the forward pass that training takes."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from anyrefill import flow
from anyrefill.backbone import Condition, kernels
from anyrefill.backbone.fill import FluxFill
from anyrefill.train.config import Region
from anyrefill.train.data import Batch
from anyrefill.types import Fill, Sigma, Tokens

__all__ = ["Predictor", "flow_loss"]


class Predictor:
    """Predicts the velocity of a batch with gradients; on a CPU through `backbone.kernels`."""

    def __init__(
        self, backbone: FluxFill, condition: Callable[[Fill, Sequence[int]], Condition], guidance: float
    ) -> None:
        """Choose the way through the transformer."""
        self.backbone, self.condition, self.guidance = backbone, condition, guidance
        self.fast = backbone.device.type == "cpu"
        if self.fast:
            kernels.make_fast(backbone.transformer)

    def __call__(self, noisy: Tokens, sigma: Sigma, batch: Batch) -> Tokens:
        """Return d latents / d sigma in float32."""
        condition = self.condition(batch.fill, batch.prompts)
        if not self.fast:
            return self.backbone.velocity(noisy, sigma, condition, self.guidance).float()
        transformer, text = self.backbone.transformer, condition.text
        rope = kernels.rope_of(transformer, text.embeds.shape[1], condition.img_ids, self.backbone.dtype)
        tokens = torch.cat([noisy, condition.fill.to(noisy)], dim=-1)
        strength = sigma.new_full(sigma.shape, self.guidance)
        return kernels.forward(transformer, tokens, text.embeds, text.pooled, sigma, strength, rope).float()


def flow_loss(predict: Predictor, batch: Batch, region: Region) -> Tensor:
    """Return the mean of ||(eps - x_0) - v||^2 over the canvas, or over its painted tokens.

    Source: arXiv 2502.11158, eq. 3.
    """
    noisy = flow.interpolate(batch.clean, batch.noise, batch.sigma)
    guess = predict(noisy, batch.sigma, batch)
    wanted = flow.velocity(batch.clean, batch.noise).to(guess)
    error = (guess - wanted).pow(2).mean(-1)
    if region == "whole":
        return error.mean()
    weight = batch.fill[..., -256:].mean(-1).to(error)
    return (error * weight).sum() / weight.sum()
