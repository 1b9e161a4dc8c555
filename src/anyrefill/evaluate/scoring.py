"""From painted panels to the rows of a report."""

import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
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

__all__ = ["GROUPS", "group_of", "is_extractor", "judged", "parts_of", "rules", "score", "scoring", "unscored"]

Rule = Callable[..., object]
"""A metric, a judge or a distance."""

FEWEST = 3
"""Pictures that a distance of two sets takes."""

GROUPS = ("group", "person", "room", "stage", "photograph")
"""Keys of a line of `metadata.jsonl` by which pairs belong together; of several the first counts. `group` is for any
folder, the others stand in those of recipes.heldout (docs/guides/evaluate.md)."""


def scoring(
    panels: Sequence[Panel], pairs: Sequence[Pair], task: Task, asks: Callable[[Rule], bool] = lambda _: True
) -> Iterator[Score]:
    """Yield one way's score by every rule of the task, in the order of `rules`, each when it is found.

    Args:
        panels: the answers, one for each pair.
        pairs: with the truth.
        task: whose scores.
        asks: which rules to score by; the score of the others is empty.
    """
    decoded = [(task.decode(panel), task.decode(pair.target)) for panel, pair in zip(panels, pairs, strict=True)]
    for metric in task.metrics:
        yield score(metric, decoded) if asks(metric) else _none(metric)
    for judge in task.judges:
        yield judged(judge, panels, pairs) if asks(judge) else _none(judge)
    for distance in task.distances:
        yield apart(distance, panels, pairs) if asks(distance) else _none(distance)


def unscored(task: Task, note: str) -> Iterator[Score]:
    """Yield an empty score by every rule of the task, which says why."""
    return (replace(_none(rule), note=note) for rule in rules(task))


def rules(task: Task) -> tuple[Rule, ...]:
    """Return everything that a task is scored by: a score of each makes a row."""
    return (*task.metrics, *task.judges, *task.distances)


def is_extractor(rule: Rule) -> bool:
    """Return whether a rule looks for the condition in the answer by a network, which is slow."""
    return rule in EXTRACTORS


def parts_of(whole: Row, pairs: Sequence[Pair], key: str) -> list[Row]:
    """Return a row's scores again for each value that the pairs' extra has under a key; nothing without a key."""
    kinds = [str(pair.extra.get(key, "unknown")) for pair in pairs] if key else []
    groups = [group_of(pair, place) for place, pair in enumerate(pairs)]
    found = sorted(set(kinds), key=lambda kind: (len(kind), kind))
    return [
        Row(name=f"{whole.name}, {key} {kind}", scores=tuple(_part(one, kinds, kind, groups) for one in whole.scores))
        for kind in found
    ]


def group_of(pair: Pair, place: int) -> tuple[str, object]:
    """Return the group that a pair belongs to, as the first of `GROUPS` in its extra tells, else its own place."""
    told = {key: json.dumps(pair.extra[key], sort_keys=True) for key in GROUPS if pair.extra.get(key) not in (None, "")}
    return next(iter(told.items()), ("pair", place))


def score(metric: Metric, decoded: Sequence[tuple[Tensor, Tensor]]) -> Score:
    """Score answers by one metric, or say why it cannot be computed here; NumPy's and torch's numbers become plain."""
    return _scored(metric, lambda: [float(metric(answer, truth)) for answer, truth in decoded])


def judged(judge: Judge, panels: Sequence[Panel], pairs: Sequence[Pair]) -> Score:
    """Score answers by one judge, or say why it cannot judge here."""
    return _scored(judge, lambda: [float(judge(panel, pair)) for panel, pair in zip(panels, pairs, strict=True)])


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


def _none(rule: Rule) -> Score:
    """Return no score."""
    return Score(metric=rule.__name__, aim=metrics.aim(rule))


def _part(whole: Score, kinds: Sequence[str], kind: str, groups: Sequence[Hashable]) -> Score:
    """Return the score of the pictures of one kind; a distance of sets is not taken apart."""
    places = [place for place, one in enumerate(kinds) if one == kind] if whole.values else []
    if not places:
        return Score(metric=whole.metric, aim=whole.aim, mean=nan)
    part = Score.of(whole.metric, whole.aim, [whole.values[place] for place in places])
    return part.over([groups[place] for place in places])
