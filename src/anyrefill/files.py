"""Files that are written whole or not at all."""

import hashlib
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from anyrefill.errors import UserError

__all__ = ["sha256_of", "whole", "whole_folder", "write_text"]


@contextmanager
def whole(path: Path) -> Generator[Path, None, None]:
    """Lend a name beside `path`; what was written there is flushed to the disk and takes its place at the end.

    A reader, or a run after a crash, sees the old file or the new one, never half of one. Folders on the way are made.

    Raises:
        UserError: the path cannot be written.
    """
    part = path.with_name(f".{path.stem}.{token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _flush(part)
        part.replace(path)
    except FileExistsError as error:
        raise UserError(f"Cannot write {path}: {path.parent} is not a folder.") from error
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, or leave the path as it was.

    Halves of letters, which names of files that are no UTF-8 turn into, are written with backslashes: in JSON a string
    then still says the same.

    Raises:
        UserError: the path cannot be written.
    """
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


@contextmanager
def whole_folder(folder: Path, what: str) -> Generator[Path, None, None]:
    """Lend the name of a folder beside `folder`; what is made there takes its place, over an empty folder if need be.

    Args:
        folder: new, or empty.
        what: it holds, for the sentence that says that it cannot be written.

    Raises:
        UserError: the folder cannot be written.
    """
    place = folder.resolve()  # the one behind a link, and the name of "."
    part = place.with_name(f".{place.name}.{token_hex(4)}")
    try:
        yield part
        part.rename(place)
    except OSError as error:
        raise UserError(f"Cannot write {what} to {folder}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Make sure that the content is on the disk before its name is."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
