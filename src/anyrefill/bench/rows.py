"""A line of the benchmark's tables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from anyrefill.bench.timing import Timing

__all__ = ["PLAIN", "PLAIN_BF16", "Row", "Work", "by_clock", "rows_of"]

PLAIN, PLAIN_BF16 = "plain float32", "plain bfloat16"
"""The anchors: diffusers, its adapter unmerged."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """How much was to be done in what was timed.

    Attributes:
        tokens: of the canvas.
        gflop: counted operations, in 10^9; a multiply-add counts as two.
        of_limit: share of this machine's own rate that was reached.
        times: how many times as long as the first row of its kind.
        gflop_times: how many times its operations.
    """

    tokens: int
    gflop: float
    of_limit: float
    times: float
    gflop_times: float


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
        wall: median by the clock, in the same unit, where the value is CPU time.
        gain: how many times less than plain diffusers in float32.
        gain_bf16: how many times less than plain diffusers in bfloat16.
        goal: in words, for a line of the goals.
        met: whether it is.
        work: that was done, where it grows from row to row.
    """

    table: str
    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    wall: float | None = None
    gain: float | None = None
    gain_bf16: float | None = None
    goal: str = ""
    met: bool | None = None
    work: Work | None = None


def by_clock(table: str, timings: Sequence[Timing]) -> list[Row]:
    """Return the rows of runs timed by the clock, in seconds; the plain ones are the anchors."""
    clocked = [replace(timing, cpu=timing.wall, low=timing.wall_low, high=timing.wall_high) for timing in timings]
    return [replace(row, wall=None) for row in rows_of(table, clocked, 1.0, "s")]


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
            wall=scale * timing.wall,
            gain=plain / timing.cpu,
            gain_bf16=None if coarse is None else coarse / timing.cpu,
        )
        for timing in timings
    ]
