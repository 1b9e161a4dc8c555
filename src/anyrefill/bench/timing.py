"""Timing that a busy machine cannot twist far: all runs in one process, warm, in turns, medians with their spread."""

import statistics
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

__all__ = ["Run", "Timing", "interleaved", "on_threads"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Something to be timed.

    Attributes:
        name: of it.
        call: does it once.
        parts: how many equal things it does; times are of one.
    """

    name: str
    call: Callable[[], object]
    parts: int = 1


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long a run took, in seconds of this process's CPU time and by the clock.

    Attributes:
        name: of the run.
        cpu: median of the CPU time.
        low: its first quartile.
        high: its third quartile.
        wall: median by the clock.
        wall_low: its first quartile.
        wall_high: its third quartile.
    """

    name: str
    cpu: float
    low: float
    high: float
    wall: float
    wall_low: float
    wall_high: float


def interleaved(runs: Sequence[Run], rounds: int) -> list[Timing]:
    """Time runs in turns, A B A B, after one round that does not count."""
    taken: list[list[tuple[float, float]]] = [[] for _ in runs]
    for number in range(rounds + 1):
        for run, times in zip(runs, taken, strict=True):
            cpu, wall = time.process_time(), time.perf_counter()
            run.call()
            if number:
                spent = time.process_time() - cpu, time.perf_counter() - wall
                times.append((spent[0] / run.parts, spent[1] / run.parts))
    return [_timing(run.name, times) for run, times in zip(runs, taken, strict=True)]


@contextmanager
def on_threads(count: int) -> Generator[None, None, None]:
    """Let torch compute on that many threads, and afterwards on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _timing(name: str, times: list[tuple[float, float]]) -> Timing:
    """Summarise the rounds of one run."""
    (low, cpu, high), (wall_low, wall, wall_high) = map(_quartiles, zip(*times, strict=True))
    return Timing(name=name, cpu=cpu, low=low, high=high, wall=wall, wall_low=wall_low, wall_high=wall_high)


def _quartiles(times: Sequence[float]) -> tuple[float, float, float]:
    """Return the first quartile, the median and the third quartile."""
    if len(times) == 1:
        return times[0], times[0], times[0]
    low, middle, high = statistics.quantiles(times, n=4, method="inclusive")
    return low, middle, high
