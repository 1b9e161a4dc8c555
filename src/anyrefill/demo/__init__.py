"""The demonstration: every shipped task on pictures that no training saw."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from anyrefill.demo.examples import PHOTOS, Example, NamedPhoto, examples, read_photos
from anyrefill.painter import Painter
from anyrefill.types import Panel

__all__ = [
    "PHOTOS",
    "Example",
    "Gallery",
    "NamedPhoto",
    "Picture",
    "Progress",
    "demonstrating",
    "examples",
    "read_photos",
]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One task on one example.

    Attributes:
        task: name of the task.
        example: what was painted from.
        painted: what the painter made of it.
        metric: the first of the task's metrics.
        score: of the painted panel, nan without a truth.
    """

    task: str
    example: Example
    painted: Panel
    metric: str
    score: float

    @property
    def reference(self) -> Panel:
        """What the painter was given."""
        return self.example.pair.reference

    @property
    def truth(self) -> Panel | None:
        """What would have been right; None where nobody knows."""
        return self.example.pair.target if self.example.known else None


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Everything one task painted.

    Attributes:
        task: name of the task.
        summary: what the task does.
        steps: Euler steps.
        seconds: that one picture took.
        pictures: one for each example.
    """

    task: str
    summary: str
    steps: int
    seconds: float
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the demonstration of one task stands.

    Attributes:
        done: backbone calls made.
        total: of this task.
        gallery: at the end.
    """

    done: int
    total: int
    gallery: Gallery | None = None


def demonstrating(
    painter: Painter, given: Sequence[Example], *, steps: int | None = None, seed: int = 0
) -> Iterator[Progress]:
    """Paint one task on every example; yield after every call of the backbone, at last with the gallery.

    Args:
        painter: of the task.
        given: examples of the painter's size.
        steps: Euler steps.
        seed: of the first picture's noise; the next one's is one more.
    """
    began, painted = perf_counter(), list[Panel]()
    done = total = painter.calls(len(given), steps=steps)
    for stage in painter.painting([example.pair for example in given], steps=steps, seed=seed):
        painted += stage.panels
        yield Progress(done=stage.done, total=total)
    gallery = Gallery(
        task=painter.task.name,
        summary=painter.task.summary,
        steps=painter.calls(1, steps=steps),
        seconds=(perf_counter() - began) / max(1, len(given)),
        pictures=tuple(_picture(painter, example, panel) for example, panel in zip(given, painted, strict=True)),
    )
    yield Progress(done=done, total=total, gallery=gallery)


def _picture(painter: Painter, example: Example, painted: Panel) -> Picture:
    """Score one painted panel, if the truth is known."""
    metric, decode = painter.task.metrics[0], painter.task.decode
    return Picture(
        task=painter.task.name,
        example=example,
        painted=painted,
        metric=metric.__name__,
        score=metric(decode(painted), decode(example.pair.target)) if example.known else float("nan"),
    )
