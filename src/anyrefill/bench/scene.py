"""What is painted in the benchmark: bundled photographs, one task, the same weights in every run."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast

import torch

from anyrefill.backbone import Condition
from anyrefill.backbone.adapters.files import load_adapter
from anyrefill.backbone.embedded import EMBEDDED, adapter_of, find_base
from anyrefill.backbone.fill import FluxFill
from anyrefill.canvas import Canvas
from anyrefill.painter import Painter, load
from anyrefill.sample import draw_noise
from anyrefill.types import Tokens

__all__ = ["DTYPES", "Scene", "partly_known"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A task on the embedded backbone, twice: as diffusers runs it, and as we do.

    Attributes:
        dtype: of the weights, by name.
        task: whose adapter paints.
        painter: ours, adapter merged.
        plain: the same transformer, adapter beside its weights; nothing else is loaded.
        canvases: to paint on.
    """

    dtype: str
    task: str
    painter: Painter
    plain: FluxFill
    canvases: tuple[Canvas, ...]

    @classmethod
    def of(cls, task: str, dtype: str, count: int) -> "Scene":
        """Load the base, a second transformer, and the photographs over and over until there are enough."""
        kind = DTYPES[dtype]
        painter = load(task, dtype=kind)
        plain = FluxFill.load(find_base("micro"), dtype=kind, parts=("transformer",))
        load_adapter(adapter_of(task), plain)
        photos = sorted((EMBEDDED.parent / "photos").glob("*.jpg"))
        pairs = [painter.prepare(photos[index % len(photos)]).pair for index in range(count)]
        canvases = [Canvas.stitch(pair.references, pair.target, painter.task.mask(pair)) for pair in pairs]
        return cls(dtype=dtype, task=task, painter=painter, plain=plain, canvases=tuple(canvases))

    @property
    def backbone(self) -> FluxFill:
        """Ours, adapter merged."""
        return cast(FluxFill, self.painter.backbone)

    @property
    def prompts(self) -> list[str]:
        """The task's, without captions."""
        return [self.painter.task.fill_prompt("")] * len(self.canvases)

    def first(self, count: int) -> "Scene":
        """Return the same with the first canvases alone."""
        return replace(self, canvases=self.canvases[:count])

    @torch.no_grad()
    def condition(self, canvases: Sequence[Canvas] | None = None) -> Condition:
        """Encode the canvases, or others as many."""
        chosen = list(canvases or self.canvases)
        return Condition.of(chosen, self.backbone.encode_text(self.prompts[: len(chosen)]), self.backbone)

    def noise(self, condition: Condition) -> Tokens:
        """Draw the noise of seeds 0, 1, 2, ..."""
        generators = [torch.Generator().manual_seed(seed) for seed in range(len(condition.fill))]
        return draw_noise(condition, self.canvases[0], generators)

    @contextmanager
    def bare(self) -> Generator[FluxFill, None, None]:
        """Lend the plain transformer with its adapter at rest."""
        self.plain.transformer.disable_adapters()
        try:
            yield self.plain
        finally:
            self.plain.transformer.enable_adapters()


def partly_known(canvas: Canvas, share: float) -> Canvas:
    """Return the canvas with the upper share of its target known."""
    mask, rows = canvas.mask.clone(), int(share * canvas.height)
    mask[:, :rows] = 0
    return replace(canvas, mask=mask)
