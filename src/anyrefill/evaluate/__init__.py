"""Evaluation: a painter's scores on pairs that no training saw, beside what needs no model to reach."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Unpack

import torch

from anyrefill.backbone.precision import dtype_name
from anyrefill.errors import UserError
from anyrefill.evaluate.baselines import copied, flat, shuffled, without_reference
from anyrefill.evaluate.goals import IN_FULL, PAINTED, RAW
from anyrefill.evaluate.report import Report, Row, Score
from anyrefill.evaluate.scoring import Rule, group_of, is_extractor, parts_of, rules, score, scoring, unscored
from anyrefill.painter import STEPS, Asked, Painter
from anyrefill.pairs import Pair, PairFolder
from anyrefill.tasks import Specialist, Task, as_painted
from anyrefill.types import Panel, Size

__all__ = [
    "Progress",
    "Report",
    "Row",
    "Score",
    "evaluate",
    "evaluating",
    "finished",
    "group_of",
    "held_out_pairs",
    "heldout",
    "refuse_missing",
    "score",
]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where an evaluation stands.

    Attributes:
        done: backbone calls made, then scores found.
        total: of what is being done.
        doing: what that is.
        report: what was found, at the very end.
        painted: what the painter made of each pair, at the very end.
    """

    done: int
    total: int
    doing: str = "painting"
    report: Report | None = None
    painted: tuple[Panel, ...] = ()


