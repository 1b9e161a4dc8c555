"""From painted panels to the rows of a report."""

from collections.abc import Callable, Sequence
from math import nan

from torch import Tensor

from anyrefill import metrics
from anyrefill.errors import UserError
from anyrefill.evaluate.report import Row, Score
from anyrefill.judges import EXTRACTORS, Judge
from anyrefill.metrics import Distance, Metric
from anyrefill.pairs import Pair
from anyrefill.tasks import Task
from anyrefill.types import Panel

__all__ = ["extracts", "parts_of", "row", "score", "truth"]

FEWEST = 3
"""Pictures that a distance of two sets takes."""


def row(name: str, panels: Sequence[Panel], pairs: Sequence[Pair], task: Task, *, extract: bool = True) -> Row:
    """Score one way to answer by everything that the task is scored by.

    Args:
        name: of the row.
        panels: the answers, one for each pair.
        pairs: with the truth.
        task: whose scores.
        extract: whether to look for the condition in the answers by a network, too, which is slow.
    """
    decoded = [(task.decode(panel), task.decode(pair.target)) for panel, pair in zip(panels, pairs, strict=True)]
    judges = [
        judged(judge, panels, pairs) if extract or judge not in EXTRACTORS else _none(judge) for judge in task.judges
    ]
    return Row(
        name=name,
        scores=(
            *(score(metric, decoded) for metric in task.metrics),
            *judges,
            *(apart(distance, panels, pairs) for distance in task.distances),
        ),
    )


def truth(pairs: Sequence[Pair], task: Task) -> Row:
    """Return what a network finds in the true targets, for judges that ask one: as much as it can tell at all."""
    targets = [pair.target for pair in pairs]
    judges = [judged(judge, targets, pairs) if judge in EXTRACTORS else _none(judge) for judge in task.judges]
    return Row(name="the true target", scores=(*map(_none, task.metrics), *judges, *map(_none, task.distances)))


def extracts(task: Task) -> bool:
    """Return whether a task is judged by what a network finds in the painted photograph."""
    return any(judge in EXTRACTORS for judge in task.judges)


def parts_of(whole: Row, pairs: Sequence[Pair], key: str) -> list[Row]:
    """Return a row's scores again for each value that the pairs' extra has under a key; nothing without a key."""
    kinds = [str(pair.extra.get(key, "unknown")) for pair in pairs] if key else []
    found = sorted(set(kinds), key=lambda kind: (len(kind), kind))
    return [
        Row(name=f"{whole.name}, {key} {kind}", scores=tuple(_part(one, kinds, kind) for one in whole.scores))
        for kind in found
    ]


def score(metric: Metric, decoded: Sequence[tuple[Tensor, Tensor]]) -> Score:
    """Score answers by one metric, or say why it cannot be computed here."""
    return _scored(metric, lambda: [metric(answer, truth) for answer, truth in decoded])


def judged(judge: Judge, panels: Sequence[Panel], pairs: Sequence[Pair]) -> Score:
    """Score answers by one judge, or say why it cannot judge here."""
    return _scored(judge, lambda: [judge(panel, pair) for panel, pair in zip(panels, pairs, strict=True)])


def apart(distance: Distance, panels: Sequence[Panel], pairs: Sequence[Pair]) -> Score:
    """Measure how far answers are from the true targets as a set, or say why that cannot be done here."""
    name, aim = distance.__name__, metrics.aim(distance)
    if len(panels) < FEWEST:
        return Score(metric=name, aim=aim, note=f"{name} compares sets of {FEWEST} pictures or more.")
    try:
        spread = distance(panels, [pair.target for pair in pairs])
    except UserError as error:
        return Score(metric=name, aim=aim, note=str(error))
    return Score(metric=name, aim=aim, mean=spread.mean, low=spread.low, high=spread.high)


def _scored(rule: Callable[..., float], values: Callable[[], list[float]]) -> Score:
    """Return a rule's score of every picture, or its complaint."""
    try:
        return Score.of(rule.__name__, metrics.aim(rule), values())
    except UserError as error:
        return Score(metric=rule.__name__, aim=metrics.aim(rule), note=str(error))


def _none(rule: Callable[..., object]) -> Score:
    """Return no score."""
    return Score(metric=rule.__name__, aim=metrics.aim(rule))


def _part(whole: Score, kinds: Sequence[str], kind: str) -> Score:
    """Return the score of the pictures of one kind; a distance of sets is not taken apart."""
    values = [value for value, one in zip(whole.values, kinds, strict=True) if one == kind] if whole.values else []
    if not values:
        return Score(metric=whole.metric, aim=whole.aim, mean=nan)
    return Score.of(whole.metric, whole.aim, values)
