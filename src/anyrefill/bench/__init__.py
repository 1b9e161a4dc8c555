"""How fast painting is: beside plain diffusers on the same weights and noise, in one process."""

from collections.abc import Iterator, Sequence
from typing import Literal, get_args

from anyrefill.bench import flops
from anyrefill.bench.pictures import company, pictures
from anyrefill.bench.rows import Row
from anyrefill.bench.solvers import solvers
from anyrefill.bench.steps import steps

__all__ = ["TABLES", "Row", "Table", "bench"]

Table = Literal["flops", "step", "picture", "batch", "solver"]
"""Counts at full size; one step; a whole picture; a picture in company; the solvers' distances."""

TABLES: tuple[Table, ...] = get_args(Table)


def bench(tables: Sequence[Table] = TABLES, *, task: str = "deblur", rounds: int = 5, batch: int = 16) -> Iterator[Row]:
    """Yield the rows of the tables as they are done.

    Args:
        tables: which.
        task: whose adapter of the embedded backbone paints.
        rounds: how often each run is timed.
        batch: the larger of the two batches.
    """
    if "flops" in tables:
        yield from _counts()
    if "step" in tables:
        yield from steps(task, 1, rounds)
        yield from steps(task, batch, rounds)
    if "picture" in tables:
        yield from pictures(task, 50, 20, rounds)
    if "batch" in tables:
        yield company(task, batch)
    if "solver" in tables:
        yield from solvers(task)


def _counts() -> Iterator[Row]:
    """Yield what FLUX.1-Fill costs at full size."""
    tera = 1e12
    for table, costs in (
        ("FLUX.1-Fill, a step of painting, counted", flops.painting()),
        ("FLUX.1-Fill, a noisy sample of training, counted", flops.training()),
    ):
        for cost in costs:
            yield Row(table=table, name=cost.name, value=cost.step / tera, unit="TFLOP", gain=cost.gain)
    size = flops.decoding_bytes(flops.flux_fill()) / 1e9
    yield Row(table="FLUX.1-Fill, weights, counted", name="read by a clean_ref_text step, bf16", value=size, unit="GB")
