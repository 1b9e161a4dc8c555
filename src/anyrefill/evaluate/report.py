"""What an evaluation found: scores, their means with confidence intervals, and a table of them."""

import json
import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Report", "Row", "Score", "interval", "read_reports", "table"]

FEW = 10
"""Below so many pairs or groups the bootstrap is too sure of itself: over five normal values it covers 85 %, not 95."""

ARROWS = {"higher": "↑", "lower": "↓", "one": "→ 1"}


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric over all pictures of a row.

    Attributes:
        metric: its name.
        aim: where it is best: higher, lower or one.
        values: of each picture, in the order of the pairs, nan where a picture cannot tell; empty if it cannot be
            computed here, or belongs to the set as a whole.
        mean: of the values, or the set's.
        low: lower end of the mean's 95 % confidence interval.
        high: upper end of it.
        note: why there are no values, or what they are of; stands below the table.
    """

    metric: str
    aim: str
    values: tuple[float, ...] = ()
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    note: str = ""

    @classmethod
    def of(cls, metric: str, aim: str, values: Sequence[float]) -> "Score":
        """Return a score with its mean and interval."""
        told = [value for value in values if not math.isnan(value)]
        if not told:
            return cls(metric=metric, aim=aim, values=tuple(values))
        low, high = interval(told)
        return cls(metric=metric, aim=aim, values=tuple(values), mean=sum(told) / len(told), low=low, high=high)

    def over(self, groups: Sequence[Hashable]) -> "Score":
        """Return the same with its interval over groups of pictures that are not independent of each other.

        Args:
            groups: which one each picture belongs to; nothing changes where all differ, or all are the same, or where
                the score is no mean over these pictures.
        """
        if len(self.values) != len(groups) or math.isnan(self.mean) or len(set(groups)) in (1, len(groups)):
            return self
        told = [(value, one) for value, one in zip(self.values, groups, strict=True) if not math.isnan(value)]
        low, high = interval([value for value, _ in told], groups=[one for _, one in told])
        return replace(self, low=low, high=high)

    @property
    def heading(self) -> str:
        """Return the metric's name, and which way is better."""
        return f"{self.metric} {ARROWS[self.aim]}"

    def __str__(self) -> str:
        """Return the mean and its interval as a table shows them."""
        if math.isnan(self.mean):
            return "-"
        digits = 1 if abs(self.mean) >= 10 else 3
        return f"{self.mean:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to answer: the painter, or a baseline.

    Attributes:
        name: what the table calls it.
        scores: one for each metric of the task.
    """

    name: str
    scores: tuple[Score, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything one evaluation found.

    Attributes:
        task: its name.
        count: of pairs.
        steps: Euler steps.
        guidance: distilled guidance strength.
        seed: of the first pair's noise.
        seconds: that painting one pair took, without the baselines.
        rows: the painter first, then the baselines.
        dtype: of the weights that painted.
        temperature: what the noise was multiplied by.
        reference_guidance: how much more than in training the reference counted.
        mirrored: whether paintings of mirror images were averaged in.
        caption_guidance: how much more than in training the prompt counted.
        shown: in how many groups the pairs are, over which intervals are drawn then, such as pairs of one person; 0
            where each pair stands for itself.
    """

    task: str
    count: int
    steps: int
    guidance: float
    seed: int
    seconds: float
    rows: tuple[Row, ...]
    dtype: str = ""
    temperature: float = 1.0
    reference_guidance: float = 1.0
    mirrored: bool = False
    caption_guidance: float = 1.0
    shown: int = 0

    def grouped(self, groups: Sequence[Hashable]) -> "Report":
        """Return the same with intervals over groups of pairs, see `Score.over`."""
        if len(set(groups)) in (1, len(groups)):
            return self
        rows = tuple(replace(row, scores=tuple(score.over(groups) for score in row.scores)) for row in self.rows)
        return replace(self, rows=rows, shown=len(set(groups)))

    def score(self, row: str, metric: str) -> Score:
        """Return one score of one row.

        Raises:
            KeyError: the report has no such row or metric.
        """
        for one in self.rows:
            for score in one.scores:
                if (one.name, score.metric) == (row, metric):
                    return score
        raise KeyError(f"{self.task} has no {metric} of {row!r}")

    def to_markdown(self) -> str:
        """Return a heading, a table of means with 95 % intervals, and notes."""
        noise = "" if self.temperature == 1 else f"temperature {self.temperature:g}, "
        noise += "mirror image averaged in, " if self.mirrored else ""
        heed = "" if self.reference_guidance == 1 else f"reference guidance {self.reference_guidance:g}, "
        heed += "" if self.caption_guidance == 1 else f"caption guidance {self.caption_guidance:g}, "
        shown = f" in {self.shown} groups" if self.shown else ""
        heading = (
            f"{self.task}: {self.count} pairs{shown}, {self.steps} steps, {noise}{heed}guidance {self.guidance:g}, "
            f"seed {self.seed}, {self.seconds:.2f} s a picture{f', {self.dtype}' if self.dtype else ''}"
        )
        head = ["", *(score.heading for score in self.rows[0].scores)]
        body = [[row.name, *map(str, row.scores)] for row in self.rows]
        notes = dict.fromkeys(score.note for row in self.rows for score in row.scores if score.note)
        for score in self.rows[0].scores:
            told = sum(not math.isnan(value) for value in score.values)
            if 0 < told < len(score.values):
                notes[f"{score.metric}: {told} of the {self.count} pairs can tell (row {self.rows[0].name})."] = None
        if (few := self.shown or self.count) < FEW:
            notes[f"Over so few ({few}) the true intervals are wider than these."] = None
        return "\n".join([heading, "", table([head, *body]), *notes])

    def to_json(self) -> str:
        """Return everything, each picture's scores too, to 7 figures; a score that is not finite is null."""
        return json.dumps(_finite(asdict(self)), allow_nan=False)


def read_reports(path: Path) -> list[Report]:
    """Read what ``anyrefill evaluate --json`` wrote; null becomes nan.

    Raises:
        OSError: there is no such file.
        ValueError: it is not JSON.
    """
    return [_report(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def _report(entry: dict[str, Any]) -> Report:
    rows = tuple(Row(name=row["name"], scores=tuple(map(_score, row["scores"]))) for row in entry["rows"])
    known = {field.name for field in fields(Report)} - {"rows"}
    return Report(**{name: value for name, value in entry.items() if name in known}, rows=rows)


def _score(entry: dict[str, Any]) -> Score:
    mean, low, high = (_number(entry[name]) for name in ("mean", "low", "high"))
    values = tuple(map(_number, entry["values"]))
    return Score(
        metric=entry["metric"], aim=entry["aim"], values=values, mean=mean, low=low, high=high, note=entry["note"]
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def interval(
    values: Sequence[float], resamples: int = 2000, level: float = 0.95, groups: Sequence[Hashable] = ()
) -> tuple[float, float]:
    """Return the confidence interval of the mean: the percentile bootstrap, always with the same draws.

    Values of one group, where there are any, are drawn together.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
    """
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        return math.nan, math.nan
    places = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    owner = np.array([places[group] for group in groups] if groups else range(len(array)))
    sums, counts = np.bincount(owner, array), np.bincount(owner)
    draws = np.random.default_rng(0).integers(0, len(sums), (resamples, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up in plain text too; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _finite(value: object) -> object:
    """Return the same data with None for what JSON has no number for."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
