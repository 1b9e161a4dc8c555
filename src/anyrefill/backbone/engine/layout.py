"""Which tokens are clean and which are noisy: what the clean-prefix modes of attention rest on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from anyrefill.types import Fill

__all__ = ["Layout", "gather", "scatter"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the clean and the noisy tokens of each canvas are; one row stands for a batch of equal canvases.

    A token is clean where no pixel below it is to be painted. Rows that have fewer tokens than others are filled up
    with tokens that nobody attends to.

    Attributes:
        noisy_here: (rows, N), whether a token is noisy.
        clean: (rows, P) places of the clean tokens.
        noisy: (rows, M) places of the noisy tokens.
        clean_counts: (rows, P), whether an entry of ``clean`` is none of those that fill up.
        noisy_counts: (rows, M), the same for ``noisy``.
    """

    noisy_here: Tensor
    clean: Tensor
    noisy: Tensor
    clean_counts: Tensor
    noisy_counts: Tensor

    @classmethod
    def of(cls, fill: Fill) -> "Layout":
        """Read the layout from packed conditions, whose last 256 values are the mask below each token."""
        noisy_here = fill[..., -256:].amax(-1) > 0
        if bool((noisy_here == noisy_here[:1]).all()):
            noisy_here = noisy_here[:1]
        order = noisy_here.to(torch.int8).argsort(dim=1, stable=True)
        tokens, painted = noisy_here.shape[1], noisy_here.sum(1, keepdim=True)
        kept, most = int((tokens - painted).max()), max(1, int(painted.max()))
        places = torch.arange(tokens, device=fill.device)
        return cls(
            noisy_here=noisy_here,
            clean=order[:, :kept],
            noisy=order[:, tokens - most :],
            clean_counts=places[:kept] < tokens - painted,
            noisy_counts=places[tokens - most :] >= tokens - painted,
        )

    def repeat(self, draws: int) -> "Layout":
        """Return the layout with every row that many times."""
        if draws == 1 or len(self.clean) == 1:
            return self
        return Layout(
            noisy_here=self.noisy_here.repeat_interleave(draws, 0),
            clean=self.clean.repeat_interleave(draws, 0),
            noisy=self.noisy.repeat_interleave(draws, 0),
            clean_counts=self.clean_counts.repeat_interleave(draws, 0),
            noisy_counts=self.noisy_counts.repeat_interleave(draws, 0),
        )


def gather(tokens: Tensor, places: Tensor) -> Tensor:
    """Return the tokens (B, M, D) at places (B or 1, M) of tokens (B or 1, N, D)."""
    if len(places) == 1:
        return tokens[:, places[0]]
    return tokens.expand(len(places), -1, -1).gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))


def scatter(parts: Tensor, places: Tensor, tokens: int) -> Tensor:
    """Return (B, tokens, D) with parts at their places and zeros elsewhere; the inverse of gather."""
    whole = parts.new_zeros(len(parts), tokens, parts.shape[-1])
    return whole.scatter(1, places[..., None].expand(len(parts), -1, parts.shape[-1]), parts)
