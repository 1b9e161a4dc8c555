"""Pairs made elsewhere: two folders whose files have the same names, or a table."""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from anyrefill import images
from anyrefill.curate.annotators import FaceAnnotator
from anyrefill.curate.outcome import Outcome
from anyrefill.curate.photos import Source, check_words, find_photos, read_object, readable, square
from anyrefill.errors import UserError
from anyrefill.metrics.faces import APART, compare
from anyrefill.pairs import Pair
from anyrefill.tasks import Task, given_mask
from anyrefill.types import Mask

__all__ = ["Listed", "list_folders", "list_table", "read_listed"]

PROPORTIONS = 0.02
"""How far the proportions of reference and target may be apart: 2 %."""

_COLUMNS = ("reference", "target", "mask", "caption", "licence")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A pair that somebody listed.

    Attributes:
        reference: its left panel; None if there is none.
        target: its right panel; None if there is none.
        mask: what to paint, or None.
        caption: the user's words, maybe empty.
    """

    reference: Source | None
    target: Source | None
    mask: Source | None = None
    caption: str = ""

    @property
    def sources(self) -> tuple[Source, ...]:
        """The files that are there."""
        return tuple(source for source in (self.reference, self.target, self.mask) if source is not None)


def list_folders(references: Path, targets: Path, masks: Path | None = None, licence: str = "") -> list[Listed]:
    """Match the pictures of two or three folders by their names without extension, folders inside included.

    A picture without a partner is listed too, so that it is reported and not lost. The caption is the target's, else
    the reference's, see `photos`.

    Raises:
        UserError: a folder is missing or empty, or two of its pictures differ only in their extensions.
    """
    left, right = _by_stem(references, licence), _by_stem(targets, licence)
    holes = _by_stem(masks, licence) if masks else {}
    return [
        Listed(
            reference=left.get(stem),
            target=right.get(stem),
            mask=holes.get(stem),
            caption=next((one[stem].caption for one in (right, left) if stem in one and one[stem].caption), ""),
        )
        for stem in sorted({*left, *right, *holes})
    ]


def list_table(table: Path, licence: str = "") -> list[Listed]:
    """Read a CSV or JSONL file with the columns reference and target, and maybe mask, caption and licence.

    Paths are taken from the table's folder.

    Raises:
        UserError: the table cannot be read, has another extension, a row lacks reference or target, or its words are no
            text.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read {table}: {error}.") from error
    if table.suffix.lower() == ".csv":
        rows = _csv_rows(table, text)
    elif table.suffix.lower() == ".jsonl":
        rows = [read_object(line, f"{table}, line {number}") for number, line in _lines(text)]
    else:
        raise UserError(f"{table} must end in .csv or .jsonl.")
    if not rows:
        raise UserError(f"{table} lists no pair.")
    return [_listed(row, table, f"{table}, row {number}", licence) for number, row in enumerate(rows, start=1)]


def read_listed(
    task: Task,
    listed: Sequence[Listed],
    *,
    side: int | None = None,
    faces: FaceAnnotator | None = None,
    apart: float = APART,
) -> Iterator[Outcome]:
    """Read and check the pairs of a list; yield what became of each, in order.

    Args:
        task: whose pairs they are; one that paints a part of the target needs masks.
        listed: of `list_folders` or `list_table`.
        side: crop the square in the middle and scale it to that side; None keeps each target's size, fitted to
            multiples of 16, and fits its reference and mask to it.
        faces: if given, pairs are refused unless each panel shows one face and both are the same person's.
        apart: L2 distance of two faces beyond which they are two people's.
    """
    for done, one in enumerate(listed, start=1):
        outcome = Outcome(done=done, total=len(listed), sources=one.sources)
        try:
            pair = _pair(task, one, side)
            seen = {} if faces is None else _person(pair, faces, apart)
        except UserError as error:
            yield replace(outcome, reason=str(error))
        else:
            yield replace(outcome, pair=pair, parameters=seen)


