"""What colour repair does to paintings of held-out pairs.

    python -m benchmarks.colour                              # 8 pairs of 5 kinds
    python -m benchmarks.colour --pairs 32 --tasks deblur

RMSE of the painted pixels to the truth, of the range [0, 1], before and after, over the pairs whose repair was taken;
and how many were. "inpainting" keeps a part of its target, so its repair is fitted to the ring around the hole, as
`paint --repair-colour` does it. The others keep nothing; theirs is fitted to the repainted reference, which `paint`
does not do: this table is why.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace

import torch

from anyrefill import tasks
from anyrefill.canvas import Canvas
from anyrefill.evaluate import held_out_pairs
from anyrefill.evaluate.report import interval, table
from anyrefill.painter import Painter, load
from anyrefill.pairs import Pair
from anyrefill.repair import fit_repair, ring
from anyrefill.sample import sampling, sheets
from anyrefill.types import Mask, Panel

TASKS = ("inpainting", "deblur", "colorization", "canny-to-image", "image-to-segment")
STEPS = 10


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--pairs", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [[name, *line(painter_of(name), options.pairs)] for name in options.tasks]
    print(table([["", "repaired", "RMSE before", "RMSE after", "difference"], *rows]))


def painter_of(name: str) -> Painter:
    """Return a task's painter; inpainting is the bare backbone's."""
    if name == "inpainting":
        task = replace(tasks.get("ref-inpainting"), name="backbone-inpainting")
        return load(task, adapter="none", solver="ab2")
    return load(name, solver="ab2")


def line(painter: Painter, count: int) -> list[str]:
    """Return one line of the table."""
    pairs = held_out_pairs(painter.task, painter.size, limit=count)
    errors = [both for first in range(0, len(pairs), 8) for both in repaired(painter, pairs[first : first + 8])]
    taken = [both for both in errors if both is not None]
    if not taken:
        return [f"0 of {len(errors)}", "-", "-", "-"]
    before, after = (sum(values) / len(taken) for values in zip(*taken, strict=True))
    change = [one - other for other, one in taken]
    low, high = interval(change)
    mean = sum(change) / len(change)
    return [f"{len(taken)} of {len(errors)}", f"{before:.4f}", f"{after:.4f}", f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]"]


def repaired(painter: Painter, pairs: Sequence[Pair]) -> list[tuple[float, float] | None]:
    """Paint, and return the error of each painting before and after; None where the repair is refused."""
    canvases = [Canvas.stitch(pair.reference, pair.target, painter.task.mask(pair)) for pair in pairs]
    prompts = [painter.task.fill_prompt(pair.caption) for pair in pairs]
    *_, last = sampling(
        painter.backbone, canvases, prompts, seeds=list(range(len(pairs))), steps=STEPS, guidance=painter.guidance,
        solver="ab2",
    )  # fmt: skip
    errors: list[tuple[float, float] | None] = []
    for canvas, pair, sheet in zip(canvases, pairs, sheets(painter.backbone, canvases, last.latents), strict=True):
        mask, panel = canvas.panel(canvas.mask), canvas.panel(sheet)
        if mask.all():
            repair = fit_repair(canvas.beside(sheet), canvas.beside(canvas.pixels), torch.ones_like(mask))
        else:
            repair = fit_repair(panel, canvas.panel(canvas.pixels), ring(mask))
        found = None if repair is None else (error(panel, pair, mask), error(repair(panel), pair, mask))
        errors.append(found)
    return errors


def error(panel: Panel, pair: Pair, mask: Mask) -> float:
    """Return the RMSE of painted pixels, of the range [0, 1]."""
    inside = mask.bool().expand_as(panel)
    return float((panel.clamp(-1, 1) - pair.target)[inside].pow(2).mean().sqrt() / 2)


if __name__ == "__main__":
    main()
