"""Sampling a canvas beyond the size that the model was trained on: by overlapping tiles that agree at every step."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Generator

from anyrefill import flow
from anyrefill.backbone import Attention, Backbone
from anyrefill.backbone.latents import unpack
from anyrefill.canvas import Canvas
from anyrefill.flow import Solver
from anyrefill.sample.batch import Step, check_run, condition_of, draw_noise, stepping
from anyrefill.sample.fields import guided
from anyrefill.tiles import Tiles
from anyrefill.types import Sheet, SheetMask, Size, Tokens

__all__ = ["Large", "large_sheet", "sampling_large"]

TOKEN = 16
"""Pixels on a side."""

TileTokens = Float[torch.Tensor, "K n D"]
"""The tokens of each tile's canvas."""


@dataclass(frozen=True, kw_only=True)
class Large:
    """A canvas, and the tiles that paint it: the same cut of every panel, stitched, is a canvas of the trained size.

    Attributes:
        canvas: the whole.
        tiles: of each panel, in tokens; those that paint nothing are left out.
    """

    canvas: Canvas
    tiles: Tiles

    @classmethod
    def of(cls, canvas: Canvas, tile: Size, overlap: float = 0.25) -> "Large":
        """Cover a canvas.

        Args:
            canvas: each panel at least as large as a tile.
            tile: (height, width) of a panel that the model was trained on, in pixels.
            overlap: of neighbours, at least, as a share of a tile, in [0, 1).
        """
        side = tile[0] // TOKEN, tile[1] // TOKEN
        rows, columns = canvas.height // TOKEN, canvas.width // TOKEN // (canvas.references + 1)
        tiles = Tiles.over((rows, columns), side, (round(overlap * side[0]), round(overlap * side[1])))
        holes = tiles.scaled(TOKEN).cut(canvas.panel(canvas.mask))
        return cls(canvas=canvas, tiles=tiles.only(holes.flatten(1).any(1).tolist()))

    def canvases(self) -> list[Canvas]:
        """Return the canvas of each tile."""
        pixels, masks = (self._cut(sheet) for sheet in (self.canvas.pixels, self.canvas.mask))
        return [replace(self.canvas, pixels=one, mask=mask) for one, mask in zip(pixels, masks, strict=True)]

    def cut(self, tokens: Tokens) -> TileTokens:
        """Return the tokens of each tile (K, N, D) of the whole canvas's (1, M, D)."""
        panels = rearrange(tokens, "1 (h p w) D -> p D h w", h=self.tiles.grid[0], w=self.tiles.grid[1])
        return rearrange(self.tiles.cut(panels), "K p D h w -> K (h p w) D")

    def blend(self, tokens: Tokens) -> Tokens:
        """Return tokens (K, N, D) of tiles that agree where they overlap.

        Source: arXiv 2302.08113 (MultiDiffusion), eq. 5, with weights that fall towards a tile's edges.
        """
        parts = rearrange(tokens, "K (h p w) D -> K p D h w", h=self.tiles.tile[0], w=self.tiles.tile[1])
        return rearrange(self.tiles.cut(self.tiles.merge(parts)), "K p D h w -> K (h p w) D")

    def join(self, sheets: torch.Tensor) -> Sheet:
        """Return the whole sheet of the tiles' (K, C, h, p * w); 0 where there is no tile."""
        count = self.canvas.references + 1
        merged = self.tiles.scaled(TOKEN).merge(rearrange(sheets, "K C h (p w) -> K C p h w", p=count))
        return rearrange(merged, "C p H W -> C H (p W)")

    def covered(self) -> SheetMask:
        """Return 1 on every panel where there is a tile."""
        merged = self.tiles.scaled(TOKEN).merge(torch.ones(len(self.tiles), 1, *self.tiles.scaled(TOKEN).tile))
        return (merged > 0).float().repeat(1, 1, self.canvas.references + 1)

    def _cut(self, sheet: torch.Tensor) -> torch.Tensor:
        """Return the part of a sheet (C, H, p * W) below each tile, panels stitched again."""
        panels = rearrange(sheet, "C H (p W) -> C p H W", p=self.canvas.references + 1)
        return rearrange(self.tiles.scaled(TOKEN).cut(panels), "K C p h w -> K C h (p w)")


def sampling_large(
    backbone: Backbone,
    large: Large,
    prompt: str,
    *,
    seed: int,
    steps: int = 50,
    guidance: float = 30.0,
    solver: Solver = "euler",
    attention: Attention = "full",
    temperature: float = 1.0,
    reference_guidance: float = 1.0,
    caption_guidance: float = 1.0,
    batch_size: int = 8,
) -> Iterator[Step]:
    """Yield after every step of all tiles: noise is drawn for the whole, and velocities are blended where they overlap.

    Arguments and errors are those of ``sampling``; ``batch_size`` tiles go through the backbone together, and the
    latents of a step are the tiles' (K, N, D).
    """
    canvases = large.canvases()
    groups = [canvases[first : first + batch_size] for first in range(0, len(canvases), batch_size)]
    check_run(steps, solver, guidance, temperature, reference_guidance, caption_guidance)
    sigmas = flow.schedule(steps, canvases[0].tokens)
    one = Generator().manual_seed(seed)
    conditions = [condition_of(backbone, group, [prompt] * len(group), [one] * len(group)) for group in groups]
    noise = temperature * large.cut(draw_noise(conditions[0], large.canvas, [one]))
    fields = [
        guided(
            backbone, group, condition, part, sigmas, [one] * len(group), guidance=guidance, attention=attention,
            reference_guidance=reference_guidance, caption_guidance=caption_guidance,
        )
        for group, condition, part in zip(groups, conditions, noise.split(batch_size), strict=True)
    ]  # fmt: skip

    def blended(latents: Tokens, sigma: float) -> Tokens:
        parts = zip(fields, latents.split(batch_size), strict=True)
        return large.blend(torch.cat([field(part, sigma) for field, part in parts]))

    yield from stepping(blended, noise, sigmas, solver)


@torch.no_grad()
def large_sheet(backbone: Backbone, large: Large, latents: Tokens, batch_size: int = 8) -> Sheet:
    """Decode every tile and join them, in float32 on the CPU; nothing is pasted yet."""
    height, width = (TOKEN * side for side in large.tiles.tile)
    width *= large.canvas.references + 1
    parts = [
        backbone.decode(unpack(part, height, width)).to("cpu", torch.float32) for part in latents.split(batch_size)
    ]
    return large.join(torch.cat(parts))
