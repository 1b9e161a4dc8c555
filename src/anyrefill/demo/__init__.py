"""The demonstration: every shipped task on photographs that no training saw."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from anyrefill import images
from anyrefill.backbone.embedded import EMBEDDED
from anyrefill.errors import UserError
from anyrefill.images import Fitted
from anyrefill.painter import Painter
from anyrefill.pairs import Pair, Photo
from anyrefill.types import Panel, Size

__all__ = ["PHOTOS", "Gallery", "NamedPhoto", "Picture", "Progress", "demonstrating", "read_photos"]

PHOTOS = EMBEDDED.parent / "photos"
"""The folder of the photographs: ``photos.json`` with caption, source and licence of each, and maybe NAME.mask.png."""


@dataclass(frozen=True, kw_only=True)
class NamedPhoto:
    """A bundled photograph.

    Attributes:
        name: of the file, without its extension.
        photo: pixels, caption, and the subject's mask where it is known.
        source: who made it.
        licence: under which it is given.
    """

    name: str
    photo: Photo
    source: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One task on one photograph.

    Attributes:
        task: name of the task.
        photo: name of the photograph.
        reference: what the painter was given.
        painted: what it made of it.
        truth: what would have been right; None where nobody knows.
        metric: the first of the task's metrics.
        score: of the painted panel, nan without a truth.
    """

    task: str
    photo: str
    reference: Panel
    painted: Panel
    truth: Panel | None
    metric: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Everything one task painted.

    Attributes:
        task: name of the task.
        summary: what the task does.
        steps: Euler steps.
        seconds: that one picture took.
        pictures: one for each photograph.
    """

    task: str
    summary: str
    steps: int
    seconds: float
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the demonstration of one task stands.

    Attributes:
        done: backbone calls made.
        total: of this task.
        gallery: at the end.
    """

    done: int
    total: int
    gallery: Gallery | None = None


def demonstrating(
    painter: Painter, photos: Sequence[NamedPhoto], *, steps: int | None = None, seed: int = 0
) -> Iterator[Progress]:
    """Paint one task on every photograph; yield after every call of the backbone, at last with the gallery.

    Args:
        painter: of a task that can make a reference from a photograph.
        photos: of the painter's size.
        steps: Euler steps.
        seed: of what chance there is in the references, and of the noise.
    """
    drawn = [_reference(painter, named, seed + index) for index, named in enumerate(photos)]
    began, painted = perf_counter(), list[Panel]()
    done = total = painter.calls(len(drawn), steps=steps)
    for stage in painter.painting([pair for pair, _ in drawn], steps=steps, seed=seed):
        painted += stage.panels
        yield Progress(done=stage.done, total=total)
    gallery = Gallery(
        task=painter.task.name,
        summary=painter.task.summary,
        steps=painter.steps if steps is None else steps,
        seconds=(perf_counter() - began) / max(1, len(drawn)),
        pictures=tuple(
            _picture(painter, named, pair, panel, known)
            for named, (pair, known), panel in zip(photos, drawn, painted, strict=True)
        ),
    )
    yield Progress(done=done, total=total, gallery=gallery)


def read_photos(size: Size, folder: Path = PHOTOS) -> list[NamedPhoto]:
    """Read the photographs of a folder.

    Raises:
        UserError: there is no ``photos.json``, or a picture it names cannot be read.
    """
    listing = folder / "photos.json"
    if not listing.is_file():
        raise UserError(f"There are no photographs for the demonstration: {listing} is missing.")
    facts: dict[str, dict[str, Any]] = json.loads(listing.read_text(encoding="utf-8"))
    return [_read_photo(folder / name, size, about) for name, about in sorted(facts.items())]


def _read_photo(path: Path, size: Size, about: dict[str, Any]) -> NamedPhoto:
    """Read one photograph, and its mask if there is one."""
    fitted: Fitted = images.fit(path, size)
    mask = path.with_name(f"{path.stem}.mask.png")
    foreground = images.to_mask(mask, size, fitted.native) if mask.is_file() else None
    photo = Photo(pixels=fitted.panel, foreground=foreground, caption=about.get("caption", ""))
    return NamedPhoto(
        name=path.stem, photo=photo, source=about.get("source", "unknown"), licence=about.get("licence", "unknown")
    )


def _reference(painter: Painter, named: NamedPhoto, seed: int) -> tuple[Pair, bool]:
    """Return a pair, and whether its target is the truth or only a place to paint on."""
    make, photo = painter.task.make, named.photo
    pair = make(photo, torch.Generator().manual_seed(seed)) if make else None
    if pair is not None:
        return pair, True
    return Pair(reference=photo.pixels, target=torch.zeros_like(photo.pixels), caption=photo.caption), False


def _picture(painter: Painter, named: NamedPhoto, pair: Pair, painted: Panel, known: bool) -> Picture:
    """Score one painted panel, if the truth is known."""
    metric, decode = painter.task.metrics[0], painter.task.decode
    return Picture(
        task=painter.task.name,
        photo=named.name,
        reference=pair.reference,
        painted=painted,
        truth=pair.target if known else None,
        metric=metric.__name__,
        score=metric(decode(painted), decode(pair.target)) if known else float("nan"),
    )
