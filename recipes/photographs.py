"""Show what the tasks that learnt from renders make of a photograph: docs/tasks/photographs.jpg.

    python -m recipes.photographs                    # half a minute on one core

One photograph, whole and cut to head and shoulders as the rendered portraits are, painted as the shipped adapters ask
for. There is no truth to score it by.
"""

import torch
from PIL import Image

from anyrefill import images
from anyrefill.backbone.embedded import EMBEDDED
from anyrefill.painter import load
from recipes.stored import DOCS

OUT = DOCS / "tasks" / "photographs.jpg"
PHOTO = EMBEDDED.parent / "photos" / "astronaut.jpg"
PORTRAIT = (60, 0, 170, 110)
"""Head and shoulders: left, top, right, bottom, in pixels of the photograph's 256."""

ASKED = (
    ("age", "an old woman", "an old woman"),
    ("gender", "a young man", "a young man"),
    ("relight", "warm light from the left", "warm, left"),
    ("relight", "cold light from the right", "cold, right"),
    ("image-to-depth", "", "depth"),
)
"""Task, caption, and what stands above the column."""


def main() -> None:
    """Paint and save the sheet."""
    torch.set_num_threads(1)
    with Image.open(PHOTO) as photo:
        both = (photo.convert("RGB"), photo.convert("RGB").crop(PORTRAIT))
    rows = [[images.to_panel(given, (128, 128))] for given in both]
    for name, caption, _ in ASKED:
        paint = load(name)
        for row, given in zip(rows, both, strict=True):
            row.append(images.to_panel(paint(given, caption=caption, size="panel")))
    images.contact_sheet(rows, ("given", *(label for *_, label in ASKED))).save(OUT, quality=88, optimize=True)
    print(OUT)


if __name__ == "__main__":
    main()
