"""The velocity fields that are followed from noise to a picture: the backbone's own, or guided by its inputs."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Generator, Tensor

from anyrefill.backbone import Attention, Backbone, Condition, Field, Prepares, call_by_call
from anyrefill.backbone.latents import pack_mask
from anyrefill.canvas import Canvas
from anyrefill.errors import UserError
from anyrefill.flow import interpolate
from anyrefill.types import Tokens

__all__ = ["guided", "velocity_field"]


def velocity_field(
    backbone: Backbone,
    condition: Condition,
    guidance: float,
    sigmas: Sequence[float],
    attention: Attention,
    draws: int = 1,
) -> Field:
    """Return the backbone's velocity field: its own way for many steps, or else its velocity, call by call.

    Of each row of the condition there are ``draws`` rows of latents.

    Raises:
        UserError: the backbone does not know that attention.
    """
    if isinstance(backbone, Prepares):
        return backbone.field(condition, guidance, sigmas, attention, draws)
    if attention != "full":
        raise UserError(f"the backbone {type(backbone).__name__} knows full attention only, not {attention}")
    return call_by_call(backbone, condition.repeated(draws), guidance)


def guided(
    backbone: Backbone,
    canvases: Sequence[Canvas],
    condition: Condition,
    noise: Tokens,
    sigmas: Sequence[float],
    generators: list[Generator],
    *,
    guidance: float,
    attention: Attention,
    reference_guidance: float,
    caption_guidance: float,
) -> Field:
    """Return the field that the reference and the caption guide: v + sum_i (w_i - 1) (v - v_i) on the target.

    v is the backbone's velocity, and v_i what it says without the reference, see ``beside_grey``, or without a prompt:
    one more backbone call each time for every strength that is not 1. Above 1 what was left out there counts for more
    than it did in training; where both are 1 this is the backbone's own field, which is then returned as it is.

    Source: arXiv 2207.12598 (classifier-free guidance), eq. 6, and arXiv 2211.09800 (InstructPix2Pix), eq. 3, its
    guidance by image and by text, each measured from v here; beyond AnyRefill's paper.

    Args:
        backbone: the fill model.
        canvases: of one size.
        condition: the canvases' own.
        noise: that sampling begins with, (B * draws, N, D).
        sigmas: all noise levels at which the field will be asked for.
        generators: one for each canvas, where the autoencoder samples its posterior.
        guidance: distilled guidance strength.
        attention: who attends to whom.
        reference_guidance: strength of the reference, at least 0, where it has no say.
        caption_guidance: strength of the prompt, likewise.
    """
    draws = len(noise) // len(canvases)
    own = velocity_field(backbone, condition, guidance, sigmas, attention, draws)
    others: list[tuple[Field, float]] = []
    target = pack_mask(canvases[0].target[None]).bool().any(dim=-1, keepdim=True).to(noise.device)
    if reference_guidance != 1:
        bare = [canvas.without_reference() for canvas in canvases]
        blank = Condition.of(bare, condition.text, backbone, generators=generators)
        unguided = velocity_field(backbone, blank, guidance, sigmas, attention, draws)
        others.append((beside_grey(unguided, blank.repeated(draws), noise, target), reference_guidance))
    if caption_guidance != 1:
        with torch.no_grad():
            silent = replace(condition, text=backbone.encode_text([""] * len(canvases)))
        others.append((velocity_field(backbone, silent, guidance, sigmas, attention, draws), caption_guidance))
    if not others:
        return own

    @torch.no_grad()
    def field(latents: Tokens, sigma: float) -> Tokens:
        velocity = own(latents, sigma)
        away = [(strength - 1) * (velocity - other(latents, sigma)) for other, strength in others]
        return torch.where(target, velocity + sum(away), velocity)

    return field


def beside_grey(field: Field, blank: Condition, noise: Tokens, target: Bool[Tensor, "1 N 1"]) -> Field:
    """Return the velocity on canvases with mid-grey for their references, whose latents keep to that grey.

    There they stand on the straight path from the noise to it. Nothing is trained for this: fill models know canvases
    of one colour.

    Args:
        field: of those canvases.
        blank: their condition.
        noise: that sampling begins with, (B, N, D).
        target: which tokens are the target's.
    """
    grey = blank.fill[..., : noise.shape[-1]]

    def beside(latents: Tokens, sigma: float) -> Tokens:
        path = interpolate(grey, noise, noise.new_full((len(noise),), sigma))
        return field(torch.where(target, latents, path.to(latents)), sigma)

    return beside
