"""What weights in fewer bits cost the pictures of trained adapters: whole, int8 and fp8 on the same held-out pairs.

    python -m recipes.heldout && python -m benchmarks.placements           # 5 minutes on one core
    python -m benchmarks.placements --tasks age --limit 64

Printed for each task: its first score, and how far the painted panels are from those of whole weights (RMSE of pixels
of 0 to 1). int8 needs torchao (`pip install -e '.[quantize]'`) and is left out without.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

import torch

from anyrefill.backbone.placement import Placement, Weights
from anyrefill.backbone.precision import fast_dtype
from anyrefill.evaluate import evaluating, finished, held_out_pairs
from anyrefill.evaluate.report import table
from anyrefill.metrics import rmse
from anyrefill.painter import load
from anyrefill.types import Panel

TASKS = ("deblur", "super-resolution", "image-to-segment")
FORMS: tuple[Weights, ...] = ("whole", "int8", "fp8")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--limit", type=int, default=32, help="pairs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    forms = [form for form in FORMS if form != "int8" or find_spec("torchao")]
    rows = [["task", "score", *forms, *(f"{form}: RMSE to whole" for form in forms[1:])]]
    for name in options.tasks:
        rows.append(measured(name, forms, options.limit))
        print(*rows[-1], sep=", ", flush=True)
    print(table(rows))


def measured(name: str, forms: Sequence[Weights], limit: int) -> list[str]:
    """Return a row of the table; the first form is the one that the others are compared with."""
    scores, panels = list[str](), list[Sequence[Panel]]()
    for form in forms:
        painter = load(name, dtype=fast_dtype(), placement=Placement(weights=form))
        painter = replace(painter, task=replace(painter.task, judges=(), distances=()))
        pairs = held_out_pairs(painter.task, painter.size, limit=limit)
        report, painted = finished(evaluating(painter, pairs, baselines=False))
        scores.append(str(report.rows[0].scores[0]))
        panels.append(painted)
        heading = report.rows[0].scores[0].heading
    apart = [statistics.mean(map(rmse, found, panels[0])) for found in panels[1:]]
    return [name, heading, *scores, *(f"{value:.4f}" for value in apart)]


if __name__ == "__main__":
    main()
