"""What several commands share: words for their options, the bar, and checks before anything slow."""

import contextlib
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from tqdm import tqdm
from tyro.conf import arg

from anyrefill.errors import UserError

__all__ = [
    "Count",
    "Picture",
    "Strength",
    "TaskName",
    "check_counts",
    "check_picture",
    "check_report",
    "check_strengths",
    "check_writable",
    "file_of",
    "tell",
    "with_bar",
]

TaskName = Annotated[str, arg(metavar="TASK")]
Count = Annotated[int | None, arg(metavar="N")]
Strength = Annotated[float | None, arg(metavar="G")]
Picture = Annotated[Path, arg(metavar="PNG")]


MOST = 1_000_000
"""Of anything counted: lists of more steps fill the memory before the first is taken."""


def tell(notes: Iterable[str]) -> None:
    """Print what the user should know."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def with_bar(run: Iterator[Any], title: str) -> Iterator[Any]:
    """Pass on records that know (done, total) or (step, steps), and draw a bar of them on stderr.

    The bar appears with the first record, so that a mistake found before it stands alone.
    """
    with contextlib.ExitStack() as stack:
        bar = None
        for record in run:
            done, total = (record.done, record.total) if hasattr(record, "done") else (record.step, record.steps)
            bar = stack.enter_context(tqdm(desc=title, total=total, dynamic_ncols=True)) if bar is None else bar
            if hasattr(record, "loss"):
                bar.set_postfix(loss=f"{record.loss:.4f}", refresh=False)
            bar.update(done - bar.n)
            yield record


def check_counts(most: int = MOST, /, **counts: int | None) -> None:
    """Refuse counts of nothing, and of more than anybody waits for, before anything slow."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {count}.")
        if count is not None and count > most:
            raise UserError(f"--{name.replace('_', '-')} must be at most {most}, not {count}.")


def check_strengths(**strengths: float | None) -> None:
    """Refuse strengths that nothing can be painted with, before anything slow."""
    for name, strength in strengths.items():
        if strength is not None and not 0 <= strength < float("inf"):
            raise UserError(f"--{name.replace('_', '-')} must be 0 or more, not {strength:g}.")


def check_picture(out: Path, inputs: Sequence[Path | None]) -> None:
    """Refuse an output that could not be written, or would overwrite an input, before painting it."""
    from anyrefill.images import WRITABLE

    if out.suffix.lower() not in WRITABLE:
        raise UserError(f"Cannot write {out}: its name must end in one of {', '.join(WRITABLE)}.")
    if any(path is not None and path.resolve() == out.resolve() for path in inputs):
        raise UserError(f"Cannot write {out}: it is one of the pictures to read.")
    check_writable(out)


def check_report(path: Path | None, sources: Sequence[Path | None]) -> None:
    """Refuse a report that could not be written, or would overwrite a file that is read, or one in a folder that is."""
    if path is None:
        return
    check_writable(path)
    for source in sources:
        if source is not None and path.exists() and path.resolve().is_relative_to(source.resolve()):
            raise UserError(f"Cannot write {path}: {source} is to be read.")


def file_of(name: str | None) -> Path | None:
    """Return the file that a task or an adapter is given by, or nothing where its name is."""
    return Path(name) if name is not None and Path(name).is_file() else None


def check_writable(path: Path) -> None:
    """Refuse a file that could not be written, by trying the nearest folder that is there."""
    try:
        taken = path.is_dir()
        folder = next(folder for folder in path.absolute().parents if folder.exists())
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}.") from error
    if taken:
        raise UserError(f"Cannot write {path}: it is a folder.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"Cannot write {path}: {folder}: {error.strerror or error}.") from error
