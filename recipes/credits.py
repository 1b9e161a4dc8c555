"""Say whose models and photographs rendered pictures show: docs/credits.md, and CREDITS.md of the bundled pairs.

    python -m recipes.credits                            # after recipes.heldout and recipes.demo_pairs; a minute

A render's facts.json names its furniture and the photographs behind people and on walls; `PHOTOGRAPHS` says whose these
are. Which renders a picture shows is found by their pixels.
"""

import argparse
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from anyrefill import images
from anyrefill.cli.evaluate import wanted
from anyrefill.demo import PHOTOS
from anyrefill.evaluate import heldout
from anyrefill.evaluate.report import read_reports, table
from anyrefill.files import write_text
from anyrefill.pairs import METADATA, Pair, PairFolder
from recipes import results, unseen
from recipes.stored import DOCS
from recipes.world.fetch import RENDERS

PAGE = DOCS / "credits.md"
BUNDLED = PHOTOS / "pairs"
CREDITS = "CREDITS.md"
SIZE, LIMIT = (128, 128), 64
BODY = "Base mesh by MakeHuman, CC0-1.0"

COMMONS = "Wikimedia Commons, in GCompris"
GNOME = ("GNOME's contributors", "as its package: GPL-2+, CC0-1.0 and others", "GNOME's avatars")
PHOTOGRAPHS: Mapping[str, tuple[str, str, str, str]] = {
    "wallpapers/EveningGlow/contents/images/2560x1600.jpg": ("Evening Glow", "Ian Hex", "LGPL-3", "KDE's wallpapers"),
    "wallpapers/Path/contents/images/2560x1600.jpg": ("Path", "Risto Saukonpää", "LGPL-3", "KDE's wallpapers"),
    "faces/bicycle.jpg": ("Bicycle", *GNOME),
    "faces/cat.jpg": ("Cat", *GNOME),
    "faces/plane.jpg": ("Plane", *GNOME),
    "cats/1-maine.jpg": ("Maine Coon", "Mueller-rech.muenchen", "CC-BY-SA-3.0", "Wikimedia Commons, in GNOME Taquin"),
    "images/china.jpg": ("China", "danielbuechele", "CC-BY-2.0", "Flickr, in scikit-learn"),
    "images/flower.jpg": ("Flower", "vultilion", "CC-BY-2.0", "Flickr, in scikit-learn"),
    "data/astronaut.png": ("Eileen Collins", "NASA", "public domain", "scikit-image"),
    "data/chelsea.png": ("Chelsea", "Stefan van der Walt", "CC0-1.0", "scikit-image"),
    "data/coffee.png": ("Coffee", "Rachel Michetti", "CC0-1.0", "scikit-image"),
    "data/rocket.jpg": ("DSCOVR on a Falcon 9", "SpaceX", "public domain", "scikit-image"),
    "data/motorcycle_left.png": ("Motorcycle", "Middlebury's stereo data", "not stated", "scikit-image"),
    "data/motorcycle_right.png": ("Motorcycle", "Middlebury's stereo data", "not stated", "scikit-image"),
    "erase/resource/giraffe.webp": ("Giraffe", "Sergio Cambelo", "public domain", COMMONS),
    "erase/resource/gorilla.webp": ("Mountain gorilla", "Charles J. Sharp", "CC-BY-SA-4.0", COMMONS),
    "erase/resource/penguin.webp": ("Chinstrap penguin", "Gordon Leggett", "CC-BY-SA-4.0", COMMONS),
    "resource/france/eiffelTower.webp": ("Eiffel Tower", "Tognopop", "public domain", COMMONS),
    "resource/wonders/colosseum.webp": ("Colosseum", "Urse Ovidiu", "public domain", COMMONS),
    "resource/wonders/machuPicchu.webp": ("Machu Picchu", "Guillaume Pascal", "CC0-1.0", COMMONS),
    "resource/wonders/tajMahal.webp": ("Taj Mahal", "Yann", "CC-BY-SA-4.0", COMMONS),
    "explore_world_animals/resource/animals/giraffe.webp": (
        "Giraffes", "Mike and Lara Wolfe", "CC0-1.0", COMMONS,
    ),
    "explore_world_animals/resource/animals/polar_bear.webp": ("Polar bear", "anonymous", "public domain", COMMONS),
    "explore_farm_animals/resource/animals/cat.webp": ("Playing kitten", "Loliloli", "public domain", COMMONS),
    "images/monuments/colosseum.webp": ("Colosseum", "Urse Ovidiu", "public domain", COMMONS),
    "images/monuments/tajMahal.webp": ("Taj Mahal", "David Castor", "public domain", COMMONS),
}  # fmt: skip
"""Held-out photographs by the end of their path: title, author, licence, and where it came from. Read out of the
packages: READMEs of GCompris and scikit-learn, metadata.json of KDE, debian/copyright of the others."""

