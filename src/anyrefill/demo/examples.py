"""What the demonstration paints from: bundled photographs, and bundled pairs where a photograph makes none."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from anyrefill import images
from anyrefill.backbone.embedded import EMBEDDED
from anyrefill.errors import UserError
from anyrefill.pairs import Pair, PairFolder, Photo
from anyrefill.tasks import Task, as_is
from anyrefill.types import Size

__all__ = ["PHOTOS", "Example", "NamedPhoto", "examples", "read_photos"]

PHOTOS = EMBEDDED.parent / "photos"
"""The folder of the photographs: ``photos.json`` with caption, source and licence of each, maybe NAME.mask.png; and
below ``pairs`` a folder of pairs for each task that cannot make them of photographs."""


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
class Example:
    """Something to paint.

    Attributes:
        name: of the photograph or pair.
        pair: reference and caption; the target is the truth, or only a place to paint on.
        known: whether the target is the truth.
        source: who made the pictures.
        licence: under which they are given.
    """

    name: str
    pair: Pair
    known: bool
    source: str
    licence: str


def examples(task: Task, size: Size, folder: Path = PHOTOS, seed: int = 0) -> list[Example]:
    """Return what a task is shown on: its bundled pairs if there are any, else what it makes of the photographs.

    Args:
        task: to be shown.
        size: (height, width) of a panel.
        folder: of the photographs.
        seed: of what chance there is in the references; the next photograph's is one more.

    Raises:
        UserError: there is no ``photos.json``, or a picture cannot be read.
    """
    bundled = folder / "pairs" / task.name
    if bundled.is_dir():
        return [_bundled(number, pair) for number, pair in enumerate(PairFolder(bundled, size), start=1)]
    photos = read_photos(size, folder)
    made = (_made(task, named, seed + index) for index, named in enumerate(photos))
    return [example for example in made if example is not None]


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


def _bundled(number: int, pair: Pair) -> Example:
    """Return a bundled pair under its number."""
    source, licence = (_fact(pair.extra, key) for key in ("source", "licence"))
    return Example(name=f"pair {number}", pair=pair, known=True, source=source, licence=licence)


def _fact(extra: Mapping[str, object], key: str) -> str:
    return str(extra.get(key, "unknown"))


def _made(task: Task, named: NamedPhoto, seed: int) -> Example | None:
    """Return what a task makes of a photograph; the photograph itself where the task reads something off it."""
    photo = named.photo
    pair = task.make(photo, torch.Generator().manual_seed(seed)) if task.make else None
    known = pair is not None
    if pair is None and task.make is not None and task.decode is not as_is:
        pair = Pair(reference=photo.pixels, target=torch.zeros_like(photo.pixels), caption=photo.caption)
    if pair is None:
        return None
    return Example(name=named.name, pair=pair, known=known, source=named.source, licence=named.licence)


def _read_photo(path: Path, size: Size, about: dict[str, Any]) -> NamedPhoto:
    """Read one photograph, and its mask if there is one."""
    fitted = images.fit(path, size)
    mask = path.with_name(f"{path.stem}.mask.png")
    foreground = images.to_mask(mask, size, fitted.native) if mask.is_file() else None
    photo = Photo(pixels=fitted.panel, foreground=foreground, caption=about.get("caption", ""))
    return NamedPhoto(
        name=path.stem, photo=photo, source=about.get("source", "unknown"), licence=about.get("licence", "unknown")
    )
