"""Overlapping tiles: where they lie on a grid, what is cut out of it, and how they become one grid again.

Pure functions of tensors whose last two axes are the grid's, pixels and tokens alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from anyrefill.types import Size

__all__ = ["Tiles", "seam_ratio"]

Grid = Float[Tensor, "*B H W"]
Cut = Float[Tensor, "K *B h w"]


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Tiles of one size that cover a grid; neighbours overlap.

    Attributes:
        grid: (height, width) of what is covered.
        tile: (height, width) of each tile.
        corners: (top, left) of each tile.
    """

    grid: Size
    tile: Size
    corners: tuple[Size, ...]

    @classmethod
    def over(cls, grid: Size, tile: Size, overlap: Size) -> "Tiles":
        """Cover a grid with as few tiles as overlap at least that much, spread evenly.

        Raises:
            ValueError: the grid is smaller than a tile, or the overlap as large as one.
        """
        if grid[0] < tile[0] or grid[1] < tile[1] or overlap[0] >= tile[0] or overlap[1] >= tile[1]:
            raise ValueError(f"tiles of {tile} that overlap by {overlap} do not cover {grid}")
        tops, lefts = (_starts(grid[axis], tile[axis], overlap[axis]) for axis in (0, 1))
        return cls(grid=grid, tile=tile, corners=tuple((top, left) for top in tops for left in lefts))

    def __len__(self) -> int:
        """Return how many tiles there are."""
        return len(self.corners)

    def only(self, wanted: Sequence[bool]) -> "Tiles":
        """Return some of the tiles; the rest of the grid is then covered by none."""
        kept = (corner for corner, keep in zip(self.corners, wanted, strict=True) if keep)
        return Tiles(grid=self.grid, tile=self.tile, corners=tuple(kept))

    def scaled(self, factor: int) -> "Tiles":
        """Return the same tiles on a grid that is that many times finer."""

        def times(size: Size) -> Size:
            return size[0] * factor, size[1] * factor

        return Tiles(grid=times(self.grid), tile=times(self.tile), corners=tuple(map(times, self.corners)))

    def cut(self, whole: Grid) -> Cut:
        """Return what lies below each tile."""
        height, width = self.tile
        return torch.stack([whole[..., top : top + height, left : left + width] for top, left in self.corners])

    def merge(self, parts: Cut) -> Grid:
        """Return the grid again: where tiles overlap their mean, weights falling from a tile's middle to its edges.

        What no tile covers is 0.
        """
        height, width = self.tile
        weight = (_tent(height)[:, None] * _tent(width)).to(parts)
        whole, total = parts.new_zeros(*parts.shape[1:-2], *self.grid), parts.new_zeros(self.grid)
        for part, (top, left) in zip(parts, self.corners, strict=True):
            whole[..., top : top + height, left : left + width] += weight * part
            total[top : top + height, left : left + width] += weight
        return whole / total.clamp_min(torch.finfo(total.dtype).tiny)

    def seams(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the rows and columns in the middle of every overlap: where the nearest tile changes."""
        tops, lefts = (sorted({corner[axis] for corner in self.corners}) for axis in (0, 1))
        return _middles(tops, self.tile[0]), _middles(lefts, self.tile[1])


def seam_ratio(picture: Grid, tiles: Tiles) -> float:
    """Return the mean squared step across the seams over that across all other rows and columns; 1 is no seam.

    Args:
        picture: (..., H, W) on the tiles' grid.
        tiles: whose ``seams`` are looked at; nan without any.
    """
    here, elsewhere = list[Tensor](), list[Tensor]()
    for turned, seams in zip((picture, picture.mT), tiles.seams(), strict=True):
        energy = turned.diff(dim=-2).pow(2).mean(-1).flatten(0, -2).mean(0)
        at = torch.zeros(len(energy), dtype=torch.bool)
        at[[seam - 1 for seam in seams]] = True
        here.append(energy[at])
        elsewhere.append(energy[~at])
    return float(torch.cat(here).mean() / torch.cat(elsewhere).mean())


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Return where tiles begin along one axis."""
    count = -(-(length - overlap) // (tile - overlap))
    return [round(index * (length - tile) / max(1, count - 1)) for index in range(max(1, count))]


def _middles(starts: list[int], tile: int) -> tuple[int, ...]:
    """Return the middles of the overlaps of neighbours along one axis."""
    return tuple((after + before + tile) // 2 for before, after in pairwise(starts))


def _tent(length: int) -> Tensor:
    """Return weights that rise from the edges to the middle."""
    return length / 2 - (torch.arange(length) + 0.5 - length / 2).abs()
