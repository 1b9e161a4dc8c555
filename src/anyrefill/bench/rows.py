"""A line of the benchmark's tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from anyrefill.bench.timing import Timing

__all__ = ["PLAIN", "PLAIN_BF16", "Row", "rows_of"]

PLAIN, PLAIN_BF16 = "plain float32", "plain bfloat16"
"""The anchors: diffusers, its adapter unmerged."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line.

    Attributes:
        table: it stands in.
        name: of what was measured.
        value: the median, or the count.
        unit: of the value.
        low: first quartile of what was timed.
        high: third quartile of what was timed.
        gain: how many times less than plain diffusers in float32.
        gain_bf16: how many times less than plain diffusers in bfloat16.
        goal: in words, for a line of the goals.
        met: whether it is.
    """

    table: str
    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    gain: float | None = None
    gain_bf16: float | None = None
    goal: str = ""
    met: bool | None = None


def rows_of(table: str, timings: Sequence[Timing], scale: float, unit: str) -> list[Row]:
    """Return the rows of timed runs; the plain ones are the anchors, and scale turns seconds into the unit."""
    plain = next(timing.cpu for timing in timings if timing.name == PLAIN)
    coarse = next((timing.cpu for timing in timings if timing.name == PLAIN_BF16), None)
    return [
        Row(
            table=table,
            name=timing.name,
            value=scale * timing.cpu,
            unit=unit,
            low=scale * timing.low,
            high=scale * timing.high,
            gain=plain / timing.cpu,
            gain_bf16=None if coarse is None else coarse / timing.cpu,
        )
        for timing in timings
    ]
