"""Make folders of pairs for every task: the held-out ones that `anyrefill evaluate` looks for, or those to train on.

    python -m recipes.world.fetch
    python -m recipes.world.scenes --split train --count 32000 --seed 0
    python -m recipes.world.scenes --split test --count 1000 --seed 1
    python -m recipes.world.scenes --split train --count 16000 --seed 2 --subjects
    python -m recipes.world.scenes --split test --count 500 --seed 3 --subjects     # people and rooms: world/render.py
    python -m recipes.heldout                              # up to 128 pairs a task in ~/.cache/anyrefill/heldout
    python -m recipes.heldout --split train                # up to 2000 (MORE: up to 6000) in .../pairs/TASK-train
    python -m recipes.heldout --split train --task age

A folder that is there already is left alone: remove it to make it anew. Every photograph, cut-out, emoji, person, room
and piece of furniture in the held-out pairs is held out of every training step (recipes/world/sources.py, render.py).
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, cycle, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from anyrefill import images, tasks
from anyrefill.pairs import Pair, Photo, write_pairs
from recipes.world import placed, relit, render_pairs, sources, stages
from recipes.world.canvases import TONES
from recipes.world.coloured import coloured_pairs
from recipes.world.deep import deep_photos
from recipes.world.fetch import WORLD
from recipes.world.marked import marked_photos
from recipes.world.scenes import bank

OUT = {"train": WORLD.parent / "pairs", "test": WORLD.parent / "heldout"}
Source = Callable[[str, int], Iterator[Pair]]
"""(split, seed) -> pairs, without end or as many as there are."""


def photos(split: str, *, subjects: bool = False) -> Iterator[Photo]:
    """Yield a bank's scenes as photographs of 128 pixels with exact foregrounds."""
    folder = bank(split, subjects=subjects)
    if not folder.is_dir():
        raise SystemExit(f"There is no bank of scenes {folder}: see the commands at the head of recipes/heldout.py.")
    pixels, masks = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("pixels", "masks"))
    for index, caption in enumerate(json.loads((folder / "captions.json").read_text())):
        window = (index, slice(16, 144), slice(16, 144))
        yield Photo(
            pixels=torch.from_numpy(pixels[window].copy()).permute(2, 0, 1).float() / 127.5 - 1,
            foreground=(torch.from_numpy(masks[window].copy())[None] > 127).float(),
            caption=caption,
        )


def made(task: str, source: Callable[[str], Iterator[Photo]]) -> Source:
    """Return the pairs that a task makes of photographs."""

    def pairs(split: str, seed: int) -> Iterator[Pair]:
        make = tasks.get(task).make
        if make is None:
            raise ValueError(f"{task} makes no pairs of photographs")
        for index, photo in enumerate(source(split)):
            pair = make(photo, torch.Generator().manual_seed(seed * 1_000_003 + index))
            if pair is not None:
                yield pair

    return pairs


def two_view_pairs(split: str, seed: int) -> Iterator[Pair]:
    """Yield two views of rendered rooms as long as there are any, and of stages in turn."""
    renders = [render_pairs.inpainting_pairs(split, seed)] if render_pairs.rendered(split) else []
    return render_pairs.in_turn([*renders, stages.inpainting_pairs(split, seed)])


subjects = partial(photos, subjects=True)


def silhouettes(split: str, seed: int) -> Iterator[Pair]:
    """Yield scenes of subjects and their silhouettes.

    To train on, as many scenes on any background, whose caption tells what is the subject, and a photograph that
    U2-Net-p marked after every four.
    """
    chosen = made("image-to-segment", subjects)(split, seed)
    if split == "test":
        return chosen
    anywhere = made("image-to-segment", photos)(split, seed)
    return render_pairs.in_turn([chosen, anywhere, chosen, anywhere, marked_pairs(split, seed)])


