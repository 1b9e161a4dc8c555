"""Scenes: cut-outs on photographs, with a caption and an exact mask of what was pasted.

    python -m recipes.world.scenes --count 30000 --split train --seed 0    # about 3 minutes on one core
    python -m recipes.world.scenes --count 16000 --split train --seed 2 --subjects

A scene is 160 x 160 pixels, so that a 128-pixel panel can be cut from it at several places and turns. With --subjects
one or two objects stand before a place, a sky or a surface that has no subject of its own, so that the mask marks all
that stands out; without, a bird may be pasted on a photographed penguin that the mask does not know.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from recipes.world.fetch import WORLD
from recipes.world.panoramas import panoramas, view
from recipes.world.rooms import floor_texture, wall_texture
from recipes.world.sources import Source, cutouts, other_objects, photos

SIDE = 160
DRAWN = 0.15
"""Share of backgrounds of subjects that are drawn walls and floors."""
LOOKED = 0.1
"""Share of the other backgrounds of subjects to train on that are views of panoramas."""
OTHERS = 0.3
"""Share of the objects of subjects to train on that are icons of furniture and clip art."""
TINTED = 0.4
"""Share of the objects of subjects to train on whose colours are changed, so that their outline tells more of them."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One composed picture.

    Attributes:
        pixels: (SIDE, SIDE, 3) uint8.
        mask: (SIDE, SIDE) uint8, 255 where an object was pasted.
        caption: what is to be seen.
    """

    pixels: np.ndarray
    mask: np.ndarray
    caption: str


def read_photo(source: Source, side: int = 768) -> Image.Image:
    """Return a photograph whose short side is at most `side` pixels."""
    with Image.open(source.path) as image:
        image.draft("RGB", (side * 2, side * 2))
        image = image.convert("RGB")
    scale = side / min(image.size)
    if scale < 1:
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    return image


def read_cutout(source: Source, side: int = 256) -> Image.Image | None:
    """Return an object cropped to its alpha, or None where its alpha is empty or full."""
    with Image.open(source.path) as image:
        image = image.convert("RGBA")
    alpha = image.getchannel("A")
    box = alpha.getbbox()
    share = float((np.asarray(alpha) > 128).mean())
    if box is None or not 0.05 < share < 0.97:
        return None
    image = image.crop(box)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image if min(image.size) >= 24 else None


def random_crop(image: Image.Image, random: np.random.Generator, to: int) -> Image.Image:
    """Return a random square of a picture, mirrored half of the time, in `to` by `to` pixels."""
    side = max(to * 3 // 4, int(min(image.size) * random.uniform(0.3, 1.0)))
    x = int(random.integers(0, image.width - side + 1))
    y = int(random.integers(0, image.height - side + 1))
    filter_ = Image.Resampling.BOX if side > 2 * to else Image.Resampling.BICUBIC
    crop = image.crop((x, y, x + side, y + side)).resize((to, to), filter_)
    return crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else crop


def tinted(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Return an RGBA object in other colours: hue by up to 30 degrees, saturation, gamma and gain of each channel."""
    hue, saturation, value = image.convert("RGB").convert("HSV").split()
    turn, share = int(random.integers(-21, 22)), random.uniform(0.3, 1.5)
    turned = Image.merge(
        "HSV", (hue.point([(i + turn) % 256 for i in range(256)]), saturation.point(lambda v: v * share), value)
    )
    gamma, gains = random.uniform(0.7, 1.4), random.uniform(0.75, 1.25, 3)
    curves = [round(min(1.0, gain * (i / 255) ** gamma) * 255) for gain in gains for i in range(256)]
    out = turned.convert("RGB").point(curves)
    out.putalpha(image.getchannel("A"))
    return out


