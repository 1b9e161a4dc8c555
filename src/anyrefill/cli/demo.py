"""`anyrefill demo`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from anyrefill.cli.common import Count, check_counts, check_writable, with_bar
from anyrefill.errors import UserError
from anyrefill.files import write_text

__all__ = ["Demo", "demo"]


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Paint every shipped task on bundled photographs: one contact sheet and one HTML page."""

    out: Annotated[Path, arg(metavar="DIR")] = Path("anyrefill-demo")
    """The folder for both."""
    steps: Count = None
    """Euler steps, one backbone call each; 20 if not given."""
    seed: int = 0
    """Of the noise."""


def demo(options: Demo) -> None:
    """Paint everything and print times, scores and where it all is."""
    check_counts(steps=options.steps)
    check_writable(options.out / "index.html")
    from anyrefill import images
    from anyrefill.backbone.embedded import find_base, shipped
    from anyrefill.demo import Gallery, demonstrating, read_photos
    from anyrefill.demo.page import contact_sheet, html_page, scores
    from anyrefill.painter import load

    find_base("micro")
    if not shipped():
        raise UserError("No adapter ships with the embedded backbone, so there is nothing to demonstrate.")
    galleries: list[Gallery] = []
    photos = []
    for task in shipped():
        painter = load(task)
        photos = read_photos(painter.size)
        *_, last = with_bar(demonstrating(painter, photos, steps=options.steps, seed=options.seed), task)
        if last.gallery is not None:
            galleries.append(last.gallery)
            print(scores(last.gallery), flush=True)
    images.save(contact_sheet(galleries, photos), options.out / "contact-sheet.png")
    write_text(options.out / "index.html", html_page(galleries, photos))
    print(options.out / "contact-sheet.png", options.out / "index.html", sep="\n")
