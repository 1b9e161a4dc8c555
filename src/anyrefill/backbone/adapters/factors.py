"""The two factors of one layer's LoRA, and the arithmetic of several layers in one matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Factors", "fuse", "split", "swap"]


@dataclass(frozen=True, kw_only=True)
class Factors:
    """What a LoRA does to one matrix: W gains alpha / rank * up @ down.

    Attributes:
        down: A of the paper, (rank, columns of W).
        up: B of the paper, (rows of W, rank).
        alpha: as its file states it.
    """

    down: Tensor
    up: Tensor
    alpha: int | float

    @property
    def rank(self) -> int:
        """Return the inner width."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """Return what the product is multiplied with."""
        return self.alpha / self.rank


def fuse(parts: Sequence[Factors | None], rows: Sequence[int]) -> Factors:
    """Return the one LoRA of matrices stacked on top of each other: ups in a block diagonal, downs stacked.

    Exact, at the sum of the ranks. Where the parts are scaled differently, the scales go into the ups.

    Args:
        parts: of each matrix, or None for one that has no LoRA; at least one has.
        rows: of each matrix.
    """
    present = [part for part in parts if part is not None]
    rank = sum(part.rank for part in present)
    alike = all(part.scale == present[0].scale for part in present)
    ups = [
        present[0].up.new_zeros(height, 0) if part is None else part.up if alike else _scaled(part)
        for part, height in zip(parts, rows, strict=True)
    ]
    return Factors(
        down=torch.cat([part.down for part in present]),
        up=torch.block_diag(*ups),
        alpha=present[0].alpha * rank / present[0].rank if alike else rank,
    )


def split(whole: Factors, rows: Sequence[int], named: Sequence[bool]) -> list[Factors | None]:
    """Undo ``fuse``: return a LoRA for each of the stacked matrices, of no more columns than its rows make use of.

    A LoRA that was trained on the stacked matrix is split too: its parts then share all of ``down``.

    Args:
        whole: of the stacked matrix.
        rows: of each matrix.
        named: which matrices are known to have a LoRA, even if it does nothing yet.

    Returns:
        None for a matrix that has none: not named, and all its rows are zero. If that were all, they all have one.
    """
    ups = whole.up.split(list(rows))
    wanted = [name or bool(up.any()) for name, up in zip(named, ups, strict=True)]
    wanted = wanted if any(wanted) else [True] * len(ups)
    columns = _columns(ups, wanted)
    return [
        Factors(down=whole.down[used], up=up[:, used], alpha=whole.alpha * len(used) / whole.rank) if keep else None
        for up, keep, used in zip(ups, wanted, columns, strict=True)
    ]


def swap(factors: Factors) -> Factors:
    """Exchange the upper half of the rows with the lower one."""
    up = factors.up
    return Factors(down=factors.down, up=up.roll(up.shape[0] // 2, 0), alpha=factors.alpha)


def _scaled(part: Factors) -> Tensor:
    """Return an up that needs no alpha."""
    return (part.up.float() * part.scale).to(part.up.dtype)


def _columns(ups: Sequence[Tensor], wanted: Sequence[bool]) -> list[list[int]]:
    """Return the columns that belong to each part: equal shares if they are block-diagonal so, else those not zero."""
    rank, count = ups[0].shape[1], sum(wanted)
    used = [up.any(dim=0).nonzero().flatten().tolist() for up in ups]
    places = [sum(wanted[:index]) for index in range(len(ups))]
    shares = [list(range(place * rank // count, (place + 1) * rank // count)) for place in places]
    in_shares = rank % count == 0 and all(set(mine) <= set(share) for mine, share in zip(used, shares, strict=True))
    return shares if in_shares else [mine or [0] for mine in used]