def evaluate(
    painter: Painter,
    pairs: Sequence[Pair],
    *,
    bare: Painter | None = None,
    baselines: bool = True,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    batch_size: int = 16,
) -> Report:
    """Return the scores of a painter on its task, and those of baselines; ``evaluating`` tells of the progress too.

    Args:
        painter: to be judged by the metrics of its task.
        pairs: that its training did not see, fitted to its size.
        bare: the same backbone without the adapter; by default the painter's own, for as long as it takes.
        baselines: whether to paint in 20 steps as well, where the adapter asks for fewer, from another pair's
            reference, which shows what the reference is worth, from none, where a part of the target is known, and
            without the adapter; and to ask the task's specialist, where it has one.
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
    return finished(run)[0]


def finished(run: Iterable[Progress]) -> tuple[Report, tuple[Panel, ...]]:
    """Run an evaluation to its end, and return its report and what the painter made of each pair."""
    *_, last = run
    if last.report is None:
        raise RuntimeError("an evaluation ends with its report")
    return last.report, last.painted


def evaluating(
    painter: Painter,
    pairs: Sequence[Pair],
    *,
    bare: Painter | None = None,
    baselines: bool = True,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    batch_size: int = 16,
) -> Iterator[Progress]:
    """Yield after every call of the backbone, then after every score of every row, at last with the report.

    Arguments and errors are those of ``evaluate``.
    """
    if not pairs:
        raise UserError(f"There is no pair to evaluate {painter.task.name} on.")
    _refuse_unfit(painter.task, pairs)
    runs = _runs(painter, pairs, bare, baselines, steps)
    total = sum(run.painter.calls(len(run.pairs), steps=run.asked.get("steps"), batch_size=batch_size) for run in runs)
    done, seconds, answers = 0, 0.0, dict[str, list[Panel]]()
    for run in runs:
        began, answers[run.name] = perf_counter(), []
        with run.held:
            asked: Asked = {"guidance": guidance, **run.asked}
            for stage in run.painter.painting(run.pairs, seed=seed, batch_size=batch_size, **asked):
                done += 1
                answers[run.name] += stage.panels
                if run.name == PAINTED and run.painter.finish is not as_painted:
                    answers.setdefault(RAW, []).extend(stage.raw)
                yield Progress(done=done, total=total)
        seconds = seconds or perf_counter() - began
    ways = list(_ways(answers, pairs, painter.task))
    if baselines and painter.task.specialist is not None:
        ways.append((yield from _asked(painter.task.specialist, pairs)))
    total = len(ways) * len(rules(painter.task))
    rows = yield from _scored(ways, pairs, painter.task, total)
    dtype: torch.dtype | None = getattr(painter.backbone, "dtype", None)
    report = Report(
        task=painter.task.name,
        count=len(pairs),
        steps=painter.calls(1, steps=steps),
        guidance=painter.guidance if guidance is None else guidance,
        seed=seed,
        seconds=seconds / len(pairs),
        temperature=painter.temperature,
        mirrored=painter.averages,
        reference_guidance=painter.reference_guidance,
        caption_guidance=painter.caption_guidance,
        rows=rows,
        dtype="" if dtype is None else dtype_name(dtype),
    )
    report = report.grouped([group_of(pair, place) for place, pair in enumerate(pairs)])
    yield Progress(done=total, total=total, doing=SCORING, report=report, painted=tuple(answers[PAINTED]))


def _refuse_unfit(task: Task, pairs: Sequence[Pair]) -> None:
    """Refuse pairs without the caption or the mask that the task needs, before any of them is painted."""
    for number, pair in enumerate(pairs, start=1):
        try:
            task.fill_prompt(pair.caption)
            task.mask(pair)
        except UserError as error:
            raise UserError(f"Pair {number} of {len(pairs)} cannot be evaluated: {error}") from error


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
    if folder is None:
        refuse_missing(task.name)
    rows = PairFolder(folder or heldout(task.name), size)
    return list(rows[:limit])


def refuse_missing(task: str) -> None:
    """Refuse a task without a folder of held-out pairs."""
    if not heldout(task).is_dir():
        made = "`python -m recipes.heldout` makes ours (docs/data.md tells what that needs)"
        instead = "" if task.startswith("backbone-") else "give a folder of pairs; "  # the backbone takes none
        raise UserError(f"There are no held-out pairs of {task} in {heldout(task)}: {instead}{made}.")


SCORING = "scoring"
"""What is done after painting."""

UNGUIDED, UNMIRRORED = "without reference guidance", "without the mirror image"
AT_ONCE = "all adapters at once"

_MODEL_FREE: dict[str, Callable[[Pair, Task], Panel]] = {"copy of the reference": copied, "its mean colour": flat}
"""The baselines that need no backbone."""


@dataclass(frozen=True, kw_only=True)
class _Run:
    """Something to be painted.

    Attributes:
        name: what the table calls it.
        painter: who paints.
        pairs: what.
        asked: how.
        held: what must be so meanwhile.
    """

    name: str
    painter: Painter
    pairs: Sequence[Pair]
    asked: Asked
    held: AbstractContextManager[object]


def _runs(
    painter: Painter, pairs: Sequence[Pair], bare: Painter | None, baselines: bool, steps: int | None
) -> list[_Run]:
    """Return what is to be painted."""

    def run(name: str, given: Sequence[Pair], who: Painter = painter, **asked: Unpack[Asked]) -> _Run:
        return _Run(name=name, painter=who, pairs=given, asked={"steps": steps, **asked}, held=nullcontext())

    runs = [run(PAINTED, pairs)]
    if baselines:
        runs += _other_ways(painter, run, pairs, steps)
    if bare is not None:
        runs.append(run(BARE, pairs, bare))
    elif baselines and painter.cast is not None:
        runs.append(run(BARE, pairs, replace(painter, turns=(), cast=painter.cast.resting())))
    elif baselines and painter.merged is not None:
        runs.append(replace(run(BARE, pairs), held=painter.merged.undone()))
    return runs


def _other_ways(painter: Painter, run: Callable[..., _Run], pairs: Sequence[Pair], steps: int | None) -> Iterator[_Run]:
    """Yield what the same adapters are to paint in other ways."""
    asked = painter.passport.steps_paint if painter.passport else None
    if (painter.steps if steps is None else steps) == asked != STEPS:
        yield run(IN_FULL, pairs, steps=STEPS, temperature=1.0)
    if painter.reference_guidance != 1:
        yield run(UNGUIDED, pairs, reference_guidance=1.0)
    if painter.averages:
        yield run(UNMIRRORED, pairs, mirrored=False)
    if painter.turns:
        yield run(AT_ONCE, pairs, replace(painter, turns=()))
    if len(pairs) > 1:
        yield run("from another reference", shuffled(pairs))
    if not all(bool(painter.task.mask(pair).all()) for pair in pairs):
        yield run("without a reference", without_reference(pairs))


BARE = "without the adapter"


@dataclass(frozen=True, kw_only=True)
class _Way:
    """One way to answer, to be scored.

    Attributes:
        name: what the table calls it.
        panels: the answers.
        asks: which rules it is scored by.
        note: why there are no answers.
    """

    name: str
    panels: Sequence[Panel]
    asks: Callable[[Rule], bool] = lambda _: True
    note: str = ""


def _asked(specialist: Specialist, pairs: Sequence[Pair]) -> Generator[Progress, None, _Way]:
    """Yield after every answer of a specialist; return all of them, or why it cannot be asked here."""
    name, panels = f"a network made for it, {specialist.__name__}", list[Panel]()
    try:
        for pair in pairs:
            panels.append(specialist(pair.reference))
            yield Progress(done=len(panels), total=len(pairs), doing=f"asking {specialist.__name__}")
    except UserError as error:
        return _Way(name=name, panels=(), note=str(error))
    return _Way(name=name, panels=panels)


def _scored(
    ways: Sequence[_Way], pairs: Sequence[Pair], task: Task, total: int
) -> Generator[Progress, None, tuple[Row, ...]]:
    """Yield after every score; return the rows of all ways, and kinds of pairs apart."""
    done, rows = 0, list[Row]()
    for way in ways:
        found: list[Score] = []
        for one in unscored(task, way.note) if way.note else scoring(way.panels, pairs, task, way.asks):
            found.append(one)
            done += 1
            yield Progress(done=done, total=total, doing=SCORING)
        rows.append(Row(name=way.name, scores=tuple(found)))
    kinds = [whole for whole in rows if whole.name in (PAINTED, "copy of the reference")]
    return (*rows, *(part for whole in kinds for part in parts_of(whole, pairs, task.split_by)))


def _ways(answers: dict[str, list[Panel]], pairs: Sequence[Pair], task: Task) -> Iterator[_Way]:
    """Yield what was painted, what needs no model, and the truth where a task asks networks, for what they can tell."""
    for name, panels in answers.items():
        yield _Way(name=name, panels=panels)
    for name, answer in _MODEL_FREE.items():
        panels = [answer(pair, task) for pair in pairs]
        yield _Way(name=name, panels=panels, asks=lambda rule: not is_extractor(rule))
    if any(map(is_extractor, rules(task))):
        yield _Way(name="the true target", panels=[pair.target for pair in pairs], asks=is_extractor)
