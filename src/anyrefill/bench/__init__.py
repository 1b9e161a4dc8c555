"""How fast painting is: beside plain diffusers on the same weights and noise, in one process."""

from collections.abc import Iterator, Sequence
from functools import cache
from types import MappingProxyType
from typing import Literal, get_args

from anyrefill.backbone import ATTENTIONS
from anyrefill.backbone.placement import Placement, held_bytes
from anyrefill.backbone.precision import multiplies_bfloat16
from anyrefill.bench import flops
from anyrefill.bench.goals import COUNT_TABLE, TRAINING_TABLE, WEIGHT_TABLE, goals
from anyrefill.bench.pictures import company, parity, pictures
from anyrefill.bench.plot import plot
from anyrefill.bench.rows import Row
from anyrefill.bench.scene import Scene
from anyrefill.bench.solvers import solvers
from anyrefill.bench.steps import steps

__all__ = ["TABLES", "Row", "Table", "bench", "plot"]

Table = Literal["flops", "step", "picture", "same", "solver"]
"""Counts at full size; one step; a whole picture; its latents beside diffusers' and in company; the solvers' distances.
"""

TABLES: tuple[Table, ...] = get_args(Table)

PLACEMENTS = MappingProxyType(
    {
        "bf16": Placement(),
        "fp8": Placement(weights="fp8"),
        "int8": Placement(weights="int8"),
        "bf16, offloaded": Placement(offload="all"),
    }
)


def bench(tables: Sequence[Table] = TABLES, *, task: str = "deblur", rounds: int = 5, batch: int = 16) -> Iterator[Row]:
    """Yield the rows of the tables as they are done, then a row for every goal that they tell about.

    Args:
        tables: which.
        task: whose adapter of the embedded backbone paints.
        rounds: how often each run is timed.
        batch: the larger of the two batches.

    bfloat16 is timed where the processor multiplies it; elsewhere it would take 70 times as long as float32.
    """
    done: list[Row] = []
    for row in _measured(tables, task, rounds, batch):
        done.append(row)
        yield row
    yield from goals(done, (1, batch))


def _measured(tables: Sequence[Table], task: str, rounds: int, batch: int) -> Iterator[Row]:
    """Yield the rows of the tables; the base is loaded once in each type that is asked for."""

    @cache
    def scene(dtype: str) -> Scene:
        return Scene.of(task, dtype, batch)

    scenes = ("float32", "bfloat16") if multiplies_bfloat16() else ("float32",)

    if "flops" in tables:
        yield from _counts()
    if "same" in tables:
        yield parity(scene("float32"))
        yield company(scene("float32"))
    if "step" in tables:
        for count in dict.fromkeys((1, batch)):
            yield from steps([scene(dtype).first(count) for dtype in scenes], rounds)
    if "picture" in tables:
        yield from pictures([scene(dtype).first(1) for dtype in scenes], rounds)
    if "solver" in tables:
        yield from solvers(scene("float32").first(2))


def _counts() -> Iterator[Row]:
    """Yield what FLUX.1-Fill costs at full size."""
    tera, giga, model = 1e12, 1e9, flops.flux_fill()
    for table, costs in ((COUNT_TABLE, flops.painting()), (TRAINING_TABLE, flops.training())):
        for cost in costs:
            yield Row(table=table, name=cost.name, value=cost.step / tera, unit="TFLOP", gain=cost.gain)
    for attention in ATTENTIONS:
        held = held_bytes(model, Placement(offload="idle"), attention) / giga
        yield Row(table=WEIGHT_TABLE, name=f"read by a {attention} step, bf16", value=held, unit="GB")
    for name, placement in PLACEMENTS.items():
        held = held_bytes(model, placement) / giga
        yield Row(table=WEIGHT_TABLE, name=f"on the device, {name}", value=held, unit="GB")
