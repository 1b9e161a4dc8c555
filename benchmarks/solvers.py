"""How far each solver ends from 500 Euler steps of the same noise, over held-out pairs, tasks and seeds.

    python -m benchmarks.solvers                            # 16 pairs, 4 tasks, 2 seeds
    python -m benchmarks.solvers --pairs 4 --seeds 1 --tasks deblur --json out/solvers.json

A canvas's distance is ||x - x_500|| / ||x_500|| over its painted tokens, in float32 and full attention. The last table
counts the canvases on which 20 calls of a solver end no farther than 50 of Euler. What was measured already is read
from the JSON file and not measured again.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median

import torch

from anyrefill.canvas import Canvas
from anyrefill.evaluate import held_out_pairs
from anyrefill.evaluate.report import interval, table
from anyrefill.files import write_text
from anyrefill.flow import Solver
from anyrefill.painter import Painter, load
from anyrefill.pairs import Pair
from anyrefill.sample import sampling
from anyrefill.types import Tokens

TASKS = ("deblur", "colorization", "canny-to-image", "image-to-segment")
EXACT, CALLS = 500, (10, 14, 20, 50)


@dataclass(frozen=True, kw_only=True)
class Distances:
    """What one solver reached on one task with one seed.

    Attributes:
        task: whose adapter painted.
        seed: of the first canvas's noise.
        solver: how the steps were taken.
        calls: of the backbone.
        values: relative distance of each canvas.
    """

    task: str
    seed: int
    solver: str
    calls: int
    values: tuple[float, ...]


def main() -> None:
    """Measure what is missing, write it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--solvers", nargs="+", default=("euler", "ab2"))
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path("out/solvers.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    painters = [load(task) for task in options.tasks]  # at once: adapters may be replaced while this runs
    rows = read(options.json)
    for seed in range(options.seeds):
        for painter in painters:
            pairs = held_out_pairs(painter.task, painter.size, limit=options.pairs)
            for row in measured(painter, pairs, seed, options.solvers, rows):
                rows.append(row)
                write_text(options.json, json.dumps([asdict(row) for row in rows]) + "\n")
                where = f"{row.task}, seed {row.seed}, {row.solver}, {row.calls} calls"
                print(f"{where}: median {median(row.values):.4f}", flush=True)
    print("\n" + distances(rows), "\n" + wins(rows), sep="\n")


def read(path: Path) -> list[Distances]:
    """Return what an earlier run wrote."""
    if not path.exists():
        return []
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [Distances(**{**row, "values": tuple(row["values"])}) for row in rows]


def measured(
    painter: Painter, pairs: Sequence[Pair], seed: int, solvers: Sequence[Solver], known: Sequence[Distances]
) -> Iterator[Distances]:
    """Yield the distances of one task and seed that are not known yet."""
    there = {(row.task, row.seed, row.solver, row.calls) for row in known}
    wanted = [(solver, calls) for solver in solvers for calls in CALLS]
    missing = [(solver, calls) for solver, calls in wanted if (painter.task.name, seed, solver, calls) not in there]
    exact = painted(painter, pairs, seed, "euler", EXACT) if missing else None
    for solver, calls in missing:
        assert exact is not None
        reached = painted(painter, pairs, seed, solver, calls)
        values = [float((one - other).norm() / other.norm()) for one, other in zip(reached, exact, strict=True)]
        yield Distances(task=painter.task.name, seed=seed, solver=solver, calls=calls, values=tuple(values))


def painted(painter: Painter, pairs: Sequence[Pair], seed: int, solver: Solver, steps: int) -> list[Tokens]:
    """Return the painted tokens of every canvas at the end of a run."""
    canvases = [Canvas.stitch(pair.reference, pair.target, painter.task.mask(pair)) for pair in pairs]
    prompts = [painter.task.fill_prompt(pair.caption) for pair in pairs]
    seeds = [1000 * seed + index for index in range(len(pairs))]
    *_, last = sampling(
        painter.backbone, canvases, prompts, seeds=seeds, steps=steps, guidance=painter.guidance, solver=solver,
    )  # fmt: skip
    columns = canvases[0].width // 16
    right = torch.arange(last.latents.shape[1]) % columns >= columns // 2
    return [row[right][None] for row in last.latents]


def distances(rows: Sequence[Distances]) -> str:
    """Return a table of mean distances with 95 % intervals."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    body: list[list[str]] = []
    for solver, calls in dict.fromkeys((row.solver, row.calls) for row in rows):
        cells = [values_of(rows, task, solver, calls) for task in tasks]
        body.append([f"{solver}, {calls} calls", *(shown(cell) for cell in cells)])
    return table([["", *tasks], *body])


def shown(values: Sequence[float]) -> str:
    """Return a mean with its interval."""
    if not values:
        return "-"
    low, high = interval(values)
    return f"{sum(values) / len(values):.4f} [{low:.4f}, {high:.4f}]"


def wins(rows: Sequence[Distances]) -> str:
    """Return on how many canvases 14 and 20 calls of a solver end no farther than 50 of Euler."""
    tasks, solvers = (dict.fromkeys(names) for names in ([row.task for row in rows], [row.solver for row in rows]))
    body: list[list[str]] = []
    for solver, calls in product(solvers, CALLS[1:3]):
        cells: list[str] = []
        for task in tasks:
            pairs = list(zip(values_of(rows, task, solver, calls), values_of(rows, task, "euler", 50), strict=False))
            cells.append(f"{sum(one <= other for one, other in pairs)} of {len(pairs)}")
        body.append([f"{solver}, {calls} calls <= euler, 50", *cells])
    return table([["", *tasks], *body])


def values_of(rows: Sequence[Distances], task: str, solver: str, calls: int) -> list[float]:
    """Return the distances of every seed's canvases."""
    chosen = [row for row in rows if (row.task, row.solver, row.calls) == (task, solver, calls)]
    return [value for row in sorted(chosen, key=lambda row: row.seed) for value in row.values]


if __name__ == "__main__":
    main()
