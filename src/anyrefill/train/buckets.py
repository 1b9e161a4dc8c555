"""Pairs of differing shape: each goes to the nearest of a few canvas sizes of about one area.

A batch is of one size. Which size's turn it is follows from the step's number, and which of its pairs from that and the
seed, so that a run can be taken up anywhere.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial

from anyrefill import images
from anyrefill.pairs import PairFolder
from anyrefill.types import Size

__all__ = ["Bucket", "Turn", "buckets_of", "place_of", "sizes_for", "turn_of"]

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


def turn_of(counts: Sequence[int], step: int) -> Turn:
    """Return whose turn it is: each bucket has turns in proportion to its pairs, as evenly spread as can be.

    Args:
        counts: of the buckets' pairs.
        step: from 0.
    """
    places = [partial(place_of, counts, bucket) for bucket in range(len(counts))]
    due = [bisect_left(range(step + 1), step, key=place) for place in places]
    bucket = min(range(len(counts)), key=lambda one: places[one](due[one]))
    return Turn(bucket=bucket, number=due[bucket])


def place_of(counts: Sequence[int], bucket: int, number: int) -> int:
    """Return the step of a bucket's turn: how many turns come before it.

    They are ordered by (number + 1/2) / count, the first bucket first among equals. So in every sum(counts) steps each
    bucket has as many turns as it has pairs: each pair is drawn equally often, a rare shape's many times at once.

    Args:
        counts: of the buckets' pairs.
        bucket: its place among them.
        number: how many turns it had before.
    """
    own = counts[bucket]
    return sum(((2 * number + 1) * count + own - (other >= bucket)) // (2 * own) for other, count in enumerate(counts))


def _part(pairs: PairFolder, size: Size, lines: Sequence[int]) -> PairFolder:
    """Return some pairs of a folder, fitted to a size."""
    part = copy(pairs)
    part.size, part.rows = size, tuple(pairs.rows[line] for line in lines)
    return part


def _rounded(side: float) -> int:
    """Return the nearest multiple of 16, at least one."""
    return max(16, 16 * round(side / 16))
