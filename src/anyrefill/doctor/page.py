"""The report as one HTML page that needs no other file."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from anyrefill import images
from anyrefill.doctor.report import Finding, Report
from anyrefill.errors import UserError

__all__ = ["html_page"]

MOST = 50
"""Findings of each check that are shown with their pictures."""

THUMBNAIL = 128
"""Pixels of the longer side."""

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h2 { margin: 2.5rem 0 .3rem } p { margin: .3rem 0 1rem } td { padding: .25rem .75rem .25rem 0; vertical-align: top }
figure { display: inline-block; margin: 0 .5rem 0 0 } figcaption { font-size: .75rem; color: #666 }
img { display: block; border: 1px solid #ccc }
.error { color: #b00020 } .warning { color: #9a5b00 }
"""


def html_page(report: Report) -> str:
    """Return the page: a summary, then a table for each check that found something.

    The pictures are read again for it, so that an examination need not hold the thumbnails of a large folder.
    """
    summary = "".join(f"<p>{escape(line)}</p>\n" for line in report.summary())
    groups = groupby(report.findings, lambda finding: (finding.severity, finding.check))
    sections = "".join(_section(list(found)) for _, found in groups)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        f"<title>anyrefill doctor {escape(report.folder.name)}</title><style>{STYLE}</style>\n"
        f"<h1>{escape(str(report.folder))}</h1>\n{summary}{sections or '<p>Nothing to complain of.</p>'}</html>\n"
    )


def _section(findings: Sequence[Finding]) -> str:
    """Return what one check found."""
    first, more = findings[0], len(findings) - MOST
    rows = "\n".join(map(_row, findings[:MOST]))
    rest = f"<p>{more} more are in the JSON report.</p>\n" if more > 0 else ""
    return (
        f"<h2 class={first.severity}>{escape(first.check)}: {len(findings)} x {first.severity}</h2>\n"
        f"<table>\n{rows}\n</table>\n{rest}"
    )


def _row(finding: Finding) -> str:
    """Return one finding."""
    where = "folder" if finding.line is None else f"line {finding.line}"
    return f"<tr><td>{where}</td><td>{escape(finding.sentence)}<br>{_figures(finding.pictures)}</td></tr>"


def _figures(pictures: Iterable[Path]) -> str:
    """Return the thumbnails of pictures, or why there is none."""
    return "".join(
        f"<figure>{_thumbnail(path)}<figcaption>{escape(f'{path.parent.name}/{path.name}')}</figcaption></figure>"
        for path in pictures
    )


def _thumbnail(path: Path) -> str:
    """Return a picture as an element that holds its own pixels."""
    try:
        picture = images.load(path)
    except UserError as error:
        return escape(str(error))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return images.to_html(picture, path.name, "JPEG")
