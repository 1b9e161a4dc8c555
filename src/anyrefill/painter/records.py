"""What a painter is asked for, and what it tells on the way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypedDict

from jaxtyping import Float
from torch import Tensor

from anyrefill import images
from anyrefill.backbone import Attention, Backbone
from anyrefill.canvas import Canvas
from anyrefill.flow import Solver
from anyrefill.painter.box import Around
from anyrefill.painter.fitting import Frame
from anyrefill.pairs import Pair
from anyrefill.sample import Large, Step, sampling, sampling_large
from anyrefill.types import Panel

__all__ = ["Asked", "Request", "Sampler", "Stage", "Together"]

Together = Literal["in-turn", "at-once"]
"""How several tasks are painted in one picture: each on what the one before it made, or by all adapters at once."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One painting to be done.

    Attributes:
        pair: references and target in the size that is painted; what the target shows below the mask is not looked at.
        frame: how large that is, and how large the painting comes out.
        beside: the reference in the size that comes out.
        kept: the target in the size that comes out.
        mask: 1 where the painting goes, in the size that comes out.
        around: the picture around it, where a box of one is painted: what all other sizes and pixels are of.
        notes: sentences to tell the user: what was resized, what was not used.
    """

    pair: Pair
    frame: Frame
    beside: Float[Tensor, "3 h w"]
    kept: Float[Tensor, "3 h w"]
    mask: Float[Tensor, "1 h w"]
    around: Around | None = None
    notes: tuple[str, ...] = ()

    def onto(self, painted: Float[Tensor, "3 h w"]) -> "Request":
        """Return this request with a painting, in the size that comes out, for its reference."""
        reference = self.frame.into(images.to_pil(painted)).panel
        return replace(self, pair=replace(self.pair, reference=reference), beside=painted)


class Asked(TypedDict, total=False):
    """How one call is to sample; what is left out, or None, is as the painter does it.

    Attributes:
        steps: of the solver, one backbone call each.
        guidance: distilled guidance strength.
        temperature: what the noise is multiplied by.
        reference_guidance: above 1 the reference counts for more than in training, at two calls a step.
        caption_guidance: above 1 the prompt counts for more than in training, at one more call a step.
        mirrored: whether the mirror image is painted, too, see ``Painter``.
    """

    steps: int | None
    guidance: float | None
    temperature: float | None
    reference_guidance: float | None
    caption_guidance: float | None
    mirrored: bool | None


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How canvases are sampled: the settings of `sampling` and `sampling_large`, by their names.

    Attributes:
        steps: of the solver, one backbone call each.
        guidance: distilled guidance strength.
        solver: how the steps are taken.
        attention: who attends to whom.
        temperature: what the noise is multiplied by.
        reference_guidance: how much more than in training the reference counts.
        caption_guidance: how much more than in training the prompt counts.
    """

    steps: int
    guidance: float
    solver: Solver
    attention: Attention
    temperature: float
    reference_guidance: float
    caption_guidance: float

    def sampling(
        self, backbone: Backbone, canvases: Sequence[Canvas], prompts: Sequence[str], seeds: Sequence[int]
    ) -> Iterator[Step]:
        """Sample canvases of one size."""
        return sampling(backbone, canvases, prompts, seeds=seeds, **vars(self))

    def sampling_large(self, backbone: Backbone, large: Large, prompt: str, seed: int) -> Iterator[Step]:
        """Sample the tiles of one canvas."""
        return sampling_large(backbone, large, prompt, seed=seed, **vars(self))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a run stands after one step of a batch, or of all tiles.

    Attributes:
        done: steps taken.
        total: steps of the whole run.
        panels: what this step has finished, in the order that was asked for; mostly nothing.
        raw: the same before the task's finish, where many are painted.
        notes: sentences to tell the user about what it has finished.
    """

    done: int
    total: int
    panels: tuple[Panel, ...] = ()
    raw: tuple[Panel, ...] = ()
    notes: tuple[str, ...] = ()
