"""Holes for reference inpainting: random ones, and ones where two views surely show the same.

The mixture: 75 % random and 25 % matching-based; a match that fails falls back to random. Of the random ones 40 % are
irregular strokes, 40 % object shapes, 20 % the union of one of each. Source of the mixture: arXiv 2502.11158, section
IV; of the shares and of the matching-based mask: ewrfcas/LeftRefill, dataloaders/inpainting_crossview_dataset.py.

Strokes and shapes are files in LeftRefill; here strokes are drawn, and shapes are silhouettes that the caller has, or
else drawn blobs and boxes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from anyrefill.types import Mask, Size

__all__ = ["Hole", "Matches", "Silhouette", "draw_hole", "matching", "object_shape", "random_hole", "strokes"]

Silhouette = Float[Tensor, "1 _ _"]
"""1 on an object, of any size."""

MATCHING_SHARE = 0.25
"""Of the holes are where both views match, if they do."""

CONFIDENT = 0.8
"""A match counts if its confidence is above this share of the largest."""

FEWEST = 10
"""Points that a matching-based mask needs at least."""

AREA = (0.2, 0.5)
"""Of the panel, that the rectangle has whose points become vertices; all points where they span less."""

VERTICES = (15, 30)
"""Of the closed polyline, at most."""

WIDTH = (35, 70)
"""Of the polyline, in pixels of a panel whose shorter side has 256."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Points that two views of a scene share.

    Attributes:
        reference: (x, y) in pixels of the reference.
        target: (x, y) of the same points in pixels of the target.
        confidence: of each match, in [0, 1].
    """

    reference: Float[Tensor, "M 2"]
    target: Float[Tensor, "M 2"]
    confidence: Float[Tensor, " M"]

    def confident(self) -> "Matches":
        """Return the matches whose confidence is above 0.8 of the largest."""
        keep = self.confidence > CONFIDENT * self.confidence.max() if len(self.confidence) else self.confidence > 0
        return Matches(reference=self.reference[keep], target=self.target[keep], confidence=self.confidence[keep])


@dataclass(frozen=True, kw_only=True)
class Hole:
    """A mask, and how it came about.

    Attributes:
        mask: 1 = paint.
        kind: ``strokes``, ``shape``, ``strokes and shape``, or ``matching``.
    """

    mask: Mask
    kind: str


def draw_hole(
    size: Size, generator: Generator, matches: Matches | None = None, shapes: Sequence[Silhouette] = ()
) -> Hole:
    """Draw a hole of the mixture.

    Args:
        size: (height, width) of the panel in pixels.
        generator: of all chance.
        matches: of the two views; without them all holes are random.
        shapes: silhouettes of objects, of any size; without them they are drawn.
    """
    wants_matching = _uniform(generator) < MATCHING_SHARE
    found = matching(size, generator, matches) if wants_matching and matches is not None else None
    return random_hole(size, generator, shapes) if found is None else Hole(mask=found, kind="matching")


def random_hole(size: Size, generator: Generator, shapes: Sequence[Silhouette] = ()) -> Hole:
    """Draw strokes (40 %), an object shape (40 %), or the union of both (20 %)."""
    draw = _uniform(generator)
    if draw < 0.4:
        return Hole(mask=strokes(size, generator), kind="strokes")
    shape = object_shape(size, generator, shapes)
    if draw < 0.8:
        return Hole(mask=shape, kind="shape")
    return Hole(mask=torch.maximum(shape, strokes(size, generator)), kind="strokes and shape")


def matching(size: Size, generator: Generator, matches: Matches) -> Mask | None:
    """Draw a closed polyline through points that surely are in both views, a disc at each vertex.

    Of the confident matches, those in a random rectangle of 20-50 % of the panel's area (all, where they span less)
    are put in random order; the first 15-30 are the vertices, the width is 35-70 px at 256 px.

    Returns:
        the mask, or None where fewer than 10 points are left.
    """
    height, width = size
    points = matches.confident().target
    inside = (points >= 0).all(dim=1) & (points[:, 0] < width) & (points[:, 1] < height)
    points = _within_rectangle(points[inside], height * width * _between(AREA, generator), generator)
    if len(points) < FEWEST:
        return None
    order = torch.randperm(len(points), generator=generator)[: _integer(*VERTICES, generator)]
    thickness = _integer(WIDTH[0], WIDTH[1] - 1, generator) * min(size) / 256
    return _polyline(size, points[order], thickness, closed=True)


def strokes(size: Size, generator: Generator) -> Mask:
    """Draw 1-4 wandering brush strokes of 4-12 vertices, 6-16 % of the shorter side wide."""
    mask = torch.zeros(1, *size)
    for _ in range(_integer(1, 4, generator)):
        path = _wandering(size, _integer(4, 12, generator), generator)
        thickness = max(1.0, min(size) * _between((0.06, 0.16), generator))
        mask = torch.maximum(mask, _polyline(size, path, thickness, closed=False))
    return mask


def object_shape(size: Size, generator: Generator, shapes: Sequence[Silhouette] = ()) -> Mask:
    """Place one of the given silhouettes, or draw a blob (3 in 4) or a box (1 in 4), 30-70 % of the panel's sides."""
    height, width = (max(2, round(side * _between((0.3, 0.7), generator))) for side in size)
    if shapes:
        silhouette = shapes[_integer(0, len(shapes) - 1, generator)]
        placed = interpolate(_cropped(silhouette)[None], (height, width), mode="nearest")[0]
    elif _uniform(generator) < 0.75:
        placed = _blob((height, width), generator)
    else:
        placed = torch.ones(1, height, width)
    top, left = _integer(0, size[0] - height, generator), _integer(0, size[1] - width, generator)
    mask = torch.zeros(1, *size)
    mask[:, top : top + height, left : left + width] = placed
    return mask


