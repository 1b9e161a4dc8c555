"""Does a grey photograph take the colour that its caption names? Asked of the shipped colorization.

    python -m recipes.colour_words                       # 10 minutes on one core

The subjects of held-out scenes, grey, are asked for in every colour of recipes/world/coloured.py. What was painted is
the name whose chroma points the way of the subject's mean chroma. Shares go to docs/results/colour-words.json, page and
picture to docs/tasks.
"""

import argparse
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice

import torch
from PIL import Image
from torch.nn.functional import cosine_similarity

from anyrefill import images
from anyrefill.backbone.precision import fast_dtype
from anyrefill.evaluate import evaluating, finished
from anyrefill.evaluate.report import table
from anyrefill.files import write_text
from anyrefill.metrics import luma, rmse
from anyrefill.painter import Painter, load
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks.colorization import grayscale
from anyrefill.types import Mask, Panel
from recipes.heldout import subjects
from recipes.stored import DOCS, stored
from recipes.world.coloured import COLOURS, chroma, coloured_pair, has_one_subject, subject
from recipes.world.scenes import bank

SCORES = DOCS / "results" / "colour-words.json"
GUIDED = 4.0
"""Caption guidance that the subjects are asked with, beside none."""
PAGE = DOCS / "tasks" / "colour-words.md"
NOTHING, TRUE = "a caption without a colour", "the true target"
HEAD = """# Words for colours

Does a grey photograph take the colour that its caption names, as in figure 16 of the paper? The subjects of {count}
held-out scenes were asked for in every colour: "a green race car in front of wood". None of them was seen in training,
nor does its name begin a caption of a training pair, so that no colour stood before it there. As the caption is heeded
by itself {plain:.0%} took the colour that was asked for, with `--caption-guidance {strength:g}` {guided:.0%}; chance is
{chance:.0%}. With that guidance, each line: what was asked for; each column: the share of subjects whose mean colour
was nearest to that name. Made by `python -m recipes.colour_words`.
"""


def named(panel: Panel, inside: Mask) -> str:
    """Return the colour whose chroma points the way of a subject's mean chroma.

    Args:
        panel: (3, H, W).
        inside: (1, H, W), 1 on the subject.
    """
    mean = ((panel - luma(panel)) * inside).sum((1, 2)) / inside.sum()
    return max(COLOURS, key=lambda colour: float(cosine_similarity(mean, chroma(COLOURS[colour]).flatten(), dim=0)))


def unmet(photos: Iterable[Photo], known: Collection[str]) -> Iterator[Photo]:
    """Yield the scenes of one subject whose name is not among those of captions."""
    names = {subject(caption) for caption in known}
    return (photo for photo in photos if has_one_subject(photo) and subject(photo.caption) not in names)


def shares(painted: Sequence[Panel], insides: Sequence[Mask]) -> dict[str, float]:
    """Return which share of the subjects has which colour."""
    found = [named(panel, inside) for panel, inside in zip(painted, insides, strict=True)]
    return {colour: found.count(colour) / len(found) for colour in COLOURS}


Shares = dict[str, dict[str, float]]
"""Which share of the subjects took which colour, by what was asked for."""


def ask(painter: Painter, photos: Sequence[Photo], limit: int = 6) -> tuple[Shares, Image.Image]:
    """Return what the subjects took, and pictures of the first `limit` of them."""
    painter = replace(painter, task=replace(painter.task, metrics=(rmse,), distances=(), judges=()))
    plain = [Pair(reference=grayscale(photo.pixels), target=photo.pixels, caption=photo.caption) for photo in photos]
    asked = {NOTHING: plain, **{colour: [coloured_pair(photo, colour) for photo in photos] for colour in COLOURS}}
    insides = [inside for photo in photos if (inside := photo.foreground) is not None]
    found: Shares = {}
    columns = [[pair.reference for pair in plain]]
    for words, pairs in asked.items():
        _, painted = finished(evaluating(painter, pairs, baselines=False))
        found[words] = shares(painted, insides)
        print(words, found[words], flush=True)
        columns.append(list(painted))
    true = [named(pair.target, inside) == colour for colour, pairs in asked.items() if colour in COLOURS
            for pair, inside in zip(pairs, insides, strict=True)]  # fmt: skip
    print(f"{TRUE}: {sum(true) / len(true):.1%} have the colour that is asked for")
    rows = list(zip(*columns, strict=True))[:limit]
    return found, images.contact_sheet(rows, ["given", "no colour", *COLOURS])


def obeyed(found: Mapping[str, Mapping[str, float]]) -> float:
    """Return which share took the colour that was asked for."""
    return sum(found[colour][colour] for colour in COLOURS) / len(COLOURS)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was asked of how many.

    Attributes:
        count: of subjects.
        plain: shares of them that took each colour, by what was asked for.
        guided: the same with caption guidance.
    """

    count: int
    plain: Shares
    guided: Shares


def known() -> Measured:
    """Return what was measured."""
    return Measured(**stored(SCORES, {"count": 0, "plain": {}, "guided": {}}))


def page(found: Measured) -> str:
    """Return docs/tasks/colour-words.md."""
    rows = [["asked for", *COLOURS]]
    for words, taken in found.guided.items():
        cells = {name: f"{share:.0%}" for name, share in taken.items()}
        rows.append([words, *(f"**{cells[name]}**" if name == words else cells[name] for name in COLOURS)])
    head = HEAD.format(
        count=found.count, chance=1 / len(COLOURS), strength=GUIDED, plain=obeyed(found.plain),
        guided=obeyed(found.guided),
    )  # fmt: skip
    return f"{head}\n{table(rows)}\n\n![given, without a colour, and each colour](colour-words.jpg)\n"


def main() -> None:
    """Ask, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--limit", type=int, default=32, help="subjects")
    parser.add_argument("--adapter", help="another than the shipped one; nothing is written then")
    parser.add_argument("--reuse", action="store_true", help="only write the page from docs/results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not args.reuse:
        known_captions = json.loads((bank("train", subjects=True) / "captions.json").read_text(encoding="utf-8"))
        photos = list(islice(unmet(subjects("test"), known_captions), args.limit))
        painter = load("colorization", adapter=args.adapter, dtype=fast_dtype())
        (plain, _), (guided, sheet) = (
            ask(replace(painter, caption_guidance=strength), photos) for strength in (1.0, GUIDED)
        )
        print(f"{obeyed(plain):.1%} took the colour that was asked for, guided {obeyed(guided):.1%}")
        if not args.adapter:
            sheet.save(PAGE.with_suffix(".jpg"), quality=85, optimize=True)
            write_text(
                SCORES, json.dumps(asdict(Measured(count=len(photos), plain=plain, guided=guided)), indent=1) + "\n"
            )
    if not args.adapter:
        write_text(PAGE, page(known()))


if __name__ == "__main__":
    main()
