"""`anyrefill doctor`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from anyrefill.cli.common import check_report, file_of, with_bar
from anyrefill.errors import UserError
from anyrefill.files import write_text

__all__ = ["Doctor", "doctor"]


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Examine a folder of pairs before training on it.

    Nothing is changed. The exit code is 1 if there is an error, 0 if there are only warnings and notes, or nothing.
    """

    pairs: Positional[Annotated[Path, arg(metavar="PAIRS")]]
    """A folder of pairs."""
    task: Annotated[str | None, arg(metavar="TASK")] = None
    """Ask for the captions, masks and faces that this task needs: a name from `anyrefill tasks`, or a .py file."""
    against: UseAppendAction[tuple[Annotated[Path, arg(metavar="PAIRS")], ...]] = ()
    """Another folder, e.g. of test pairs, that must not share a picture with this one; may be repeated."""
    html: Annotated[Path | None, arg(metavar="FILE")] = None
    """Write the report with thumbnails there."""
    json: Annotated[Path | None, arg(metavar="FILE")] = None
    """Write all findings there."""


def doctor(options: Doctor) -> None:
    """Print what is wrong with a folder of pairs, and exit with code 1 if that would spoil a training."""
    for path in (options.html, options.json):
        check_report(path, (options.pairs, *options.against, file_of(options.task)))
    if options.html is not None and options.json is not None and options.html.resolve() == options.json.resolve():
        raise UserError(f"Cannot write both reports to {options.html}: give two files.")
    from anyrefill import tasks
    from anyrefill.doctor import examining
    from anyrefill.doctor.page import html_page

    task = None if options.task is None else tasks.get(options.task)
    *_, last = with_bar(examining(options.pairs, task, options.against), "doctor")
    print(last.report.to_text())
    if options.html is not None:
        write_text(options.html, html_page(last.report))
    if options.json is not None:
        write_text(options.json, last.report.to_json())
    if last.report.count("error"):
        sys.exit(1)