def _within_rectangle(points: Float[Tensor, "M 2"], area: float, generator: Generator) -> Float[Tensor, "K 2"]:
    """Return the points in a random rectangle of that area, with the proportions of the box around all of them."""
    if len(points) < FEWEST:
        return points
    corner, spans = points.amin(dim=0), points.amax(dim=0) - points.amin(dim=0)
    whole = spans.prod().item()
    if whole <= area:
        return points if whole > 0 else points[:0]
    sides = spans * math.sqrt(area / whole)
    start = corner + (spans - sides) * torch.rand(2, generator=generator)
    return points[((points > start) & (points < start + sides)).all(dim=1)]


def _wandering(size: Size, vertices: int, generator: Generator) -> Float[Tensor, "K 2"]:
    """Return a path that begins anywhere, keeps its direction roughly, and stays on the panel."""
    ends = torch.tensor([size[1] - 1.0, size[0] - 1.0])
    turns = (torch.rand(vertices - 1, generator=generator) * 2 - 1) * 1.5
    headings = turns.cumsum(dim=0) + 2 * math.pi * _uniform(generator)
    lengths = min(size) * (0.08 + 0.17 * torch.rand(vertices - 1, generator=generator))
    hops = torch.stack([headings.cos(), headings.sin()], dim=1) * lengths[:, None]
    begin = torch.rand(1, 2, generator=generator) * ends
    path = torch.cat([begin, begin + hops.cumsum(dim=0)])
    return torch.minimum(path.clamp_min(0), ends)


def _blob(size: Size, generator: Generator) -> Mask:
    """Draw a smooth closed outline: a circle whose radius has five harmonics, stretched to the size."""
    angles = torch.linspace(0, 2 * math.pi, 97)[:-1]
    radius = torch.ones_like(angles)
    for harmonic in range(2, 7):
        phase = 2 * math.pi * _uniform(generator)
        radius = radius + _between((0.0, 0.5), generator) / harmonic * torch.cos(harmonic * angles + phase)
    outline = torch.stack([radius * angles.cos(), radius * angles.sin()], dim=1)
    low, high = outline.amin(dim=0), outline.amax(dim=0)
    outline = (outline - low) / (high - low) * torch.tensor([size[1] - 1.0, size[0] - 1.0])
    canvas = np.zeros(size, np.uint8)
    cv2.fillPoly(canvas, [_rounded(outline)], 1)
    return _mask(canvas)


def _polyline(size: Size, points: Float[Tensor, "K 2"], thickness: float, *, closed: bool) -> Mask:
    """Draw a polyline with a disc at each vertex."""
    canvas, vertices = np.zeros(size, np.uint8), _rounded(points)
    cv2.polylines(canvas, [vertices], closed, 1, max(1, round(thickness)))
    for x, y in vertices.tolist():
        cv2.circle(canvas, (x, y), round(thickness / 2), 1, -1)
    return _mask(canvas)


def _rounded(points: Float[Tensor, "K 2"]) -> Int32[np.ndarray, "K 2"]:
    """Return points as OpenCV draws them."""
    return points.round().numpy().astype(np.int32)


def _mask(canvas: np.ndarray) -> Mask:
    """Return OpenCV's drawing as a mask."""
    return torch.from_numpy(canvas.astype(np.float32))[None]


def _cropped(silhouette: Silhouette) -> Silhouette:
    """Return a silhouette without the empty rows and columns around it."""
    rows, columns = silhouette[0].any(dim=1).nonzero(), silhouette[0].any(dim=0).nonzero()
    if not len(rows):
        return torch.ones_like(silhouette)
    return silhouette[:, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]


def _uniform(generator: Generator) -> float:
    """Return a number in [0, 1)."""
    return torch.rand((), generator=generator).item()


def _between(ends: tuple[float, float], generator: Generator) -> float:
    """Return a number between two."""
    return ends[0] + (ends[1] - ends[0]) * _uniform(generator)


def _integer(low: int, high: int, generator: Generator) -> int:
    """Return a whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))
