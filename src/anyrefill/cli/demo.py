"""`anyrefill demo`."""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from anyrefill.cli.common import Count, check_counts, check_writable, with_bar
from anyrefill.errors import UserError
from anyrefill.files import write_text
from anyrefill.seeds import check_seed

if TYPE_CHECKING:
    from anyrefill.demo import Gallery

__all__ = ["Demo", "demo"]


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Paint every shipped task, and two at once, on bundled pictures: one contact sheet and one HTML page."""

    out: Annotated[Path, arg(metavar="DIR")] = Path("anyrefill-demo")
    """The folder for both."""
    steps: Count = None
    """Euler steps, one backbone call each; if not given what the adapter asks for, or 20."""
    seed: int = 0
    """Of the noise."""


def demo(options: Demo) -> None:
    """Paint everything and print times, scores and where it all is."""
    began = perf_counter()
    check_seed(options.seed)
    check_counts(steps=options.steps)
    check_writable(options.out / "index.html")
    from anyrefill import images
    from anyrefill.backbone.embedded import find_base, mixes, shipped
    from anyrefill.demo.page import contact_sheet, html_page, scores

    find_base("micro")
    if not shipped():
        raise UserError("No adapter ships with the embedded backbone, so there is nothing to demonstrate.")
    galleries: list[Gallery] = []
    for task in (*shipped(), *mixes()):
        gallery = _show(task, options)
        if gallery is None:
            print(f"{task:18} not shown: no picture for it is bundled", flush=True)
        else:
            galleries.append(gallery)
            print(scores(gallery), flush=True)
    if not galleries:
        raise UserError("No picture for any of the shipped tasks is bundled, so there is nothing to demonstrate.")
    images.save(contact_sheet(galleries), options.out / "contact-sheet.png")
    seconds = perf_counter() - began
    write_text(options.out / "index.html", html_page(galleries, seconds))
    print(f"{sum(len(gallery.pictures) for gallery in galleries)} pictures in {seconds:.0f} s, loading included")
    print(options.out / "contact-sheet.png", options.out / "index.html", sep="\n")


def _show(task: str, options: Demo) -> "Gallery | None":
    """Return what one task painted; nothing if there is no picture to show it on."""
    from anyrefill.backbone.precision import fast_dtype
    from anyrefill.demo import demonstrating, examples
    from anyrefill.painter import load

    painter = load(task, dtype=fast_dtype())
    given = examples(painter.task, painter.size, seed=options.seed)
    if not given:
        return None
    *_, last = with_bar(demonstrating(painter, given, steps=options.steps, seed=options.seed), task)
    return last.gallery
