"""What the demonstration leaves behind: one contact sheet, and one HTML page that needs no other file."""

import math
from collections.abc import Sequence
from html import escape

from PIL import Image

from anyrefill import images
from anyrefill.demo import Example, Gallery, Picture

__all__ = ["contact_sheet", "html_page", "scores"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h2 { margin: 2.5rem 0 0 } p { margin: .3rem 0 1rem }
table { border-collapse: collapse } th { text-align: left; font-weight: 600 } td, th { padding: .25rem .75rem .25rem 0 }
img { width: 128px; height: auto; image-rendering: auto; display: block } .muted { color: #666 }
"""


def contact_sheet(galleries: Sequence[Gallery]) -> Image.Image:
    """Return one line for each task: what was given and what was painted, example by example."""
    lines = [_line(gallery) for gallery in galleries]
    sheet = Image.new("RGB", (max(line.width for line in lines), sum(line.height for line in lines)), "white")
    top = 0
    for line in lines:
        sheet.paste(line, (0, top))
        top += line.height
    return sheet


def html_page(galleries: Sequence[Gallery], seconds: float) -> str:
    """Return the page: how many seconds it all took, a table for each task, then the pictures' sources."""
    shown = (picture.example for gallery in galleries for picture in gallery.pictures)
    named = dict.fromkeys((_kind(example), example.source, example.licence) for example in shown)
    sources = "".join(
        f"<li>{escape(kind)}: {escape(source)}, {escape(licence)}</li>" for kind, source, licence in named
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>anyrefill demo</title><style>{STYLE}</style>\n'
        "<h1>Any reference, any refill</h1>\n<p>Each task was given the panel on the left and painted the panel beside "
        "it with the embedded backbone, which is small: judge the idea, not the resolution. All of it "
        f"took {seconds:.0f} s.</p>\n"
        f"{''.join(map(_section, galleries))}<h2>Pictures</h2>\n<ul class=muted>{sources}</ul>\n</html>\n"
    )


def scores(gallery: Gallery) -> str:
    """Return one line: what a task scored on each example, and how long a picture took."""
    known = [picture for picture in gallery.pictures if not math.isnan(picture.score)]
    told = ", ".join(f"{picture.example.name} {picture.score:.2f}" for picture in known)
    found = f"{gallery.pictures[0].metric}: {told}" if known else "no known truth"
    return f"{gallery.task:18} {gallery.seconds:5.2f} s a picture, {gallery.steps} steps   {found}"


def _line(gallery: Gallery) -> Image.Image:
    """Return one task's pictures side by side under its name."""
    row = [panel for picture in gallery.pictures for panel in (picture.reference, picture.painted)]
    return images.contact_sheet([row], [gallery.task, "painted", *["", "painted"] * (len(gallery.pictures) - 1)])


def _kind(example: Example) -> str:
    """Return what the list of sources calls an example."""
    return "rendered pairs" if example.name.startswith("pair ") else example.name


def _section(gallery: Gallery) -> str:
    """Return one task."""
    head = "".join(f"<th>{title}</th>" for title in ("given", "painted", "truth", gallery.pictures[0].metric))
    rows = "\n".join(map(_row, gallery.pictures))
    return (
        f"<h2>{escape(gallery.task)}</h2>\n<p>{escape(gallery.summary)} <span class=muted>({gallery.steps} steps, "
        f"{gallery.seconds:.2f} s a picture)</span></p>\n<table><tr>{head}</tr>\n{rows}\n</table>\n"
    )


def _row(picture: Picture) -> str:
    """Return one example of a task."""
    name = picture.example.name
    named = (
        (picture.reference, f"what {picture.task} was given of {name}"),
        (picture.painted, f"what {picture.task} painted of {name}"),
        (picture.truth, f"the truth of {name}"),
    )
    shown = ("unknown" if panel is None else images.to_html(images.to_pil(panel), label) for panel, label in named)
    cells = "".join(f"<td>{cell}</td>" for cell in shown)
    score = "" if math.isnan(picture.score) else f"{picture.score:.2f}"
    return f"<tr>{cells}<td>{score}</td></tr>"
