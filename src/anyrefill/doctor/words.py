"""Checks of captions, and of what a task asks for."""

from collections import Counter
from collections.abc import Iterator, Sequence

import torch

from anyrefill.doctor.look import PairLook, finding
from anyrefill.doctor.report import Finding
from anyrefill.errors import UserError
from anyrefill.pairs import Pair
from anyrefill.tasks import Task

__all__ = ["class_balance", "missing_captions", "needs"]

FEWEST = 8
"""Pairs without which the distribution of captions says nothing."""

REPEATED = 4
"""Pairs for each different caption from which on captions are taken for classes."""

UNBALANCED = 5
"""Times as many pairs in the largest class as in the smallest that are worth a note."""


def needs(pairs: Sequence[PairLook], task: Task) -> Iterator[Finding]:
    """Find pairs that lack the caption or the mask that the task cannot do without."""
    for pair in pairs:
        try:
            task.fill_prompt(pair.caption)
        except UserError as error:
            yield finding(pair, "missing-caption", "error", str(error))
        if pair.mask is None and (sentence := _mask_needed(task)):
            yield finding(pair, "missing-mask", "error", sentence)


def _mask_needed(task: Task) -> str:
    """Return what the task says to a pair without a mask, or nothing."""
    panel = torch.zeros(3, 16, 16)
    try:
        task.mask(Pair(reference=panel, target=panel))
    except UserError as error:
        return str(error)
    return ""


def missing_captions(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find pairs without a caption among others that have one."""
    without = [pair for pair in pairs if not pair.caption.strip()]
    if len(without) * 2 <= len(pairs):
        for pair in without:
            sentence = f"There is no caption, but {len(pairs) - len(without)} other pairs have one: write it."
            yield finding(pair, "missing-caption", "warning", sentence)
    elif len(without) < len(pairs):
        sentence = f"{len(without)} of {len(pairs)} pairs have no caption: write them, or leave all out."
        yield Finding(check="missing-caption", severity="warning", line=None, sentence=sentence)


def class_balance(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find one caption for everything, and captions that are classes of very different sizes."""
    counts = Counter(caption for pair in pairs if (caption := pair.caption.strip())).most_common()
    total = sum(count for _, count in counts)
    if total < FEWEST:
        return
    if len(counts) == 1:
        sentence = f"All {total} captions are {counts[0][0]!r}: they tell the pairs nothing apart."
        yield Finding(check="one-caption", severity="note", line=None, sentence=sentence)
    elif total >= REPEATED * len(counts) and counts[0][1] >= UNBALANCED * counts[-1][1]:
        (largest, most), (smallest, fewest) = counts[0], counts[-1]
        sentence = (
            f"Captions are unbalanced: {largest!r} has {most} pairs, {smallest!r} {fewest}: add to the rare ones."
        )
        yield Finding(check="class-balance", severity="note", line=None, sentence=sentence)
