"""Evaluation: a painter's scores on pairs that no training saw, beside what needs no model to reach."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from torch import Tensor

from anyrefill import metrics
from anyrefill.errors import UserError
from anyrefill.evaluate.baselines import copied, flat, shuffled
from anyrefill.evaluate.report import Report, Row, Score
from anyrefill.metrics import Metric
from anyrefill.painter import Painter
from anyrefill.pairs import Pair, PairFolder
from anyrefill.tasks import Task
from anyrefill.types import Panel, Size

__all__ = ["Progress", "Report", "Row", "Score", "evaluate", "evaluating", "held_out_pairs", "heldout", "score"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where an evaluation stands.

    Attributes:
        done: backbone calls made.
        total: of the whole evaluation.
        report: what was found, at the very end.
    """

    done: int
    total: int
    report: Report | None = None


def evaluate(
    painter: Painter,
    pairs: Sequence[Pair],
    *,
    bare: Painter | None = None,
    baselines: bool = True,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    batch_size: int = 8,
) -> Report:
    """Return the scores of a painter on its task, and those of baselines; ``evaluating`` tells of the progress too.

    Args:
        painter: to be judged by the metrics of its task.
        pairs: that its training did not see, fitted to its size.
        bare: the same backbone without the adapter.
        baselines: whether to paint from another pair's reference as well, which shows what the reference is worth.
        steps: Euler steps.
        guidance: distilled guidance strength.
        seed: of the first pair's noise; the next pair's is one more, and so on.
        batch_size: canvases that go through the backbone together.

    Raises:
        UserError: there is no pair, or one does not fit the task.
    """
    run = evaluating(
        painter, pairs, bare=bare, baselines=baselines, steps=steps, guidance=guidance, seed=seed, batch_size=batch_size
    )
    *_, last = run
    if last.report is None:
        raise RuntimeError("an evaluation ends with its report")
    return last.report


def evaluating(
    painter: Painter,
    pairs: Sequence[Pair],
    *,
    bare: Painter | None = None,
    baselines: bool = True,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    batch_size: int = 8,
) -> Iterator[Progress]:
    """Yield after every call of the backbone, at last with the report.

    Arguments and errors are those of ``evaluate``.
    """
    if not pairs:
        raise UserError(f"There is no pair to evaluate {painter.task.name} on.")
    runs = _runs(painter, pairs, bare, baselines)
    total = sum(one.calls(len(given), steps=steps, batch_size=batch_size) for _, one, given in runs)
    done, seconds, answers = 0, 0.0, dict[str, list[Panel]]()
    for name, one, given in runs:
        began, answers[name] = perf_counter(), []
        for stage in one.painting(given, steps=steps, guidance=guidance, seed=seed, batch_size=batch_size):
            done += 1
            answers[name] += stage.panels
            yield Progress(done=done, total=total)
        seconds = seconds or perf_counter() - began
    for name, answer in _MODEL_FREE.items():
        answers[name] = [answer(pair, painter.task) for pair in pairs]
    report = Report(
        task=painter.task.name,
        count=len(pairs),
        steps=painter.steps if steps is None else steps,
        guidance=painter.guidance if guidance is None else guidance,
        seed=seed,
        seconds=seconds / len(pairs),
        rows=tuple(_row(name, panels, pairs, painter.task) for name, panels in answers.items()),
    )
    yield Progress(done=done, total=total, report=report)


def heldout(task: str) -> Path:
    """Return the folder where held-out pairs of a task are looked for."""
    return Path.home() / ".cache" / "anyrefill" / "heldout" / task


def held_out_pairs(task: Task, size: Size, folder: Path | None = None, limit: int | None = None) -> list[Pair]:
    """Read the pairs to evaluate a task on.

    Args:
        task: whose pairs.
        size: (height, width) to fit panels to.
        folder: of pairs; by default ``heldout``.
        limit: how many to read at most.

    Raises:
        UserError: there is no such folder, a pair of it cannot be read, or the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"An evaluation takes at least 1 pair, not {limit}.")
    if folder is None and not heldout(task.name).is_dir():
        raise UserError(
            f"There are no held-out pairs of {task.name} in {heldout(task.name)}: "
            "make them with `python -m recipes.heldout`, or give a folder of pairs."
        )
    rows = PairFolder(folder or heldout(task.name), size)
    return [rows[index] for index in range(min(len(rows), limit or len(rows)))]


_MODEL_FREE: dict[str, Callable[[Pair, Task], Panel]] = {"copy of the reference": copied, "its mean colour": flat}
"""The baselines that need no backbone."""


def _runs(
    painter: Painter, pairs: Sequence[Pair], bare: Painter | None, baselines: bool
) -> list[tuple[str, Painter, Sequence[Pair]]]:
    """Return what is to be painted, and what the table calls it."""
    runs = [("painted", painter, pairs)]
    if baselines and len(pairs) > 1:
        runs.append(("from another reference", painter, shuffled(pairs)))
    if bare is not None:
        runs.append(("without the adapter", bare, pairs))
    return runs


def _row(name: str, panels: Sequence[Panel], pairs: Sequence[Pair], task: Task) -> Row:
    """Score one way to answer."""
    decoded = [(task.decode(panel), task.decode(pair.target)) for panel, pair in zip(panels, pairs, strict=True)]
    return Row(name=name, scores=tuple(score(metric, decoded) for metric in task.metrics))


def score(metric: Metric, decoded: Sequence[tuple[Tensor, Tensor]]) -> Score:
    """Score answers by one metric, or say why it cannot be computed here."""
    try:
        values = [metric(answer, truth) for answer, truth in decoded]
    except UserError as error:
        return Score(metric=metric.__name__, aim=metrics.aim(metric), note=str(error))
    return Score.of(metric.__name__, metrics.aim(metric), values)