class Composer:
    """Composes scenes of one split; the same generator gives the same scenes."""

    def __init__(self, split: str, world: Path = WORLD, *, subjects: bool = False) -> None:
        """Read every source of the split ("train" or "test") into memory.

        Args:
            split: whose sources.
            world: where they lie.
            subjects: whether every scene has one or two objects, and its background no subject of its own.
        """
        held_out, self.subjects = split == "test", subjects
        self.tints = TINTED if subjects and not held_out else 0.0
        chosen = photos(world, held_out=held_out, stages=subjects)
        if subjects:  # there are few of them: a photograph that two packages hold must not count twice
            chosen = list({(s.path.stem, s.caption): s for s in chosen}.values())
        self.photos = [(read_photo(s), s.caption) for s in chosen]
        self.cutouts: list[tuple[Image.Image, str]] = []
        self.emojis: list[tuple[Image.Image, str]] = []
        for source in cutouts(world):
            if source.held_out == held_out and (image := read_cutout(source)):
                (self.cutouts if source.kind == "cutout" else self.emojis).append((image, source.caption))
        self.others: list[tuple[Image.Image, str]] = []
        self.places = panoramas(world) if subjects and not held_out else ()
        for source in other_objects(world) if subjects and not held_out else ():
            if not source.held_out and (image := read_cutout(source)):
                self.others.append((image, source.caption))

    def background(self, random: np.random.Generator) -> tuple[Image.Image, str]:
        """Return a random crop of a random photograph at a random scale; for subjects, now and then a drawn wall."""
        if self.subjects and random.random() < DRAWN:
            draw, words = ((floor_texture, "a floor"), (wall_texture, "a wall"))[random.integers(2)]
            return Image.fromarray(draw(random, SIDE)), words
        if self.places and random.random() < LOOKED:
            pixels, caption = view(self.places, random, SIDE)
            return Image.fromarray(pixels), caption
        image, caption = self.photos[random.integers(len(self.photos))]
        return random_crop(image, random, SIDE), caption

    def pick(self, random: np.random.Generator) -> tuple[Image.Image, str]:
        """Return a random object and its caption; one in four is drawn, `OTHERS` are others where there are any."""
        pool = self.emojis if self.emojis and random.random() < 0.25 else self.cutouts
        pool = self.others if self.others and random.random() < OTHERS else pool
        return pool[random.integers(len(pool))]

    def paste(self, scene: Image.Image, mask: Image.Image, largest: float, random: np.random.Generator) -> str:
        """Paste one object in place, write its mask and return its caption."""
        image, caption = self.pick(random)
        if self.tints and random.random() < self.tints:
            image = tinted(image, random)
        scale = random.uniform(0.3, largest) * SIDE / max(image.size)
        size = (max(8, round(image.width * scale)), max(8, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if random.random() < 0.3:
            image = image.rotate(random.uniform(-25, 25), Image.Resampling.BICUBIC, expand=True)
        at = (int(random.integers(0, max(1, SIDE - image.width))), int(random.integers(0, max(1, SIDE - image.height))))
        alpha = image.getchannel("A")
        scene.paste(image.convert("RGB"), at, alpha)
        mask.paste(255, at, alpha)
        return caption

    def scene(self, random: np.random.Generator, objects: int | None = None) -> Scene:
        """Compose one scene of zero to three objects; of one or two for subjects."""
        picture, place = self.background(random)
        mask = Image.new("L", (SIDE, SIDE), 0)
        counts = [1, 1, 2] if self.subjects else [0, 0, 1, 1, 1, 1, 2, 2, 3]
        count = int(random.choice(counts)) if objects is None else objects
        names = [self.paste(picture, mask, 0.85 if count == 1 else 0.55, random) for _ in range(count)]
        caption = f"{' and '.join(names)} in front of {place}" if names else place
        return Scene(pixels=np.asarray(picture), mask=np.asarray(mask), caption=caption)


def scenes(composer: Composer, count: int, seed: int) -> Iterator[Scene]:
    """Yield `count` scenes; scene i depends only on the seed and i."""
    for index in range(count):
        yield composer.scene(np.random.default_rng([seed, index]))


def bank(split: str, *, subjects: bool = False, root: Path = WORLD.parent / "banks") -> Path:
    """Return the folder of a bank of scenes."""
    return root / f"{'subjects-' * subjects}{split}"


def write_bank(folder: Path, split: str, count: int, seed: int, *, subjects: bool = False) -> None:
    """Write pixels.npy, masks.npy and captions.json of `count` scenes."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.lib.format.open_memmap(folder / "pixels.tmp.npy", "w+", np.uint8, (count, SIDE, SIDE, 3))
    masks = np.lib.format.open_memmap(folder / "masks.npy", "w+", np.uint8, (count, SIDE, SIDE))
    captions: list[str] = []
    composer = Composer(split, subjects=subjects)
    pools = {
        "cut-outs": composer.cutouts,
        "emojis": composer.emojis,
        "others": composer.others,
        "panoramas": composer.places,
    }
    told = ", ".join(f"{len(pool)} {name}" for name, pool in pools.items())
    tqdm.write(f"{split}: {len(composer.photos)} photographs, {told}")
    for index, scene in enumerate(tqdm(scenes(composer, count, seed), total=count, unit="scene", mininterval=10)):
        pixels[index], masks[index] = scene.pixels, scene.mask
        captions.append(scene.caption)
    (folder / "captions.json").write_text(json.dumps(captions))
    pixels.flush()
    (folder / "pixels.tmp.npy").rename(folder / "pixels.npy")


def main() -> None:
    """Write one bank of scenes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--split", choices=["train", "test"], default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--subjects", action="store_true", help="one or two objects before a place without a subject")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    out = args.out or bank(args.split, subjects=args.subjects)
    write_bank(out, args.split, args.count, args.seed, subjects=args.subjects)


if __name__ == "__main__":
    main()
