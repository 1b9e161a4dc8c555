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
    ("age", "an old woman"),
    ("gender", "a young man"),
    ("relight", "warm light from the left"),
    ("relight", "cold light from the right"),
    ("image-to-depth", ""),
)
LABELS = ("given", "an old woman", "a young man", "warm, left", "cold, right", "depth")


def main() -> None:
    """Paint and save the sheet."""
    torch.set_num_threads(1)
    with Image.open(PHOTO) as photo:
        whole = photo.convert("RGB")
    rows = [[images.to_panel(given, (128, 128))] for given in (whole, whole.crop(PORTRAIT))]
    for name, caption in ASKED:
        paint = load(name)
        for row, given in zip(rows, (whole, whole.crop(PORTRAIT)), strict=True):
            row.append(images.to_panel(paint(given, caption=caption, size="panel")))
    images.contact_sheet(rows, LABELS).save(OUT, quality=88, optimize=True)
    print(OUT)


if __name__ == "__main__":
    main()
