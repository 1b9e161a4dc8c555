"""What a box around the person pays (`anyrefill paint --box`), in photographs: docs/results/boxes.json.

    python -m recipes.boxes                          # what is not measured, or was with other weights than ship;
                                                     # 2 minutes a task on one core

Held-out people of many sizes in held-out photographs, as of docs/results.md, painted whole and in a square around
them, the smallest that holds the person in either picture. recipes.cards shows the scores.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from tqdm import tqdm

from anyrefill import images
from anyrefill.backbone.precision import fast_dtype
from anyrefill.cli.evaluate import painter_of
from anyrefill.evaluate import held_out_pairs
from anyrefill.evaluate.scoring import judged, score
from anyrefill.judges import lpips_background
from anyrefill.metrics import rmse
from anyrefill.pairs import Pair
from anyrefill.types import Mask, Panel
from recipes.results import is_of_others, record, weights
from recipes.stored import DOCS, store_by_task

SCORES = DOCS / "results" / "boxes.json"
MEASURED = DOCS / "results" / "boxes-measured.json"
"""Which weights each task's scores are of."""
BOXED = {"age": "age-in-photographs", "gender": "gender-in-photographs"}
"""Whose pairs are painted, by task."""


@dataclass(frozen=True, kw_only=True)
class Boxed:
    """What one way of painting left.

    Attributes:
        way: "whole" or "in a box".
        rmse: mean to the true target.
        background: mean LPIPS of what was to stay.
    """

    way: str
    rmse: float
    background: float


@dataclass(frozen=True, kw_only=True)
class Ways:
    """Both ways, on as many pairs.

    Attributes:
        pairs: how many.
        side: mean of the boxes, in sides of the picture.
        copied: RMSE of the reference.
        ways: one and the other.
    """

    pairs: int
    side: float
    copied: float
    ways: tuple[Boxed, ...]


def square_around(mask: Mask) -> tuple[int, int, int, int]:
    """Return the smallest square of a panel around what a mask marks: left, top, right, bottom."""
    rows, columns = (torch.nonzero(mask[0].any(dim=axis))[:, 0] for axis in (1, 0))
    ends = [(int(one[0]), int(one[-1]) + 1) for one in (columns, rows)]
    side = max(last - first for first, last in ends)
    (left, top) = (
        min(max(0, (first + last - side) // 2), length - side)
        for (first, last), length in zip(ends, (mask.shape[2], mask.shape[1]), strict=True)
    )
    return left, top, left + side, top + side


def scored(way: str, painted: Sequence[Panel], pairs: Sequence[Pair]) -> Boxed:
    """Return what a way of painting left."""
    both = [(panel, pair.target) for panel, pair in zip(painted, pairs, strict=True)]
    return Boxed(way=way, rmse=score(rmse, both).mean, background=judged(lpips_background, painted, pairs).mean)


def measured(name: str, limit: int) -> Ways:
    """Paint and score a task's people, whole and in boxes."""
    painter = painter_of(BOXED[name], dtype=fast_dtype())
    pairs = held_out_pairs(painter.task, painter.size, limit=limit)
    boxes = [square_around(pair.mask) for pair in pairs if pair.mask is not None]
    boxed = [
        images.to_panel(painter(images.to_pil(pair.reference), caption=pair.caption, box=box))
        for pair, box in tqdm(list(zip(pairs, boxes, strict=True)), desc=name, unit="picture")
    ]
    return Ways(
        pairs=len(pairs),
        side=fmean((right - left) / painter.size[1] for left, _, right, _ in boxes),
        copied=fmean(rmse(pair.reference, pair.target) for pair in pairs),
        ways=(scored("whole", painter.batch(pairs), pairs), scored("in a box", boxed, pairs)),
    )


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--limit", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in BOXED:
        if is_of_others(MEASURED, name):
            used, found = weights(name), measured(name, args.limit)
            store_by_task(SCORES, name, found)
            record(MEASURED, name, used)
            print(name, found, flush=True)


if __name__ == "__main__":
    main()
