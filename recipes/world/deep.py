"""Everything whose depth is known: rendered portraits and rooms, and stages in turn; also as a bank for pretraining.

    python -m recipes.world.deep --count 4500        # about 2 minutes on one core, after recipes/world/render.py

The bank holds single pictures. Pretraining makes its two panels of one picture (recipes/world/canvases.py), so it
never sees a person at two ages or a room from two places, as the tasks' pairs show them.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import islice

import cv2
import numpy as np
from tqdm import tqdm

from anyrefill.files import whole_folder
from anyrefill.pairs import Photo
from recipes.world import render_pairs, stages
from recipes.world.fetch import WORLD
from recipes.world.scenes import SIDE

BANK = WORLD.parent / "banks" / "deep-train"


def deep_photos(split: str) -> Iterator[Photo]:
    """Yield what has exact depth: rendered rooms and portraits as long as there are any, and stages in turn."""
    renders = [render_pairs.photos(split)] if render_pairs.rendered(split) else []
    return render_pairs.in_turn([*renders, stages.photos(split)])


def enlarged(photo: Photo) -> np.ndarray:
    """Return a photograph of 128 pixels as a scene of a bank, (SIDE, SIDE, 3) uint8."""
    pixels = (photo.pixels.permute(1, 2, 0).numpy() + 1) * 127.5
    return np.clip(cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).round(), 0, 255).astype(np.uint8)


def main() -> None:
    """Write the bank of the training split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=4_500)
    args = parser.parse_args()
    photos = islice(deep_photos("train"), args.count)
    with whole_folder(BANK, "scenes") as part:
        part.mkdir(parents=True)
        pixels = np.lib.format.open_memmap(part / "pixels.npy", "w+", np.uint8, (args.count, SIDE, SIDE, 3))
        captions: list[str] = []
        for index, photo in enumerate(tqdm(photos, total=args.count, unit="scene", mininterval=5)):
            pixels[index] = enlarged(photo)
            captions.append(photo.caption)
        pixels.flush()
        (part / "captions.json").write_text(json.dumps(captions))


if __name__ == "__main__":
    main()