def _pair(task: Task, listed: Listed, side: int | None) -> Pair:
    """Return one pair, or say in an error why there is none."""
    if listed.reference is None or listed.target is None:
        missing = "reference" if listed.reference is None else "target"
        raise UserError(f"It has no {missing} of the same name.")
    if task.mask is given_mask and listed.mask is None:
        raise UserError(f"It has no mask, and the task {task.name} paints a part of the target.")
    reference, target = images.load(listed.reference.path), images.load(listed.target.path)
    _check_proportions(reference, target)
    if side is not None and min(target.size) < side:
        raise UserError(f"Its target is {target.width} x {target.height} px, smaller than {side} px (--size).")
    panel = images.to_panel(target if side is None else square(target, side))
    size = (panel.shape[1], panel.shape[2])
    return Pair(
        reference=images.to_panel(reference if side is None else square(reference, side), size),
        target=panel,
        mask=None if listed.mask is None else _mask(listed.mask.path, target, size, side),
        caption=listed.caption,
    )


def _person(pair: Pair, faces: FaceAnnotator, apart: float) -> Mapping[str, object]:
    """Return how many faces each panel shows and how far apart they are, or say in an error why not one person."""
    found = compare(*faces([pair.reference, pair.target]))
    counts = {"reference": found.reference, "target": found.target}
    if found.distance is None:
        wrong = (
            f"{panel} shows {count or 'no'} face{'s'[: count > 1]}" for panel, count in counts.items() if count != 1
        )
        raise UserError(f"Its {' and its '.join(wrong)}; each panel needs one (--faces).")
    if found.distance > apart:
        raise UserError(f"Its two faces are {found.distance:.3f} apart, beyond {apart:g} (--face-distance).")
    return {"faces_by": faces.name, "faces": counts, "face_distance": round(found.distance, 4)}


def _mask(path: Path, target: Image.Image, size: tuple[int, int], side: int | None) -> Mask:
    """Return a pair's mask as its target was cropped and fitted."""
    native = (target.height, target.width)
    if side is None:
        return images.to_mask(path, size, native)
    whole = Image.fromarray(images.to_mask(path, native)[0].numpy())
    cropped = np.asarray(square(whole, side, Image.Resampling.BOX)) > 0  # thin strokes stay, as in `images.to_mask`
    if not cropped.any():
        raise UserError(f"The mask {path} is empty in the square that is cut out.")
    return torch.from_numpy(cropped.astype(np.float32))[None]


def _check_proportions(reference: Image.Image, target: Image.Image) -> None:
    """Refuse two pictures that could not be laid over each other."""
    stretch = reference.width * target.height / (reference.height * target.width)
    if abs(stretch - 1) > PROPORTIONS:
        raise UserError(
            f"Its proportions differ: the reference is {reference.width} x {reference.height} px,"
            f" the target {target.width} x {target.height} px."
        )


def _by_stem(folder: Path, licence: str) -> dict[str, Source]:
    """Return the pictures of a folder by their names without extension."""
    found: dict[str, Source] = {}
    for source in find_photos(folder, licence=licence):
        stem = str(Path(source.name).with_suffix(""))
        if stem in found:
            raise UserError(f"{found[stem].path} and {source.path} differ only in their extensions: keep one.")
        found[stem] = source
    return found


def _csv_rows(table: Path, text: str) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a CSV file; a quoted field may go over several lines."""
    try:
        return list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise UserError(f"Cannot read {table}: {error}.") from error


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, numbered."""
    return ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def _is_file_name(name: str) -> bool:
    """Return whether a file could be called so."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def _listed(row: Mapping[str, Any], table: Path, where: str, licence: str) -> Listed:
    """Return one row of a table."""
    values = {key: str(row.get(key) or "").strip() for key in _COLUMNS}
    for key in _COLUMNS[:2]:
        if not values[key]:
            raise UserError(f"{where}: {key} is missing; the columns are {', '.join(_COLUMNS)}.")
    check_words(values, where)
    for key in _COLUMNS[:3]:
        if not _is_file_name(values[key]):
            raise UserError(f"{where}: no file can have the name of the {key}.")
    reference, target, mask = (
        Source(path=table.parent / values[key], name=readable(values[key]), licence=values["licence"] or licence)
        if values[key]
        else None
        for key in _COLUMNS[:3]
    )
    return Listed(reference=reference, target=target, mask=mask, caption=values["caption"])