def marked_pairs(split: str, seed: int) -> Iterator[Pair]:
    """Yield crops of photographs and the silhouettes that U2-Net-p marks in them, named by their photograph."""
    found = made("image-to-segment", partial(marked_photos, seed=seed))(split, seed)
    return (replace(pair, extra={"photograph": pair.caption}) for pair in found)


def named_colours(split: str, seed: int) -> Iterator[Pair]:
    """Yield scenes whose caption names the colour that their subject is to take."""
    return coloured_pairs(subjects(split), seed)


def colour_pairs(split: str, seed: int) -> Iterator[Pair]:
    """Yield grey photographs with their colours; to train on, in turn with those whose caption names a colour."""
    plain = made("colorization", photos)(split, seed)
    return render_pairs.in_turn([plain, named_colours(split, seed)]) if split == "train" else plain


def anywhere(edits: Callable[[str, int], Iterator[render_pairs.Edit]], split: str, seed: int) -> Iterator[Pair]:
    """Yield people placed in scenes, those to train on twice; among these, some scenes show nobody and stay."""
    more, empty = ((seed + 1, seed + 2), placed.EMPTY) if split == "train" else ((seed + 1,), None)
    found = chain.from_iterable(edits(split, one) for one in more)
    return placed.placed_pairs(found, photos(split), seed, empty=empty)


def photographs_relit(split: str, seed: int) -> Iterator[Pair]:
    """Yield scenes of subjects, and others that are taken to be flat, in turn, under other lights."""
    flat = (replace(photo, foreground=None) for photo in photos(split))
    return relit.relit_pairs(render_pairs.in_turn([subjects(split), flat]), seed)


def with_photographs(renders: Source, photographs: Source, each: int = 1) -> Source:
    """Return renders, and to train on a pair of a photograph after every `each` of them."""

    def pairs(split: str, seed: int) -> Iterator[Pair]:
        found = renders(split, seed)
        if split == "test":
            return found
        return chain.from_iterable(zip(*[found] * each, photographs(split, seed), strict=False))

    return pairs


ages = partial(anywhere, render_pairs.age_edits)
genders = partial(anywhere, render_pairs.gender_edits)

SOURCES: Mapping[str, Source] = {
    "image-to-segment": silhouettes,
    "colorization": colour_pairs,
    "deblur": made("deblur", photos),
    "canny-to-image": made("canny-to-image", photos),
    "image-to-canny": made("image-to-canny", photos),
    "blueprint": made("blueprint", photos),
    "super-resolution": made("super-resolution", photos),
    "segment-to-image": made("segment-to-image", subjects),
    "age": with_photographs(render_pairs.age_pairs, ages, each=2),
    "gender": with_photographs(render_pairs.gender_pairs, genders, each=2),
    "relight": with_photographs(render_pairs.relight_pairs, photographs_relit),
    "ref-inpainting": two_view_pairs,
    "image-to-depth": made("image-to-depth", deep_photos),
    "depth-to-image": made("depth-to-image", deep_photos),
}
"""What each task's pairs are made of: scenes, scenes of subjects, renders, or renders and stages."""

TASKS = tuple(SOURCES)
COUNTS = {"train": 2000, "test": 128}
MORE = {("image-to-depth", "train"): 4000} | {
    (task, "train"): 6000 for task in ("image-to-segment", "age", "gender", "relight")
}
"""Where `COUNTS` do not do."""


def write(pairs: Iterator[Pair], name: str, count: int, folder: Path) -> None:
    """Write up to `count` pairs, if the folder is not there yet."""
    if not folder.exists():
        write_pairs(iter(tqdm(islice(pairs, count), total=count, desc=name, unit="pair", mininterval=10)), folder)