LICENCES = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "LGPL-3": "https://www.gnu.org/licenses/lgpl-3.0.html",
    "GPL-2+": "https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
}
HEAD = """# Credits

Whose models and photographs the pictures show that we rendered: held-out seeds of `recipes/world/render.py`. Furniture
is Sweet Home 3D's, under the names of its catalogues: Scopia is Scopia Visual Interfaces Systems, s.l. with Emmanuel
Puybaret / eTeks, Kator Legaz are Andrew Kator and Jennifer Legaz, and BlendSwap's authors go by the names they took
there. People have MakeHuman's base mesh (CC0-1.0). Models were scaled, lit and rendered, photographs cropped, blurred
behind people, and all of it is shown at 128 px. The renders are ours, Apache-2.0; what they show keeps its licence.
"""
"""Of both pages."""

REST = """## Scenes and photographs

The sheets of the other tasks, people placed in photographs, and every second pair of depth and reference inpainting
show scenes and stages: photographs of the table above, which the captions name ("an owl before colosseum"), with
cut-outs before them. The bank keeps each cut-out's words, not its file: it is one of the held-out stamps of Tux Paint
(Bill Kendrick and contributors, GPL-2+) or of Fluent's emojis (Microsoft, MIT). image-to-segment-photographs shows
photographs of that table with nothing on them. No page shows the motorcycle.

`images/demo.jpg` shows the bundled pairs, whose authors `CREDITS.md` beside them names, and the bundled photographs of
Eileen Collins, Chelsea, coffee and the rocket; `tasks/photographs.jpg` the first of these; `images/teach.jpg` the
Colosseum, the Taj Mahal by David Castor, the gorilla, the penguin and the playing kitten. `images/world.jpg` is
described under [Data](data.md#pairs).
"""


@dataclass(frozen=True, kw_only=True)
class Render:
    """One rendered room or person of the held-out ones.

    Attributes:
        name: "room 16" or "person 8".
        models: author and licence of each piece of furniture, or of the body.
        photographs: title, author and licence of those on its walls or behind it.
    """

    name: str
    models: tuple[str, ...]
    photographs: tuple[str, ...]

    def __str__(self) -> str:
        """Return it all in words."""
        where = "behind, blurred" if self.name.startswith("person") else "on the wall"
        shown = f"; {where}: {'; '.join(self.photographs)}" if self.photographs else ""
        return f"{self.name}: {'; '.join(self.models)}{shown}"


@dataclass(frozen=True, kw_only=True)
class Renders:
    """All held-out renders.

    Attributes:
        named: by name.
        digests: names by the digest of each picture's pixels.
    """

    named: Mapping[str, Render]
    digests: Mapping[str, str]

    def of(self, pair: Pair) -> Render | None:
        """Return what a pair shows: the person or room that it names, or whose picture it has; None of a scene."""
        for kind in ("person", "room"):
            if kind in pair.extra:
                return self.named[f"{kind} {pair.extra[kind]}"]
        both = (digest_of(images.to_pil(panel)) for panel in (pair.reference, pair.target))
        return next((self.named[self.digests[digest]] for digest in both if digest in self.digests), None)


def read_renders(root: Path = RENDERS) -> Renders:
    """Return the held-out renders of a folder.

    Raises:
        KeyError: one shows a photograph that nobody is named for.
    """
    named, digests = dict[str, Render](), dict[str, str]()
    for path in sorted(root.glob("*/test/[0-9]*/facts.json")):
        render = read_facts(json.loads(path.read_text(encoding="utf-8")))
        named[render.name] = render
        for picture in path.parent.glob("*.png"):
            if re.search(r"(^|\.)\d\.png$", picture.name):
                with Image.open(picture) as image:
                    digests[digest_of(image.convert("RGB"))] = render.name
    return Renders(named=named, digests=digests)


