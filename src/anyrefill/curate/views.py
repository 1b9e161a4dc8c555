"""Pairs for reference inpainting: two views of a scene, and a hole in the second.

Views come from folders, one for each scene, or from MegaDepth's scene files (`megadepth`). How much two views share is
measured by a matcher: the hull of the matches that agree on one epipolar geometry, as a share of the panel, in the view
where that is smaller. Matches never reach the rim of what is visible in both, so this is less than the true overlap.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from anyrefill import images
from anyrefill.curate.annotators import Matcher
from anyrefill.curate.masks import FEWEST, Matches, Silhouette, draw_hole
from anyrefill.curate.outcome import Outcome, generator_of, seed_of
from anyrefill.curate.photos import Source, find_photos, read_photo, square
from anyrefill.errors import UserError
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task
from anyrefill.types import Size

__all__ = ["OVERLAP", "Views", "from_views", "list_views", "overlap_of", "read_shapes"]

OVERLAP = (0.4, 0.7)
"""Share of a view that the other must show. Source: arXiv 2502.11158, section IV, Datasets."""

SHAPE = 256
"""Side in pixels at which silhouettes of objects are read."""

MATCHED = 512
"""Side in pixels at which views are matched at least; key-points are scarce in small panels."""

EPIPOLAR = 2.0
"""Pixels that a match may be off its epipolar line."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """Two views of a scene.

    Attributes:
        reference: the left one.
        target: the one with the hole.
        overlap: how much of it the reference shows, where that is known.
    """

    reference: Source
    target: Source
    overlap: float | None = None


def list_views(photos: Sequence[Source], *, per_scene: int = 100, seed: int = 0) -> list[Views]:
    """List pairs of views; photographs in one folder show one scene.

    Args:
        photos: of `find_photos`.
        per_scene: pairs of a scene at most; of more, that many are drawn.
        seed: of the draw, and of which of the two is the reference.

    Raises:
        UserError: no folder holds two photographs.
    """
    scenes: dict[str, list[Source]] = defaultdict(list)
    for photo in photos:
        scenes[str(Path(photo.name).parent)].append(photo)
    listed = [
        views for name, scene in scenes.items() for views in _draw(scene, per_scene, seed_of(seed, "scene", name))
    ]
    if not listed:
        raise UserError("No folder holds two photographs: put the views of each scene into a folder of their own.")
    return listed


def from_views(
    task: Task,
    views: Sequence[Views],
    *,
    side: int,
    matcher: Matcher | None = None,
    seed: int = 0,
    shapes: Sequence[Silhouette] = (),
    overlap: tuple[float, float] = OVERLAP,
) -> Iterator[Outcome]:
    """Make a pair of each two views; yield what became of them, in order.

    Args:
        task: whose pairs to make.
        views: of `list_views` or `megadepth.read_scene`.
        side: of the square panels in pixels, a multiple of 16.
        matcher: for the overlap, where it is not known, and for matching-based holes; without it all views count and
            all holes are random.
        seed: of the run.
        shapes: silhouettes for random holes, see `masks.object_shape`.
        overlap: smallest and largest share that both views must show.
    """
    for done, two in enumerate(views, start=1):
        name = f"{two.reference.name} + {two.target.name}"
        outcome = Outcome(
            done=done, total=len(views), sources=(two.reference, two.target), seed=seed_of(seed, task.name, name)
        )
        try:
            yield _make(outcome, two, side, matcher, shapes, overlap)
        except UserError as error:
            yield replace(outcome, reason=str(error))


def overlap_of(matches: Matches, size: Size) -> float:
    """Return how much two views share: the hull of the matches, see above, the smaller of the two shares.

    Args:
        matches: of the two views; fewer than 10 that agree count as nothing.
        size: (height, width) of both panels.
    """
    left, right = (points.numpy().astype("float32") for points in (matches.reference, matches.target))
    if len(left) < FEWEST:
        return 0.0
    agreeing: Any = cv2.findFundamentalMat(left, right, cv2.USAC_MAGSAC, EPIPOLAR, 0.999, 2000)[1]
    keep = np.zeros(len(left), bool) if agreeing is None else agreeing.ravel() > 0  # None: no geometry fits
    if keep.sum() < FEWEST:
        return 0.0
    return min(float(cv2.contourArea(cv2.convexHull(points[keep]))) for points in (left, right)) / (size[0] * size[1])


def read_shapes(folder: Path) -> list[Silhouette]:
    """Read silhouettes, white on black or in an alpha channel, for random holes.

    Raises:
        UserError: the folder is missing or empty, or a picture in it is no mask.
    """
    shapes: list[Silhouette] = []
    for source in find_photos(folder):
        native = images.fit(source.path).native
        shapes.append(images.to_mask(source.path, (SHAPE, SHAPE), native))
    return shapes


def _make(
    outcome: Outcome,
    views: Views,
    side: int,
    matcher: Matcher | None,
    shapes: Sequence[Silhouette],
    overlap: tuple[float, float],
) -> Outcome:
    """Return what becomes of two views."""
    reference, target = read_photo(views.reference, side), read_photo(views.target, side)
    matches = _matched(views, side, matcher) if matcher else None
    share = views.overlap if views.overlap is not None or matches is None else overlap_of(matches, (side, side))
    drawn: dict[str, object] = {}
    if matcher and matches is not None:
        drawn |= {"matcher": matcher.name, "confident_matches": len(matches.confident().confidence)}
    if share is not None:
        drawn |= {"overlap": round(share, 4), "overlap_from": "scene file" if views.overlap is not None else "matches"}
        if not overlap[0] <= share <= overlap[1]:
            wanted = f"{overlap[0]:.0%} to {overlap[1]:.0%}"
            return replace(outcome, reason=f"Its views share {share:.1%}, not {wanted}.", parameters=drawn)
    return _with_hole(replace(outcome, parameters=drawn), reference, target, matches, shapes)


def _matched(views: Views, side: int, matcher: Matcher) -> Matches:
    """Match two views at a size that has enough key-points; the points are in pixels of panels of the given side."""
    fine = max(side, MATCHED)
    panels = [images.to_panel(square(images.load(one.path), fine)) for one in (views.reference, views.target)]
    found = matcher(panels[0], panels[1])
    scale = side / fine
    return replace(found, reference=found.reference * scale, target=found.target * scale)


def _with_hole(
    outcome: Outcome, reference: Photo, target: Photo, matches: Matches | None, shapes: Sequence[Silhouette]
) -> Outcome:
    """Return the pair of two views with a hole drawn by the outcome's own seed."""
    size = (target.pixels.shape[1], target.pixels.shape[2])
    hole = draw_hole(size, generator_of(outcome.seed or 0), matches, shapes)
    pair = Pair(
        reference=reference.pixels,
        target=target.pixels,
        mask=hole.mask,
        caption=target.caption or reference.caption,
    )
    return replace(outcome, pair=pair, parameters={**outcome.parameters, "hole": hole.kind})


def _two_of(count: int, index: int) -> tuple[int, int]:
    """Return the places of the two that `itertools.combinations` gives at an index, without making those before."""
    first, left = 0, index
    while left >= count - 1 - first:
        left -= count - 1 - first
        first += 1
    return first, first + 1 + left


def _draw(scene: Sequence[Source], most: int, seed: int) -> list[Views]:
    """Return pairs of one scene, in order, each in a direction of its own."""
    generator = generator_of(seed)
    total = math.comb(len(scene), 2)
    chosen = range(total) if total <= most else sorted(torch.randperm(total, generator=generator)[:most].tolist())
    pairs = [(scene[first], scene[second]) for first, second in (_two_of(len(scene), index) for index in chosen)]
    turned = (torch.rand(len(pairs), generator=generator) < 0.5).tolist()
    return [
        Views(reference=b if turn else a, target=a if turn else b) for (a, b), turn in zip(pairs, turned, strict=True)
    ]
