"""What became of one photograph, or of one pair made elsewhere: a pair, or the reason why there is none."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Generator

from anyrefill.curate.photos import Source
from anyrefill.pairs import Pair

__all__ = ["Outcome", "generator_of", "seed_of"]


def _nothing() -> Mapping[str, object]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one candidate.

    Attributes:
        done: candidates looked at, this one included.
        total: of them.
        sources: the files that it was made of.
        pair: what came of it, or None.
        reason: one sentence why there is no pair; empty if there is one.
        seed: of its own generator, None where there was no chance.
        parameters: what was drawn and measured, JSON values.
    """

    done: int
    total: int
    sources: tuple[Source, ...]
    pair: Pair | None = None
    reason: str = ""
    seed: int | None = None
    parameters: Mapping[str, object] = field(default_factory=_nothing)

    @property
    def name(self) -> str:
        """What to call it in a report."""
        return " + ".join(source.name for source in self.sources)


def seed_of(seed: int, task: str, name: str) -> int:
    """Return the seed of one candidate.

    It depends on nothing but the run's seed, the task and the name, so that a photograph more or fewer changes no
    other pair.
    """
    digest = hashlib.sha256("\0".join((str(seed), task, name)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # torch takes 63 bits


def generator_of(seed: int) -> Generator:
    """Return a generator on the CPU."""
    return torch.Generator().manual_seed(seed)
