"""Answers that need no model: what a painter has to beat."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from anyrefill.pairs import Pair
from anyrefill.tasks import Task
from anyrefill.types import Panel

__all__ = ["copied", "flat", "shuffled", "without_reference"]


def copied(pair: Pair, task: Task) -> Panel:
    """Return the target's panel with the reference where there is something to paint."""
    return _filled(pair, task, pair.reference)


def flat(pair: Pair, task: Task) -> Panel:
    """Return the target's panel with the reference's mean colour where there is something to paint."""
    return _filled(pair, task, pair.reference.mean(dim=(1, 2), keepdim=True).expand_as(pair.reference))


def shuffled(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs, each with the references of the one half a list away."""
    others = [pairs[index - len(pairs) // 2] for index in range(len(pairs))]
    both = zip(pairs, others, strict=True)
    return [replace(pair, reference=other.reference, more=other.more) for pair, other in both]


def without_reference(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs, each with mid-grey for its references."""
    grey = [tuple(map(torch.zeros_like, pair.references)) for pair in pairs]
    return [replace(pair, reference=one[0], more=one[1:]) for pair, one in zip(pairs, grey, strict=True)]


def _filled(pair: Pair, task: Task, filling: Panel) -> Panel:
    """Return the target with another picture below its mask."""
    return torch.where(task.mask(pair).bool(), filling, pair.target)
