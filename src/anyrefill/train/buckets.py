"""Pairs of differing shape: each goes to the nearest of a few canvas sizes of about one area.

A batch is of one size. Which size's turn it is, and which of its pairs, follows from the seed and the step's number
alone, so that a run can be taken up anywhere.
"""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator

from anyrefill import images
from anyrefill.pairs import PairFolder
from anyrefill.types import Size

__all__ = ["Bucket", "Turn", "buckets_of", "sizes_for", "turn_of"]

ASPECTS = (1 / 2, 2 / 3, 3 / 4, 1.0, 4 / 3, 3 / 2, 2.0)
"""Height over width of the panels."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """The pairs of one size.

    Attributes:
        pairs: that are fitted to it.
        lines: their places in the whole folder.
    """

    pairs: PairFolder
    lines: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Whose turn it is at a step.

    Attributes:
        bucket: its place in the list.
        number: how many turns it had before.
    """

    bucket: int
    number: int


def sizes_for(panel: int) -> tuple[Size, ...]:
    """Return the (height, width) of panels with about the area of a square one, sides multiples of 16, no two alike."""
    sides = ((panel * math.sqrt(aspect), panel / math.sqrt(aspect)) for aspect in ASPECTS)
    return tuple(dict.fromkeys((_rounded(height), _rounded(width)) for height, width in sides))


def buckets_of(pairs: PairFolder, panel: int) -> list[Bucket]:
    """Sort the pairs of a folder by the shape of their references, largest bucket first; empty ones are left out.

    Raises:
        UserError: a picture cannot be read.
    """
    sizes, lines = sizes_for(panel), dict[Size, list[int]]()
    for line, row in enumerate(pairs.rows):
        height, width = images.native_size(row.reference)
        nearest = min(sizes, key=lambda size: abs(math.log(size[0] / size[1]) - math.log(height / width)))
        lines.setdefault(nearest, []).append(line)
    largest_first = sorted(lines.items(), key=lambda entry: -len(entry[1]))
    return [Bucket(pairs=_part(pairs, size, places), lines=tuple(places)) for size, places in largest_first]


def turn_of(counts: Sequence[int], each: int, seed: int, step: int) -> Turn:
    """Return whose turn it is: in an epoch every bucket has as many turns as it takes to draw all its pairs.

    Args:
        counts: of the buckets' pairs.
        each: pairs of a step.
        seed: of the turns' order.
        step: from 0.
    """
    turns = tuple(-(-count // each) for count in counts)
    epoch, place = divmod(step, sum(turns))
    order = _order(turns, seed, epoch)
    bucket = order[place]
    return Turn(bucket=bucket, number=epoch * turns[bucket] + order[:place].count(bucket))


@lru_cache(maxsize=2)
def _order(turns: tuple[int, ...], seed: int, epoch: int) -> tuple[int, ...]:
    """Return the buckets of an epoch's steps, shuffled anew for each epoch."""
    unshuffled = [bucket for bucket, count in enumerate(turns) for _ in range(count)]
    shuffled = torch.randperm(len(unshuffled), generator=Generator().manual_seed((seed + 1) * 9_276_323 + epoch))
    return tuple(unshuffled[place] for place in shuffled.tolist())


def _part(pairs: PairFolder, size: Size, lines: Sequence[int]) -> PairFolder:
    """Return some pairs of a folder, fitted to a size."""
    part = copy(pairs)
    part.size, part.rows = size, tuple(pairs.rows[line] for line in lines)
    return part


def _rounded(side: float) -> int:
    """Return the nearest multiple of 16, at least one."""
    return max(16, 16 * round(side / 16))
