"""How fast painting is: beside plain diffusers on the same weights and noise, in one process."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from types import MappingProxyType
from typing import Literal, get_args

from anyrefill.backbone import ATTENTIONS
from anyrefill.backbone.embedded import find_base
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.placement import Placement, held_bytes
from anyrefill.backbone.precision import multiplies_bfloat16
from anyrefill.bench import flops
from anyrefill.bench.goals import COUNT_TABLE, TRAINING_TABLE, WEIGHT_TABLE, goals
from anyrefill.bench.growth import growth
from anyrefill.bench.pictures import company, every_core, parity, pictures
from anyrefill.bench.plot import plot
from anyrefill.bench.rows import Row
from anyrefill.bench.scene import Scene
from anyrefill.bench.solvers import solvers
from anyrefill.bench.steps import steps
from anyrefill.bench.training import training_steps

__all__ = ["TABLES", "Row", "Table", "bench", "plot"]

Table = Literal["flops", "same", "step", "picture", "solver", "growth", "training"]
"""Counts at full size; latents beside diffusers' and in company; one step; a whole picture; the solvers' distances; one
step of ever larger canvases; a step of training.
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

    def every(count: int) -> list[Scene]:
        return [scene(dtype).first(count) for dtype in scenes]

    makers: dict[Table, Callable[[], Iterable[Row]]] = {
        "flops": _counts,
        "same": lambda: (check(scene("float32")) for check in (parity, company)),
        "step": lambda: chain.from_iterable(steps(every(count), rounds) for count in dict.fromkeys((1, batch))),
        "picture": lambda: chain.from_iterable(make(every(1), rounds) for make in (pictures, every_core)),
        "solver": lambda: chain.from_iterable(solvers(scene("float32").first(2), mode) for mode in ATTENTIONS),
        "growth": lambda: growth(FluxFill.load(find_base("micro")), rounds),
        "training": lambda: training_steps(scenes, rounds),
    }
    for table in TABLES:
        if table in tables:
            yield from makers[table]()


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
