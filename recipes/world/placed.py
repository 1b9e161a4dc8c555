"""Rendered portraits placed in photographs, so that an edit is learnt wherever a person stands, however large.

    for pair in placed_pairs(age_edits("train"), places, seed=0): ...

Both states of a person are pasted at one place and size, in tones of one draw, and what is below the portrait's edge
goes on downwards as it ends. Every `EMPTY`-th pair of those to train on shows nobody, and nothing changes in it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from anyrefill.pairs import Pair, Photo, mirrored
from anyrefill.types import Mask, Panel
from recipes.world.render_pairs import Edit, mask, panel

EMPTY = 8
"""One in so many pairs to train on shows a photograph without anybody."""
SIZES = (0.3, 1.25)
"""Sides of a placed portrait, as shares of the panel's."""


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Where a portrait goes: its side and its left upper corner, in pixels."""

    side: int
    x: int
    y: int


def placed_pairs(
    edits: Iterable[Edit], places: Iterable[Photo], seed: int, *, empty: int | None = EMPTY
) -> Iterator[Pair]:
    """Yield each edit in a photograph of its own; the mask is where the person is in either picture.

    Args:
        edits: of portraits as large as the photographs.
        places: photographs, at least as many as edits.
        seed: of sizes, spots, tones and turns.
        empty: one in so many pairs shows its photograph without anybody, and nothing changes; None: no pair does.
    """
    for index, (edit, place) in enumerate(zip(edits, places, strict=False)):
        if empty is not None and index % empty == empty - 1:
            yield Pair(reference=place.pixels, target=place.pixels, caption=edit.words)
        else:
            yield placed(edit, place, np.random.default_rng([71, seed, index]))


def placed(edit: Edit, place: Photo, random: np.random.Generator) -> Pair:
    """Return both portraits of an edit at one random spot of a photograph, half of the time mirrored."""
    spot, curve = a_spot(place.pixels.shape[1], random), a_curve(random)
    shots = (edit.before, edit.after)
    layers = [layer(curve(panel(shot.path)), mask(shot.mask), spot, place.pixels.shape[1]) for shot in shots]
    before, after = (place.pixels * (1 - alpha) + pixels for pixels, alpha in layers)
    seen = torch.maximum(layers[0][1], layers[1][1])
    pair = Pair(
        reference=before,
        target=after,
        mask=(seen > 0).float(),
        caption=edit.words,
        extra=edit.told | {"place": place.caption},
    )
    return mirrored(pair) if random.random() < 0.5 else pair


def a_spot(panel: int, random: np.random.Generator) -> Spot:
    """Return a spot with all but a fifth of the portrait's width, and its head, inside of the panel."""
    side = round(panel * random.uniform(*SIZES))
    most = max(0, panel - round(0.8 * side))
    x, y = (int(random.integers(-(side // part), most + 1)) for part in (5, 10))
    return Spot(side=side, x=x, y=y)


def layer(pixels: Panel, there: Mask, spot: Spot, side: int) -> tuple[Panel, Mask]:
    """Return a portrait at its spot of a panel: its pixels times how opaque they are, and how opaque they are.

    The person's edge is drawn in by half a pixel, as the portrait's backdrop shines through it.
    """
    inside = (2 * cv2.GaussianBlur(there[0].numpy(), (0, 0), 0.7) - 1).clip(0, 1)[..., None]
    weighted = np.concatenate([pixels.permute(1, 2, 0).numpy() * inside, inside], axis=2)
    small = cv2.resize(weighted, (spot.side, spot.side), interpolation=cv2.INTER_AREA)
    rows, columns = np.arange(side) - spot.y, np.arange(side) - spot.x
    out = small[rows.clip(0, spot.side - 1)][:, columns.clip(0, spot.side - 1)]
    out[rows < 0] = 0
    out[:, (columns < 0) | (columns >= spot.side)] = 0
    whole = torch.from_numpy(out).permute(2, 0, 1).float()
    return whole[:3], whole[3:]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Tones as another camera might give them: a power, then a gain of each channel, of the range from 0 to 1."""

    power: float
    gains: torch.Tensor

    def __call__(self, pixels: Panel) -> Panel:
        """Return (3, H, W) in [-1, 1] in these tones."""
        return 2 * (self.gains * ((pixels + 1) / 2) ** self.power).clamp(0, 1) - 1


def a_curve(random: np.random.Generator) -> Curve:
    """Draw tones."""
    gains = torch.from_numpy(random.uniform(0.85, 1.15, 3)).float().reshape(3, 1, 1)
    return Curve(power=float(random.uniform(0.7, 1.3)), gains=gains)
