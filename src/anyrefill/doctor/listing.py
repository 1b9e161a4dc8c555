"""The lines of a folder of pairs, read to the end whatever is wrong with some of them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from anyrefill import pairs
from anyrefill.doctor.report import Finding
from anyrefill.errors import UserError
from anyrefill.images import WRITABLE
from anyrefill.pairs import METADATA, Row

__all__ = ["Line", "Listing", "read_listing"]

PICTURES = (*WRITABLE, ".gif", ".avif")
"""Extensions of files that a line should name."""

QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
"""A string in what may be broken JSON."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line that is right, and whose files are there.

    Attributes:
        number: from 1.
        row: what it says.
    """

    number: int
    row: Row


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All lines of a folder.

    Attributes:
        folder: as given.
        count: of lines that are not blank.
        lines: those that are right.
        findings: what is wrong with the others, and the pictures that no line names.
    """

    folder: Path
    count: int
    lines: tuple[Line, ...]
    findings: tuple[Finding, ...]


def read_listing(folder: Path) -> Listing:
    """Read the metadata of a folder; a wrong line is a finding and does not end the reading.

    Raises:
        UserError: there is no such folder, or no metadata in it that can be read.
    """
    numbered = _texts(folder)
    first: dict[tuple[Path | None, ...], int] = {}
    lines, findings = list[Line](), list[Finding]()
    for number, text in numbered:
        checked = _check(number, text, folder, first)
        if isinstance(checked, Line):
            lines.append(checked)
        else:
            findings += checked
    if not numbered:
        findings.append(_broken(None, f"{METADATA} lists no pair: write one line for each."))
    findings += _unlisted(folder, {name for _, text in numbered for name in _mentioned(text)})
    return Listing(folder=folder, count=len(numbered), lines=tuple(lines), findings=tuple(findings))


def _texts(folder: Path) -> list[tuple[int, str]]:
    """Return (number, text) of each line that is not blank; bytes that are no UTF-8 stay visible in it."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    try:
        data = (folder / METADATA).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no {METADATA}, which lists its pairs.") from error
    except OSError as error:
        raise UserError(f"Cannot read {folder / METADATA}: {error.strerror or error}.") from error
    texts = (line.decode("utf-8", "backslashreplace") for line in data.split(b"\n"))
    return [(number, text) for number, text in enumerate(texts, start=1) if text.strip()]


def _check(number: int, text: str, folder: Path, first: dict[tuple[Path | None, ...], int]) -> Line | list[Finding]:
    """Return a line that is right, or what is wrong with it; remember it in `first`."""
    missing = [name for name in _named(text) or () if _is_missing(folder, name)]
    if missing:
        return [_missing(number, name) for name in missing]
    try:
        row = pairs.read_row(text, folder, "")
    except UserError as error:
        sentence = str(error).removeprefix(": ").rstrip(".")
        return [_broken(number, f"{sentence[:1].upper()}{sentence[1:]}: repair or delete the line.")]
    earlier = first.setdefault(row.files, number)
    if earlier != number:
        sentence = f"The same files are listed on line {earlier} already: delete one of the lines."
        return [Finding(check="listed-twice", severity="error", line=number, sentence=sentence)]
    return Line(number=number, row=row)


def _named(text: str) -> list[str] | None:
    """Return the files that a line names; None if it is no JSON object."""
    try:
        parsed: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict):
        return None
    items = cast("dict[str, Any]", parsed).items()
    named = [value for key, value in items if key.endswith(("file_name", "file_names"))]
    every = [name for value in named for name in (cast("list[Any]", value) if isinstance(value, list) else [value])]
    return [name for name in every if isinstance(name, str) and name]


def _mentioned(text: str) -> list[str]:
    """Return the files that a line names as they lie in the folder; all strings of a line that is no JSON object."""
    named = _named(text)
    return [PurePosixPath(name).as_posix() for name in (QUOTED.findall(text) if named is None else named)]


def _is_missing(folder: Path, name: str) -> bool:
    """Return whether a name that stays inside the folder is no file; of one too long nothing is said here."""
    relative = PurePosixPath(name)
    try:
        return not relative.is_absolute() and ".." not in relative.parts and not (folder / relative).is_file()
    except OSError:
        return False


def _unlisted(folder: Path, mentioned: set[str]) -> Iterator[Finding]:
    """Yield the pictures of the folder that no line names, hidden ones left out."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.suffix.lower() in PICTURES and name.as_posix() not in mentioned and not _is_hidden(name):
            sentence = f"No line names {name}: write a line for its pair, or remove it."
            yield Finding(check="unlisted", severity="note", line=None, sentence=sentence, pictures=(path,))


def _is_hidden(name: Path) -> bool:
    """Return whether a file, or a folder on the way to it, is hidden."""
    return any(part.startswith(".") for part in name.parts)


def _missing(number: int, name: str) -> Finding:
    """Return that a file is not there."""
    sentence = f"There is no file {name}: put it there, or delete the line."
    return Finding(check="missing-file", severity="error", line=number, sentence=sentence)


def _broken(number: int | None, sentence: str) -> Finding:
    """Return that a line cannot be read."""
    return Finding(check="broken-line", severity="error", line=number, sentence=sentence)
