"""Whether a second reference helps adapters that were trained with one.

    python -m benchmarks.references                          # 8 held-out pairs of deblur
    python -m benchmarks.references --pairs 32

The task is deblur, whose second reference can be a second degraded copy of the same photograph: what is random in one
is not in the other, and their mean is a better reference than either. "beside" places references in a row, the target
last, as on the canvas; "stacked" places the second above the first, so that both are one panel away from the target.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from anyrefill import flow
from anyrefill.backbone.latents import image_ids
from anyrefill.canvas import Canvas
from anyrefill.evaluate import held_out_pairs
from anyrefill.evaluate.report import interval, table
from anyrefill.metrics import lpips_alex, psnr
from anyrefill.painter import Painter, load
from anyrefill.pairs import Pair, Photo
from anyrefill.sample import condition_of, draw_noise, panels
from anyrefill.sample.batch import stepping
from anyrefill.sample.fields import velocity_field
from anyrefill.tasks.deblur import make
from anyrefill.types import Ids, Panel

STEPS, BATCH = 10, 8


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--second", nargs="+", choices=tuple(SECOND), default=tuple(SECOND))
    options = parser.parse_args()
    torch.set_num_threads(1)
    painter = load("deblur")
    pairs = held_out_pairs(painter.task, painter.size, limit=options.pairs)
    rows = [["one reference", *scores(painter, pairs, lambda pair, _: [pair.reference], stacked=False)]]
    print(rows[-1], flush=True)
    for name in options.second:
        choose = SECOND[name]
        for stacked in (False, True) if "mean" not in name else (False,):
            place = "" if "mean" in name else ", stacked" if stacked else ", beside"
            rows.append([name + place, *scores(painter, pairs, choose, stacked=stacked)])
            print(rows[-1], flush=True)
    print(table([[f"deblur, {len(pairs)} pairs", "PSNR", "LPIPS"], *rows]))


def again(pair: Pair, number: int) -> Panel:
    """Return another degraded copy of a pair's photograph."""
    made = make(Photo(pixels=pair.target), torch.Generator().manual_seed(10_000 + number))  # no held-out pair's seed
    assert made is not None
    return made.reference


SECOND: dict[str, Callable[[Pair, int], list[Panel]]] = {
    "the same twice": lambda pair, _: [pair.reference, pair.reference],
    "another copy": lambda pair, number: [pair.reference, again(pair, number)],
    "noise": lambda pair, _: [pair.reference, torch.rand(pair.target.shape) * 2 - 1],
    "the mean of both copies, as one": lambda pair, number: [(pair.reference + again(pair, number)) / 2],
}
"""What the references are."""


def scores(
    painter: Painter, pairs: Sequence[Pair], choose: Callable[[Pair, int], list[Panel]], *, stacked: bool
) -> list[str]:
    """Paint with some references and return PSNR and LPIPS with their intervals."""
    painted: list[Panel] = []
    for first in range(0, len(pairs), BATCH):
        group = list(enumerate(pairs))[first : first + BATCH]
        canvases = [
            Canvas.stitch(choose(pair, number), torch.zeros_like(pair.target), painter.task.mask(pair))
            for number, pair in group
        ]
        prompts = [painter.task.fill_prompt(pair.caption) for _, pair in group]
        painted += paint(painter, canvases, prompts, stacked=stacked)
    values = [[metric(one, pair.target) for one, pair in zip(painted, pairs, strict=True)] for metric in METRICS]
    return [f"{sum(row) / len(row):.3f} [{interval(row)[0]:.3f}, {interval(row)[1]:.3f}]" for row in values]


METRICS = (psnr, lpips_alex)


def paint(painter: Painter, canvases: Sequence[Canvas], prompts: Sequence[str], *, stacked: bool) -> list[Panel]:
    """Paint canvases of one size."""
    condition = condition_of(painter.backbone, canvases, prompts)
    if stacked:
        condition = replace(condition, img_ids=stacked_ids(canvases[0]))
    sigmas = flow.schedule(STEPS, canvases[0].tokens)
    noise = draw_noise(condition, canvases[0], [torch.Generator().manual_seed(seed) for seed in range(len(canvases))])
    field = velocity_field(painter.backbone, condition, painter.guidance, sigmas, "full")
    *_, last = stepping(field, noise, sigmas, "ab2")
    return [panel.clamp(-1, 1) for panel in panels(painter.backbone, canvases, last.latents)]


def stacked_ids(canvas: Canvas) -> Ids:
    """Return the places of a canvas's tokens with every further reference above the first."""
    ids = image_ids(canvas.height, canvas.width)
    side = canvas.width // 16 // (canvas.references + 1)
    behind = (canvas.references - 1) - ids[:, 2] // side  # 0 for the first reference, -1 for the target
    ids[:, 1] -= behind.clamp_min(0) * (canvas.height // 16)
    ids[:, 2] += behind.clamp_min(0) * side
    return ids


if __name__ == "__main__":
    main()