def read_facts(facts: Mapping[str, Any]) -> Render:
    """Return whose things a room or a person shows."""
    is_person = "backdrop" in facts
    origins = [facts["backdrop"]] if is_person else facts["walls"]
    return Render(
        name=f"{'person' if is_person else 'room'} {facts['seed']}",
        models=(BODY,) if is_person else tuple(facts["credits"]),
        photographs=tuple(dict.fromkeys(photograph(origin) for origin in origins if origin)),
    )


def photograph(origin: str) -> str:
    """Return title, author and licence of a held-out photograph.

    Raises:
        KeyError: nobody is named for it.
    """
    for end, (title, author, licence, _) in PHOTOGRAPHS.items():
        if origin.endswith(end):
            return f"{title} by {author}, {licence}"
    raise KeyError(f"recipes/credits.py does not say whose {origin} is")


def digest_of(image: Image.Image) -> str:
    """Return a digest of a picture's pixels."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def bundled(folder: Path = BUNDLED) -> str:
    """Return the CREDITS.md of the bundled pairs, from what their metadata says."""
    rows = [["files", "shown"]]
    for path in sorted(folder.glob(f"*/{METADATA}")):
        lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        rows += [[f"{path.parent.name}/{number}-*", line["source"]] for number, line in enumerate(lines, start=1)]
    return f"{HEAD}\n{_licences()}\n\n{table(rows)}\n"


def page(known: Renders) -> str:
    """Return docs/credits.md."""
    photographs = [["photograph", "by", "licence", "from"], *dict.fromkeys(PHOTOGRAPHS.values())]
    rows = {kind: [[kind, *head]] for kind, head in (("room", ["furniture", "on its wall"]), ("person", ["behind"]))}
    for render in sorted(known.named.values(), key=lambda render: int(render.name.split()[1])):
        kind, seed = render.name.split()
        models = ["; ".join(render.models)] if kind == "room" else []
        rows[kind].append([seed, *models, "; ".join(render.photographs)])
    parts = [
        HEAD, _licences(), f"## Photographs\n\n{table(photographs)}", f"## Rooms\n\n{table(rows['room'])}",
        f"## People\n\n{table(rows['person'])}",
        f"## Contact sheets\n\nThe renders on each sheet in `docs/tasks`.\n\n{table(list(_sheets(known)))}", REST,
    ]  # fmt: skip
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _licences() -> str:
    return "Licences: " + ", ".join(f"[{name}]({address})" for name, address in LICENCES.items()) + "."


def _sheets(known: Renders) -> Iterator[Sequence[str]]:
    """Yield which renders each contact sheet shows, in its order."""
    yield ["sheet", "shown"]
    for name, pairs in (*_of_tasks(), *_of_words()):
        found = [render.name for pair in pairs if (render := known.of(pair))]
        if found:
            cut_out = ", cut out" if name.endswith("-in-photographs") else ""
            yield [f"{name}.jpg", ", ".join(dict.fromkeys(found)) + cut_out]


def _of_tasks() -> Iterator[tuple[str, list[Pair]]]:
    """Yield the pairs on each task's sheet."""
    for name in wanted():
        if results.sheet_of(name).is_file() and results.part(name).is_file():
            (report,) = read_reports(results.part(name))
            pairs = PairFolder(heldout(name), SIZE)[: report.count]
            yield name, [pairs[index] for index in results.on_sheet(report, pairs)]


def _of_words() -> Iterator[tuple[str, list[Pair]]]:
    """Yield the pairs on the sheets of words never met together."""
    for name in unseen.WITHHELD:
        pairs = unseen.tests(name, LIMIT)["withheld"]
        yield f"unseen-words-{name}", [pairs[index] for index in unseen.on_sheet(pairs)]


def main() -> None:
    """Write both pages."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    known = read_renders()
    if not known.named:
        raise SystemExit(f"Nothing is rendered in {RENDERS}: see docs/data.md, set up.")
    write_text(BUNDLED / CREDITS, bundled())
    write_text(PAGE, page(known))


if __name__ == "__main__":
    main()
