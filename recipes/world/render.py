"""Render people and rooms: exact masks and depth, states and views that differ by one thing alone.

    python -m recipes.world.fetch --renderer
    nice -n 15 ~/.cache/anyrefill/render-venv/bin/python -m recipes.world.render people rooms --count 160
    nice -n 15 ~/.cache/anyrefill/render-venv/bin/python -m recipes.world.render rooms --split test --count 34
    ~/.cache/anyrefill/render-venv/bin/python -m recipes.world.render sheet --out docs/images/world.jpg

Into ~/.cache/anyrefill/renders/KIND/SPLIT/SEED/, one folder an identity or room, complete or not there; the same
command goes on where it was stopped, and several at once share the work. A seed gives the same pictures. One in eight
seeds is held out; its backdrops, pictures on the wall and furniture are held-out ones, too.
"""

import argparse
import fcntl
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageFilter
from tqdm import tqdm

from recipes.world.fetch import RENDERS, WORLD
from recipes.world.people import Person, State, build, draw_person
from recipes.world.sources import photos

STATES = {
    f"{age}-{who}": State(age=value, gender=gender)
    for age, value in (("child", 0.12), ("young", 0.5), ("old", 0.92))
    for who, gender in (("woman", 0.0), ("man", 1.0))
}
LAMPS = {"left": (-6.0, 2.5, 4.0), "right": (6.0, 2.5, 4.0), "above": (0.5, 7.0, 4.0), "the front": (1.2, 1.6, 8.0)}
"""Where the lamp stands, as the viewer sees it."""
TINTS = {"warm": (1.0, 0.68, 0.38), "cold": (0.55, 0.78, 1.0), "white": (1.0, 0.97, 0.92), "green": (0.55, 1.0, 0.55)}
BACKDROP = 11.6
"""What is farther than this from a portrait's camera is no part of the person."""
AMBIENT = 0.16
RELIGHTS = 2
"""Further lights of one state of each person."""
LOOKS = 3
"""Rays a pixel that guide the denoiser."""

Files = dict[str, Image.Image]
"""File name -> picture."""


def split_of(seed: int) -> str:
    """Return whose split a seed is: one in eight is held out."""
    return "test" if seed % 8 == 0 else "train"


@cache
def pictures(split: str) -> list[Path]:
    """Return the photographs that may hang behind a person or on a wall."""
    return [source.path for source in photos(held_out=split == "test")]


@dataclass(frozen=True, kw_only=True)
class Print:
    """A square of a photograph, (S, S, 3) uint8, and where that lies below the world's folder, for its licence."""

    pixels: np.ndarray
    origin: str


def crop(paths: list[Path], side: int, random: np.random.Generator, blur: float = 0) -> Print:
    """Return a square of a random photograph; grey without any photograph."""
    if not paths:
        return Print(pixels=np.full((side, side, 3), 128, np.uint8), origin="")
    path = paths[random.integers(len(paths))]
    with Image.open(path) as image:
        image.draft("RGB", (2 * side, 2 * side))
        image = image.convert("RGB")
    edge = int(min(image.size) * random.uniform(0.6, 1))
    x, y = (int(random.integers(0, length - edge + 1)) for length in image.size)
    image = image.crop((x, y, x + edge, y + edge)).resize((side, side), Image.Resampling.LANCZOS)
    return Print(pixels=np.asarray(image.filter(ImageFilter.GaussianBlur(blur))), origin=str(path.relative_to(WORLD)))


