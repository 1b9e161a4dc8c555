"""`anyrefill bench`."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from anyrefill.cli.common import check_counts, check_picture, check_writable
from anyrefill.errors import UserError
from anyrefill.files import write_text

if TYPE_CHECKING:
    from anyrefill.bench import Row

__all__ = ["Bench", "bench"]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Time painting beside plain diffusers on the same weights, in one process."""

    tables: tuple[Literal["flops", "same", "step", "picture", "solver", "growth", "training"], ...] = (
        "flops", "same", "step", "picture", "solver", "growth", "training",
    )  # fmt: skip
    """Which: counts at full size, latents beside diffusers' and in company, one step, a whole picture, the solvers'
    distances, a step of ever larger canvases, a step of training. Below stand the goals that they tell about."""
    task: Annotated[str, arg(metavar="TASK")] = "deblur"
    """Whose adapter of micro paints."""
    rounds: int = 5
    """How often each run is timed, in turns with the others."""
    batch: int = 16
    """The larger of the two batches."""
    threads: int = 1
    """Of torch; pictures timed by the clock take all cores."""
    json: Annotated[Path | None, arg(metavar="FILE")] = None
    """Where the rows go too."""
    plot: Annotated[Path | None, arg(metavar="PNG")] = None
    """Where a picture of what was timed goes."""


def bench(options: Bench) -> None:
    """Print the tables, and write them."""
    check_counts(rounds=options.rounds, batch=options.batch, threads=options.threads)
    if options.json is not None:
        check_writable(options.json)
    if options.plot is not None:
        check_picture(options.plot, [options.json])
        if not {"step", "picture", "training"} & set(options.tables):
            raise UserError("--plot draws gains over plain diffusers: ask for the table step, picture or training too.")
    import torch

    from anyrefill import images
    from anyrefill.bench import bench as rows_of
    from anyrefill.bench import plot

    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    for row in rows_of(options.tables, task=options.task, rounds=options.rounds, batch=options.batch):
        if not rows or rows[-1].table != row.table:
            print(f"\n{row.table}")
        print(_line(row), flush=True)
        rows.append(row)
    if options.json is not None:
        write_text(options.json, json.dumps(_record(options, rows), indent=1) + "\n")
    if options.plot is not None:
        images.save(plot(rows), options.plot)


def _line(row: "Row") -> str:
    """Return one row as text."""
    spread = "" if row.low is None or row.high is None else f" ({row.low:.3g} to {row.high:.3g})"
    spread += "" if row.wall is None else f", {row.wall:.3g} by the clock"
    gains = "" if row.gain is None else f"  {row.gain:.2f} x"
    gains += "" if row.gain_bf16 is None else f"  {row.gain_bf16:.2f} x bf16"
    held = "" if row.met is None else f"{row.goal}: {'met' if row.met else 'missed'}"
    return f"  {row.name:54} {row.value:10.3g} {row.unit}{spread}{gains}{_work(row)}{held}"


def _work(row: "Row") -> str:
    """Return what was counted beside a time, and both against the first row of its kind."""
    if row.work is None:
        return ""
    work = row.work
    return (
        f"  {work.times:.1f} x; {work.tokens} tokens, {work.gflop:.2f} GFLOP, {work.gflop_times:.1f} x; "
        f"{work.of_limit:.0%} of the limit"
    )


def _record(options: Bench, rows: "Sequence[Row]") -> dict[str, object]:
    """Return what is written: the machine, the options, the rows."""
    import torch

    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    asked = {name: value for name, value in asdict(options).items() if name not in ("json", "plot")}
    return {"machine": machine, "options": asked, "rows": [asdict(row) for row in rows]}
