"""Photographs on the disk: found with what is written beside them, and read as square panels.

Beside a photograph there may be a ``NAME.txt`` with its caption, and in its folder a ``metadata.jsonl`` with one line
for each photograph::

    {"file_name": "kittens/1.jpg", "caption": "two kittens", "licence": "CC0", "source": "https://..."}

(``text`` and ``license`` are understood as well). An alpha channel is the exact foreground.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from PIL import Image, ImageOps

from anyrefill import images
from anyrefill.errors import UserError
from anyrefill.images import to_panel
from anyrefill.pairs import METADATA, Photo, is_text
from anyrefill.types import Mask

__all__ = [
    "Layout",
    "Source",
    "check_words",
    "find_photos",
    "is_picture",
    "read_object",
    "read_photo",
    "readable",
    "square",
    "to_binary",
]

Layout = Literal["any", "div2k-train", "div2k-test"]
"""Which photographs of a folder count.

Every one; or those that the paper trained on (DIV2K's 800 and Flickr2K's 2650), or tested on (DIV2K's 100), without
their low-resolution copies. Source: arXiv 2502.11158, section IV, Implementation Details.
"""

_FOLDERS: Mapping[Layout, re.Pattern[str]] = {
    "any": re.compile(""),
    "div2k-train": re.compile(r"(DIV2K_train_HR|Flickr2K_HR)$"),
    "div2k-test": re.compile(r"DIV2K_valid_HR$"),
}
_PICTURES = frozenset((*images.WRITABLE, ".gif", ".ppm", ".pgm", ".jp2", ".avif", ".heic", ".heif", ".jxl", ".psd"))
"""Extensions of pictures; those that cannot be read are listed too, so that they are reported."""

WORDS = ("caption", "text", "licence", "license", "source")
"""What is said of a picture, and is written again."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A photograph on the disk.

    Attributes:
        path: of the file.
        name: its path in the folder that was searched, with slashes.
        caption: what it shows, maybe empty.
        licence: under which it is given, empty if nobody says.
        origin: who made it or where it is from, empty if nobody says.
    """

    path: Path
    name: str
    caption: str = ""
    licence: str = ""
    origin: str = ""


def find_photos(folder: Path, layout: Layout = "any", licence: str = "") -> list[Source]:
    """Return the photographs below a folder, sorted by name; hidden files and folders are left out.

    Args:
        folder: to search.
        layout: which photographs count.
        licence: of those of which nothing else is said.

    Raises:
        UserError: there is no such folder, no photograph in it, words beside one that cannot be read, or a
            ``metadata.jsonl`` that cannot be read or whose words are no text.
    """
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    facts = dict(_facts(folder))
    paths = sorted(path for path in folder.rglob("*") if is_picture(path) and _counts(path, folder, layout))
    if not paths:
        wanted = {"any": "photograph", "div2k-train": "DIV2K_train_HR or Flickr2K_HR", "div2k-test": "DIV2K_valid_HR"}
        raise UserError(f"There is no {wanted[layout]} in {folder}.")
    return [_source(path, folder, facts.get(path, {}), licence) for path in paths]


def is_picture(path: Path) -> bool:
    """Return whether a file's name is a picture's; whether it is one shows when it is read."""
    return path.suffix.lower() in _PICTURES and path.is_file()


def read_photo(source: Source, side: int) -> Photo:
    """Read a photograph as a square panel.

    Args:
        source: the photograph.
        side: of the panel in pixels, a multiple of 16.

    Raises:
        UserError: it cannot be read, or is smaller than the panel: nothing is ever enlarged.
    """
    picture = images.load(source.path)
    if min(picture.size) < side:
        raise UserError(f"It is {picture.width} x {picture.height} px, smaller than {side} px (--size).")
    alpha = _alpha(source.path)
    return Photo(
        pixels=to_panel(square(picture, side)),
        foreground=None if alpha is None else to_binary(square(alpha, side)),
        caption=source.caption,
    )


def square(picture: Image.Image, side: int, how: Image.Resampling = Image.Resampling.LANCZOS) -> Image.Image:
    """Return the largest square in the middle of a picture, at that side in pixels, resized so."""
    return ImageOps.fit(picture, (side, side), how)


def to_binary(picture: Image.Image) -> Mask:
    """Return 1 where a grey picture, its sides multiples of 16, is at least half white."""
    return (to_panel(picture.convert("RGB"))[:1] >= 0).to(torch.float32)


def read_object(line: str, where: str, keys: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return a line of JSON that is an object.

    Args:
        line: JSON.
        where: names the line in errors.
        keys: that it must have.

    Raises:
        UserError: it is not JSON, cannot be read, is no object, or lacks a key.
    """
    try:
        facts: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: this is not JSON ({error.msg} at column {error.colno}).") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: a number in this JSON is too long to be read, or its brackets too deep.") from error
    if not isinstance(facts, dict) or not all(key in facts for key in keys):
        raise UserError(f"{where}: expected an object{' with ' if keys else ''}{', '.join(keys)}.")
    return cast("Mapping[str, Any]", facts)


def check_words(facts: Mapping[str, Any], where: str) -> None:
    """Refuse words that could not be written into a folder of pairs.

    Args:
        facts: about a photograph or a pair, by the keys of `WORDS` among others.
        where: names the line in errors.

    Raises:
        UserError: one holds halves of letters.
    """
    for key in WORDS:
        if not is_text(str(facts.get(key) or "")):
            raise UserError(f"{where}: the {key} must be text.")


def readable(name: str) -> str:
    """Return a file's name as text: bytes that are no UTF-8 with backslashes."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _counts(path: Path, folder: Path, layout: Layout) -> bool:
    """Return whether a picture is visible and in a folder of the layout."""
    inside = path.relative_to(folder)
    if any(part.startswith(".") for part in inside.parts):
        return False
    return _FOLDERS[layout].search(path.parent.name) is not None


def _source(path: Path, folder: Path, facts: Mapping[str, Any], licence: str) -> Source:
    """Return a photograph with what is known of it."""
    return Source(
        path=path,
        name=readable(path.relative_to(folder).as_posix()),
        caption=" ".join((_beside(path) or str(facts.get("caption") or facts.get("text") or "")).split()),
        licence=str(facts.get("licence") or facts.get("license") or licence),
        origin=str(facts.get("source") or ""),
    )


def _beside(path: Path) -> str:
    """Return the words in the file beside a photograph, if there is one."""
    words = path.with_suffix(".txt")
    try:
        return words.read_text(encoding="utf-8", errors="replace").strip() if words.is_file() else ""
    except OSError as error:
        raise UserError(f"Cannot read {words}: {error.strerror or error}.") from error


def _facts(folder: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield what the metadata files below a folder say, each with the picture it speaks of."""
    for listing in sorted(folder.rglob(METADATA)):
        try:
            text = listing.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"Cannot read {listing}: {error}.") from error
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                facts = read_object(line, f"{listing}, line {number}", ("file_name",))
                check_words(facts, f"{listing}, line {number}")
                yield listing.parent / str(facts["file_name"]), facts


def _alpha(path: Path) -> Image.Image | None:
    """Return a picture's alpha channel, upright, if it says anything."""
    with Image.open(path) as picture:
        if not picture.has_transparency_data:
            return None
        alpha = images.upright(picture).convert("RGBA").getchannel("A")
    low, high = cast("tuple[int, int]", alpha.getextrema())
    return alpha if low < 128 <= high else None