def copying_pairs(split: str, _seed: int) -> Iterator[Pair]:
    """Yield scenes under every named tone in turn, the reference untouched, the tone in the caption."""
    for index, photo in enumerate(photos(split)):
        name = list(TONES)[index % len(TONES)]
        pixels = ((photo.pixels + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8)
        toned = torch.from_numpy(TONES[name](pixels)).permute(2, 0, 1).float() / 127.5 - 1
        yield Pair(reference=photo.pixels, target=toned, caption=f"{photo.caption}, {name}")


def inpainting_pairs(split: str, _seed: int) -> Iterator[Pair]:
    """Yield scenes with a square hole of a quarter of the panel at a random place; the reference is grey."""
    for index, photo in enumerate(photos(split)):
        y, x = np.random.default_rng([5, index]).integers(0, 65, 2)
        mask = torch.zeros(1, 128, 128)
        mask[:, y : y + 64, x : x + 64] = 1
        yield Pair(reference=torch.zeros_like(photo.pixels), target=photo.pixels, mask=mask, caption=photo.caption)


CROPS, SMALLEST = 64, 256
"""Pictures that are cut from plain photographs; the shortest side of a photograph to cut from."""
SAME_SCENE = "motorcycle_right"
"""The second view of a stereo pair."""


def photograph_pairs(split: str, seed: int) -> Iterator[Pair]:
    """Yield squares of plain photographs, nothing pasted on them: the middle of each, then smaller ones anywhere.

    The held-out ones are 64 pictures of 23 photographs, so those of one photograph are no independent samples. Files of
    less than 256 px, of which one is a small copy of another, and the second view of a stereo pair are left out.
    """
    found = [source for source in sources.photos(held_out=split == "test") if source.path.stem != SAME_SCENE]
    opened = [(images.load(source.path), source.caption) for source in found]
    shots = [(shot, caption) for shot, caption in opened if min(shot.size) >= SMALLEST]
    for index, (shot, caption) in enumerate(islice(cycle(shots), CROPS)):
        random = None if index < len(shots) else np.random.default_rng([seed, index])
        panel = images.to_panel(square(shot, random), (128, 128))
        yield Pair(reference=panel, target=panel, caption=caption)


def square(shot: Image.Image, random: np.random.Generator | None) -> Image.Image:
    """Return the largest square in a photograph's middle, or a random one of half its side or more."""
    short = min(shot.size)
    side = short if random is None else int(random.integers(short // 2, short))
    x, y = ((length - side) // 2 if random is None else int(random.integers(length - side + 1)) for length in shot.size)
    return shot.crop((x, y, x + side, y + side))


TESTS: Mapping[str, Source] = {
    "backbone-autoencoder": photograph_pairs,
    "backbone-copying": copying_pairs,
    "backbone-inpainting": inpainting_pairs,
    "age+gender": render_pairs.both_pairs,
    "age+relight": render_pairs.age_and_light_pairs,
    "gender+relight": render_pairs.gender_and_light_pairs,
    "age-in-photographs": ages,
    "gender-in-photographs": genders,
    "relight-photographs": photographs_relit,
    "gender-described": partial(render_pairs.gender_pairs, described=1.0),
    "image-to-segment-any-background": made("image-to-segment", photos),
    "image-to-segment-photographs": marked_pairs,
}
"""Held-out pairs that no adapter is trained on: of the autoencoder and the bare backbone, of two adapters at once, of
captions that tell of the hair, too, and of silhouettes on backgrounds that may have a subject of their own or in
photographs on which nothing was pasted."""


def main() -> None:
    """Write the pairs asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=[*TASKS, *TESTS], action="append", help="every one if not given")
    parser.add_argument("--split", choices=["train", "test"], default="test")
    parser.add_argument("--count", type=int)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)  # two wait for each other at every small tensor: five times as long on a busy machine
    every = SOURCES if args.split == "train" else {**SOURCES, **TESTS}
    for name in args.task or every:
        if name not in every:
            parser.error(f"{name} has no pairs to train on")
        count = args.count or MORE.get((name, args.split), COUNTS[args.split])
        folder = f"{name}-train" if args.split == "train" else name
        write(every[name](args.split, 0), f"{name} ({args.split})", count, (args.out or OUT[args.split]) / folder)


if __name__ == "__main__":
    main()
