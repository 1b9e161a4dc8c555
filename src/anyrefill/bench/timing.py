"""Timing that a busy machine cannot twist far: all runs in one process, warm, in turns, medians with their spread."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Run", "Timing", "interleaved"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Something to be timed.

    Attributes:
        name: of it.
        call: does it once.
    """

    name: str
    call: Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long a run took, in seconds of this process's CPU time and by the clock.

    Attributes:
        name: of the run.
        cpu: median of the CPU time.
        low: its first quartile.
        high: its third quartile.
        wall: median by the clock.
    """

    name: str
    cpu: float
    low: float
    high: float
    wall: float


def interleaved(runs: Sequence[Run], rounds: int) -> list[Timing]:
    """Time runs in turns, A B A B, after one round that does not count."""
    taken: list[list[tuple[float, float]]] = [[] for _ in runs]
    for number in range(rounds + 1):
        for run, times in zip(runs, taken, strict=True):
            cpu, wall = time.process_time(), time.perf_counter()
            run.call()
            if number:
                times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return [_timing(run.name, times) for run, times in zip(runs, taken, strict=True)]


def _timing(name: str, times: list[tuple[float, float]]) -> Timing:
    """Summarise the rounds of one run."""
    cpu = [time for time, _ in times]
    low, _, high = statistics.quantiles(cpu, n=4, method="inclusive") if len(cpu) > 1 else (cpu[0],) * 3
    wall = statistics.median(time for _, time in times)
    return Timing(name=name, cpu=statistics.median(cpu), low=low, high=high, wall=wall)
