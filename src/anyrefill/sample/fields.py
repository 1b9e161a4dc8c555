"""The velocity fields that are followed from noise to a picture: the backbone's own, or guided by the reference."""

from collections.abc import Sequence

import torch

from anyrefill.backbone import Attention, Backbone, Condition, Field, Prepares, call_by_call
from anyrefill.backbone.latents import pack_mask
from anyrefill.canvas import Canvas
from anyrefill.errors import UserError
from anyrefill.flow import interpolate
from anyrefill.types import Tokens

__all__ = ["guided", "velocity_field"]


def velocity_field(
    backbone: Backbone, condition: Condition, guidance: float, sigmas: Sequence[float], attention: Attention
) -> Field:
    """Return the backbone's velocity field: its own way for many steps, or else its velocity, call by call.

    Raises:
        UserError: the backbone does not know that attention.
    """
    if isinstance(backbone, Prepares):
        return backbone.field(condition, guidance, sigmas, attention)
    if attention != "full":
        raise UserError(f"the backbone {type(backbone).__name__} knows full attention only, not {attention}")
    return call_by_call(backbone, condition, guidance)


def guided(
    backbone: Backbone,
    canvases: Sequence[Canvas],
    condition: Condition,
    noise: Tokens,
    sigmas: Sequence[float],
    *,
    guidance: float,
    attention: Attention,
    strength: float,
) -> Field:
    """Return the field that the reference guides: v0 + strength (v - v0) on the target, two backbone calls each time.

    v is the backbone's velocity, and v0 the one on the same canvas with mid-grey for its references, whose latents
    stand there on the straight path from the noise to that grey. At strength 1 this is the backbone's own field, which
    is then returned as it is; above 1 what the reference says counts for more than it did in training.

    Source: arXiv 2207.12598 (classifier-free guidance), eq. 6, and arXiv 2211.09800 (InstructPix2Pix), eq. 3, its
    guidance by the image; beyond AnyRefill's paper. Nothing is trained for v0: fill models know canvases of one colour.

    Args:
        backbone: the fill model.
        canvases: of one size.
        condition: the canvases' own.
        noise: that sampling begins with, (B, N, D).
        sigmas: all noise levels at which the field will be asked for.
        guidance: distilled guidance strength.
        attention: who attends to whom.
        strength: of the reference, at least 0, where it has no say.
    """
    field = velocity_field(backbone, condition, guidance, sigmas, attention)
    if strength == 1:
        return field
    blank = Condition.of([canvas.without_reference() for canvas in canvases], condition.text, backbone)
    unguided = velocity_field(backbone, blank, guidance, sigmas, attention)
    target = pack_mask(canvases[0].target[None]).bool().any(dim=-1, keepdim=True).to(noise.device)
    grey = blank.fill[..., : noise.shape[-1]]

    @torch.no_grad()
    def both(latents: Tokens, sigma: float) -> Tokens:
        own = field(latents, sigma)
        path = interpolate(grey, noise, noise.new_full((len(noise),), sigma))
        other = unguided(torch.where(target, latents, path.to(latents)), sigma)
        return torch.where(target, other + strength * (own - other), own)

    return both
