"""What the engine set out to reach, and whether the rows of a run do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from anyrefill.backbone import ATTENTIONS
from anyrefill.bench.pictures import FAST, FASTER, PICTURE_TABLE, SAME_TABLE
from anyrefill.bench.rows import Row
from anyrefill.bench.scene import DTYPES
from anyrefill.bench.solvers import OWN, solver_table
from anyrefill.bench.steps import step_table
from anyrefill.bench.training import TRAIN_TABLE

__all__ = ["COUNT_TABLE", "GOALS_TABLE", "TRAINING_TABLE", "WEIGHT_TABLE", "goals"]

GOALS_TABLE = "goals"
COUNT_TABLE = "FLUX.1-Fill, a step of painting, counted"
TRAINING_TABLE = "FLUX.1-Fill, a noisy sample of training, counted"
WEIGHT_TABLE = "FLUX.1-Fill, weights, counted"
CALLS = (FAST, FASTER)
"""Of the fast pictures."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One goal.

    Attributes:
        table: where the row stands that tells.
        row: its name, or how that begins.
        reads: which of the row's numbers.
        bound: what it is held to.
        most: whether the bound is the most that may be; otherwise it is the least.
        over: name, or beginning of it, of the row whose number it is divided by, if any.
    """

    table: str
    row: str
    reads: Literal["value", "gain", "gain_bf16"]
    bound: float
    most: bool = False
    over: str = ""

    def judged(self, rows: Sequence[Row]) -> Row | None:
        """Return the line that says whether the goal is met; None if nothing tells."""
        row, over = self._found(rows, self.row), self._found(rows, self.over)
        if row is None or (self.over and over is None):
            return None
        value = getattr(row, self.reads)
        value = value if over is None else value / getattr(over, self.reads)
        plain = "over plain" if "counted" in self.table else "over plain float32"
        words = {"value": "", "gain": f", {plain}", "gain_bf16": ", over plain bfloat16"}[self.reads]
        return Row(
            table=GOALS_TABLE,
            name=f"{self.table}: {row.name}{f' / {over.name}' if over else ''}{words}",
            value=value,
            unit="",
            goal=f"at {'most' if self.most else 'least'} {self.bound:g}",
            met=value <= self.bound if self.most else value >= self.bound,
        )

    def _found(self, rows: Sequence[Row], name: str) -> Row | None:
        """Return the row that has this name, or begins with it; None if there is none, or no name."""
        found = [row for row in rows if name and row.table == self.table and row.name.startswith(name)]
        exact = [row for row in found if row.name == name]
        return (exact or found)[0] if found else None


def goals(rows: Sequence[Row], batches: Sequence[int]) -> Iterator[Row]:
    """Yield a line for every goal that the rows tell about."""
    for goal in (*_same(), *_steps(batches), *_pictures(), *_solvers(), *_training(), *_counted()):
        judged = goal.judged(rows)
        if judged is not None:
            yield judged


def _same() -> list[Goal]:
    """Return the goals of exactness."""
    return [
        Goal(table=SAME_TABLE, row="latents, 50 Euler steps", reads="value", bound=1e-4, most=True),
        Goal(table=SAME_TABLE, row="latents, alone", reads="value", bound=1e-5, most=True),
    ]


def _steps(batches: Sequence[int]) -> list[Goal]:
    """Return the goals of one step, at every batch."""
    return [
        goal
        for table in map(step_table, dict.fromkeys(batches))
        for goal in (
            Goal(table=table, row="full float32", reads="gain", bound=1.4),
            Goal(table=table, row="full bfloat16", reads="gain", bound=2.2),
            Goal(table=table, row="clean_ref_text float32", reads="gain", bound=3.5),
            Goal(table=table, row="clean_ref_text bfloat16", reads="gain", bound=5.5),
            Goal(table=table, row="clean_ref_text bfloat16", reads="gain_bf16", bound=2.5),
            Goal(table=table, row="clean_ref_text float32: stitched", reads="value", bound=1.15, most=True),
            *(
                Goal(table=table, row=f"clean_ref_text {dtype}: nothing / {share} known", reads="value", bound=bound)
                for dtype in DTYPES
                for share, bound in (("50%", 1.8), ("75%", 3.0))
            ),
        )
    ]


def _pictures() -> list[Goal]:
    """Return the goals of the fast picture: of about 20 calls, and of the steps that the adapter asks for."""
    few = [f"clean_ref_text {{dtype}}, {calls} x ab2" for calls in CALLS]
    return [
        Goal(table=PICTURE_TABLE, row=row.format(dtype=dtype), reads="gain", bound=10.0)
        for row in (*few, "full {dtype}, the adapter's")
        for dtype in DTYPES
    ]


def _solvers() -> list[Goal]:
    """Return the goals of the fast pictures' errors, which are those of 50 Euler steps."""
    of_solvers = [(solver_table(mode), f"ab2, {calls} calls") for mode in ATTENTIONS for calls in CALLS]
    held = [*of_solvers, (solver_table("full"), OWN)]
    return [
        Goal(table=table, row=row, over="euler, 50 calls", reads="value", bound=1.0, most=True) for table, row in held
    ]


def _training() -> list[Goal]:
    """Return the goals of a training step, over diffusers' loop as it stands and with what it encodes kept."""
    shared = "clean_ref_text {dtype}, 4 draws a pair"
    return [
        Goal(table=TRAIN_TABLE, row=shared.format(dtype="float32"), reads="gain", bound=2.2),
        Goal(table=TRAIN_TABLE, row=shared.format(dtype="bfloat16"), reads="gain_bf16", bound=2.2),
        *(
            Goal(
                table=TRAIN_TABLE, row=f"plain {dtype}, encoded once", over=shared.format(dtype=dtype), reads="value",
                bound=2.2,
            )
            for dtype in DTYPES
        ),
    ]  # fmt: skip


def _counted() -> list[Goal]:
    """Return the goals at full size."""
    return [
        Goal(table=COUNT_TABLE, row="clean_ref_text", reads="value", bound=15.1, most=True),
        Goal(table=COUNT_TABLE, row="clean_ref_text", reads="gain", bound=2.4),
        Goal(table=COUNT_TABLE, row="clean_ref, 128 prompt tokens", reads="gain", bound=2.2),
        Goal(table=TRAINING_TABLE, row="clean_ref_text, 4 draws a pair", reads="gain", bound=2.6),
        Goal(table=WEIGHT_TABLE, row="read by a clean_ref_text step", reads="value", bound=13.1, most=True),
    ]
