"""Make folders of pairs from scenes: by default the held-out ones that `anyrefill evaluate` looks for.

    python -m recipes.world.fetch && python -m recipes.world.scenes --split test --count 1000 --seed 1
    python -m recipes.heldout                              # 128 pairs a task in ~/.cache/anyrefill/heldout

Every photograph, cut-out and emoji in these scenes is held out of every training step (recipes/world/sources.py).
"""

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from anyrefill import tasks
from anyrefill.pairs import Pair, Photo, write_pairs
from anyrefill.tasks import Task
from recipes.world.canvases import TONES
from recipes.world.fetch import WORLD

BANKS = WORLD.parent / "banks"
TASKS = ("image-to-segment", "colorization", "deblur", "canny-to-image")


def photos(split: str) -> Iterator[Photo]:
    """Yield a bank's scenes as photographs of 128 pixels with exact foregrounds."""
    folder = BANKS / split
    pixels, masks = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("pixels", "masks"))
    for index, caption in enumerate(json.loads((folder / "captions.json").read_text())):
        window = (index, slice(16, 144), slice(16, 144))
        yield Photo(
            pixels=torch.from_numpy(pixels[window].copy()).permute(2, 0, 1).float() / 127.5 - 1,
            foreground=(torch.from_numpy(masks[window].copy())[None] > 127).float(),
            caption=caption,
        )


def make_pairs(task: Task, split: str, seed: int) -> Iterator[Pair]:
    """Yield the pairs a task makes of a bank's scenes."""
    if task.make is None:
        raise ValueError(f"{task.name} makes no pairs of photographs")
    for index, photo in enumerate(photos(split)):
        pair = task.make(photo, torch.Generator().manual_seed(seed * 1_000_003 + index))
        if pair is not None:
            yield pair


def write(task: Task, split: str, count: int, folder: Path, seed: int = 0) -> None:
    """Write `count` pairs of a task, if the folder is not there yet."""
    if not folder.exists():
        pairs = islice(make_pairs(task, split, seed), count)
        write_pairs(tqdm(pairs, total=count, desc=f"{task.name} ({split})", unit="pair"), folder)


def copying_pairs(count: int) -> Iterator[Pair]:
    """Yield scenes under every named tone in turn, the reference untouched, the tone in the caption."""
    for index, photo in enumerate(islice(photos("test"), count)):
        name = list(TONES)[index % len(TONES)]
        pixels = ((photo.pixels + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8)
        toned = torch.from_numpy(TONES[name](pixels)).permute(2, 0, 1).float() / 127.5 - 1
        yield Pair(reference=photo.pixels, target=toned, caption=f"{photo.caption}, {name}")


def inpainting_pairs(count: int) -> Iterator[Pair]:
    """Yield scenes with a square hole of a quarter of the panel at a random place; the reference is grey."""
    for index, photo in enumerate(islice(photos("test"), count)):
        y, x = np.random.default_rng([5, index]).integers(0, 65, 2)
        mask = torch.zeros(1, 128, 128)
        mask[:, y : y + 64, x : x + 64] = 1
        yield Pair(reference=torch.zeros_like(photo.pixels), target=photo.pixels, mask=mask, caption=photo.caption)


def main() -> None:
    """Write the pairs of the shipped tasks, and of the bare backbone's tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--split", choices=["train", "test"], default="test")
    parser.add_argument("--out", type=Path, default=WORLD.parent / "heldout")
    args = parser.parse_args()
    for name in TASKS:
        write(tasks.get(name), args.split, args.count, args.out / name)
    if args.split == "test":
        for name, pairs in (("backbone-copying", copying_pairs), ("backbone-inpainting", inpainting_pairs)):
            if not (args.out / name).exists():
                write_pairs(pairs(args.count), args.out / name)


if __name__ == "__main__":
    main()