def lights(random: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield a tint for each direction, in random order; the first, which all states share, is a natural one."""
    for index, place in enumerate(random.permutation(list(LAMPS))):
        yield str(random.choice(list(TINTS)[: 3 if index == 0 else None])), str(place)


def light_words(tint: str, place: str) -> str:
    """Return what a caption says of a light."""
    return f"{tint} light from {place if place in ('above', 'the front') else f'the {place}'}"


def render_person(seed: int, side: int, samples: int) -> tuple[Files, dict[str, object]]:
    """Return every state of a person in one light, and one state in further lights."""
    random, person = np.random.default_rng([41, seed]), draw_person(seed)
    backdrop = crop(pictures(split_of(seed)), 2 * side, random, blur=side / 40)
    plan = list(lights(random))
    relit = str(random.choice(list(STATES)))
    shots = [(name, *plan[0]) for name in STATES] + [(relit, *light) for light in plan[1 : 1 + RELIGHTS]]
    files: Files = {}
    facts: list[dict[str, object]] = []
    for name in STATES:
        mine = [shot for shot in shots if shot[0] == name]
        for stem, pixels in render_state(
            person, STATES[name], [shot[1:] for shot in mine], backdrop.pixels, side, samples
        ):
            files[f"{name}{stem}"] = pixels
        facts += [
            {"file": f"{name}.{index}.png", "mask": f"{name}.mask.png", "depth": f"{name}.depth.png", "state": name,
             "words": STATES[name].words, "light": light_words(tint, place)}
            for index, (_, tint, place) in enumerate(mine)
        ]  # fmt: skip
    return files, {"seed": seed, "backdrop": backdrop.origin, "pictures": facts}


def render_state(
    person: Person, state: State, plan: list[tuple[str, str]], backdrop: np.ndarray, side: int, samples: int
) -> Iterator[tuple[str, Image.Image]]:
    """Yield a state's picture in each light, then its mask and depth."""
    import mitsuba as mi

    from recipes.world import render_scene as draw

    surfaces, hair = build(person, state)
    exposure = float(np.interp(person.skin.mean(), [0.08, 0.6], [1.25, 0.75]))
    seen = None
    with TemporaryDirectory(prefix="anyrefill-hair-") as folder:
        scene = draw.portrait(surfaces, hair, backdrop, side, samples, Path(folder))
        scene["ambient"] = {"type": "constant", "radiance": {"type": "rgb", "value": [AMBIENT] * 3}}
        for index, (tint, place) in enumerate(plan):
            aim, power = np.array([0, -0.2, -0.3]), 26 * np.array(TINTS[tint])
            scene["lamp"] = draw.lamp(np.array(LAMPS[place]), aim, 1.3, power)
            loaded = mi.load_dict(scene)
            sensor = loaded.sensors()[0]
            seen = seen or draw.look(loaded, sensor, LOOKS, seed=person.seed)
            light = draw.shoot(loaded, sensor, seen, samples, seed=person.seed + 1)
            yield f".{index}.png", Image.fromarray(draw.exposed(light, exposure))
    if seen is not None:
        yield ".mask.png", Image.fromarray(((seen.distance < BACKDROP) * 255).astype(np.uint8))
        yield ".depth.png", Image.fromarray(draw.nearness(seen.distance))


def render_room(seed: int, side: int, samples: int) -> tuple[Files, dict[str, object]]:
    """Return two views of a room with their depths."""
    import mitsuba as mi

    from recipes.world import render_scene as draw
    from recipes.world.rooms import draw_room, furnish

    split = split_of(seed)
    room = draw_room(seed, split)
    random = np.random.default_rng([43, seed])
    prints = [crop(pictures(split), 128, random) for _ in room.frames]
    scene = mi.load_dict(furnish(room, [each.pixels for each in prints]))
    files: Files = {}
    exposure = 0.0
    for index, origin in enumerate(room.cameras):
        sensor = mi.load_dict(draw.camera(origin, room.target, 52, side, samples))
        seen = draw.look(scene, sensor, LOOKS, seed=seed)
        light = draw.shoot(scene, sensor, seen, samples, seed=seed + 1)
        exposure = exposure or 0.17 / max(1e-3, float(np.exp(np.log(light.mean(2) + 1e-3).mean())))
        files[f"{index}.png"] = Image.fromarray(draw.exposed(light, exposure))
        files[f"{index}.depth.png"] = Image.fromarray(draw.nearness(seen.distance))
    walls = [each.origin for each in prints]
    return files, {"seed": seed, "words": room.words, "credits": room.credits, "walls": walls}


def write(folder: Path, files: Files, facts: dict[str, object]) -> None:
    """Write one identity or room, complete or not at all."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, image in files.items():
        image.save(part / name)
    (part / "facts.json").write_text(json.dumps(facts, indent=1))
    part.rename(folder)


def seeds_of(split: str | None, first: int, count: int) -> list[int]:
    """Return the first seeds of a split, or of both, from `first` on."""
    found = (seed for seed in itertools.count(first) if split in (None, split_of(seed)))
    return list(itertools.islice(found, count))


def render_all(kinds: list[str], seeds: list[int], side: int, samples: int, root: Path = RENDERS) -> None:
    """Render what is not there yet, and keep the splits' manifest.jsonl up to date."""
    for seed, kind in tqdm([(seed, kind) for seed in seeds for kind in kinds], unit="item"):
        make = render_person if kind == "people" else render_room
        folder = root / kind / split_of(seed) / f"{seed:06d}"
        with claimed(folder) as mine:
            if not mine or folder.exists():
                continue
            began = time.process_time()
            files, facts = make(seed, side, samples)
            spent = round(time.process_time() - began, 2)
            write(folder, files, facts | {"side": side, "samples": samples, "cpu_seconds": spent})
        tqdm.write(f"{kind} {seed}: {len(files)} files, {spent} CPU-seconds")
        write_manifest(folder.parent)


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Tell whether no other renderer makes this folder now; none begins to before the block ends, or this process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
            path.unlink(missing_ok=True)


def write_manifest(folder: Path) -> None:
    """List every item of a split in its manifest.jsonl."""
    found = sorted(folder.glob("[0-9]*/facts.json"))
    lines = [json.dumps({"folder": path.parent.name, **json.loads(path.read_text())}) for path in found]
    part = folder / f".manifest.{os.getpid()}"  # of two renderers at once, each its own
    part.write_text("\n".join(lines) + "\n")
    part.replace(folder / "manifest.jsonl")


def row(folder: Path) -> list[Image.Image]:
    """Return an item's pictures and its first mask and depth (a person), or all there is (a room), as 8-bit RGB."""
    paths = sorted(folder.glob("*.png"), key=lambda path: path.stem)
    masks, depths = ([path for path in paths if path.match(f"*.{kind}.png")] for kind in ("mask", "depth"))
    if masks:
        paths = [path for path in paths if path not in masks and path not in depths] + [masks[0], depths[0]]
    found = []
    for path in paths:
        with Image.open(path) as image:
            values = np.asarray(image)
        values = (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values.astype(np.uint8)
        found.append(Image.fromarray(values).convert("RGB"))
    return found


def sheet(out: Path, items: list[str], root: Path = RENDERS) -> None:
    """Write a contact sheet of items, e.g. "people/test/000008", each in one row; of everything if none is named."""
    names = items or [str(path.parent.relative_to(root)) for path in sorted(root.glob("*/*/[0-9]*/facts.json"))]
    rows = [row(root / name) for name in names]
    if not all(rows) or not rows:
        raise FileNotFoundError(f"nothing is rendered below {root}, or not all of {names}")
    side, width = rows[0][0].width, max(map(len, rows))
    places, free = [], 0
    for images in rows:
        free = free if free % width + len(images) <= width else -(-free // width) * width
        places.append(free)
        free += len(images)
    page = Image.new("RGB", (width * side, -(-free // width) * side), "white")
    for first, images in zip(places, rows, strict=True):
        for place, image in enumerate(images, first):
            page.paste(image.resize((side, side)), (place % width * side, place // width * side))
    page.save(out, quality=85)


def main() -> None:
    """Render, or lay out what is rendered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=["people", "rooms", "sheet"])
    parser.add_argument("--split", choices=["train", "test"], help="take the seeds of this split alone")
    parser.add_argument("--items", nargs="*", default=[], help="of the sheet, e.g. people/test/000008")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--samples", type=int, default=8, help="light paths a pixel")
    parser.add_argument("--out", type=Path, default=Path("docs/images/world.jpg"), help="of the sheet")
    args = parser.parse_args()
    if "sheet" in args.kinds:
        sheet(args.out, args.items)
    else:
        render_all(args.kinds, seeds_of(args.split, args.first, args.count), args.side, args.samples)


if __name__ == "__main__":
    main()
