"""Every photograph and every cut-out of the world: its file, its words, and which split it belongs to.

The split is by source: a held-out photograph, object or emoji is never seen by any training step, not even
as a crop. Cut-outs are held out by hash (one in eight), photographs by the list below.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from recipes.world.fetch import WORLD
from recipes.world.furniture import entries

HELD_OUT_PHOTOS = {
    "astronaut", "chelsea", "coffee", "rocket", "china", "flower", "motorcycle_left", "motorcycle_right",
    "bicycle", "guitar", "plane", "cat", "giraffe", "penguin", "elephant", "polar_bear", "gorilla", "lion",
    "colosseum", "machuPicchu", "tajMahal", "eiffelTower", "EveningGlow", "Path", "1-maine",
}  # fmt: skip

STAGES = {
    "BytheWater", "ColorfulCups", "DarkestHour", "Kite", "OneStandsOut", "summer_1am", "EveningGlow", "Path",
    "Blinds", "Dune", "GreenMeadow", "RainDrops", "Storm", "Wood", "mountain", "citrus-fruits",
    "aitzgorri_by_Aitzol_Berasategi", "analogpattern_by_Peter_Nerlich", "life_by_Aitzol_Berasategi",
    "picosdeeuropa_by_Aitzol_Berasategi", "sunset_by_Aitzol_Berasategi", "umang_by_Abhishek_Mudgal",
    "ajantaCave", "bentPyramid", "canyondeChelly", "castillodeSanMarcos", "citedeCarcassonne", "colosseum",
    "fortSumter", "georgeWashingtonBirthplace", "greatWall", "greatWallofChina", "hawaMahal", "konarkSunTemple",
    "machuPicchu", "mysorePalace", "navajo", "palaisdesPapes", "petra", "pontduGard", "rocamadour",
    "trierImperialBaths", "zimniPalace", "dam1", "dam2", "dam3", "dam4", "dam5", "geothermal", "solar4", "solar5",
}  # fmt: skip
"""Photographs of places, skies and surfaces: chosen by eye, since no animal, person or thing in them stands out."""

RENAMED = {
    "bythewater": "a lake shore", "coldripple": "cold ripples on water", "colorfulcups": "colorful cups",
    "darkesthour": "a night sky", "eveningglow": "the sky in the evening", "fallenleaf": "a fallen leaf",
    "onestandsout": "pencils", "summer 1am": "a bright summer night", "path": "a path in a forest",
    "grey": "a grey landscape", "kite": "a kite in the sky", "autumn": "autumn leaves", "wood": "wood",
    "aqua": "water", "twowings": "a butterfly", "storm": "a storm", "greenmeadow": "a green meadow",
    "raindrops": "rain drops on glass", "blinds": "blinds", "freshflower": "a fresh flower",
    "ladybird": "a ladybird", "yellowflower": "a yellow flower", "dune": "a sand dune", "garden": "a garden",
    "maine": "a cat", "jasmina": "a cat", "march": "a cat", "cat face day": "a cat", "tortoiseshell": "a cat",
    "chelsea": "a cat", "astronaut": "an astronaut", "coffee": "a cup of coffee", "rocket": "a rocket",
    "china": "a chinese temple", "flower": "a flower", "picosdeeuropa": "mountains", "umang": "a landscape",
    "aitzgorri": "mountains", "seeding": "a plant seeding", "greentock": "green plants", "free": "a landscape",
    "life": "a landscape", "friends": "friends", "wine": "a glass of wine", "analogpattern": "a pattern",
    "picture 1a": "a pattern", "picture 0b": "a pattern", "hubble deep field": "galaxies in space",
}  # fmt: skip


FLAT = r"button|sign|symbol|arrow|squared|ideograph|keycap|clock face|zodiac|aries|heart"
"""Emojis whose names match are left out."""


DRAWN = (
    "animals|food|people/(clothing|[^/]*$)|plants|tools|containers|electronics|transportation|"
    "recreation/(toys|music|sports)"
)
SIGNS = r"roadsigns|aiga|sign|symbol|icon|map|border|frame|logo|pattern|linked"
"""Clip art of these kinds is taken, unless its name matches the second."""
MANY = 20_000_000
"""Pixels of a drawing that takes too long to read."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One picture of the world.

    Attributes:
        path: where it lies.
        caption: its words, lower case, no full stop.
        kind: "photo" (a whole picture), or an object with alpha: "cutout" (a photograph), "emoji", "icon" (a rendered
            one) or "drawing".
        held_out: never trained on.
        is_stage: a photograph without a subject of its own.
    """

    path: Path
    caption: str
    kind: str
    held_out: bool
    is_stage: bool = False


def held_out_by_hash(name: str) -> bool:
    """Return whether an object's name falls into the held-out eighth."""
    return hashlib.sha256(name.encode()).digest()[0] % 8 == 0


def words_of(stem: str) -> str:
    """Turn a file name into words: 'tajMahal_by_Someone' -> 'taj mahal'."""
    stem = re.sub(r"_by_.*", "", stem)
    stem = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)
    stem = re.sub(r"[-_0-9]+(?![aA])", " ", stem)
    words = re.sub(r"\s+", " ", stem).strip().lower()
    return RENAMED.get(words.replace(" ", ""), RENAMED.get(words, words))


def photo(path: Path, name: str | None = None) -> Source:
    """Return a whole photograph's record."""
    name = name or path.stem
    return Source(
        path=path, caption=words_of(name), kind="photo", held_out=name in HELD_OUT_PHOTOS, is_stage=name in STAGES
    )


def wallpapers(world: Path) -> Iterator[Source]:
    """Yield the desktop photographs of KDE, MATE, Ubuntu Touch, GNOME and Palapeli."""
    kde = (
        "Autumn BytheWater ColdRipple ColorfulCups DarkestHour "
        "EveningGlow FallenLeaf Grey Kite OneStandsOut Path summer_1am"
    )
    root = world / "x/plasma-workspace-wallpapers/usr/share/wallpapers"
    yield from (photo(root / name / "contents/images/2560x1600.jpg", name) for name in kde.split())
    for pattern in (
        "mate-backgrounds/usr/share/backgrounds/mate/nature/*.jpg",
        "lomiri-wallpapers-16.04/usr/share/backgrounds/*.jpg",
        "gnome-control-center-data/usr/share/pixmaps/faces/*.jpg",
        "gnome-taquin/usr/share/gnome-taquin/themes/cats/*.jpg",
        "palapeli-data/usr/share/palapeli/collection/*.jpg",
        "py_scikit_learn/sklearn/datasets/images/*.jpg",
    ):
        yield from (photo(path) for path in sorted((world / "x").glob(pattern)) if not path.is_symlink())
    names = "astronaut chelsea coffee rocket hubble_deep_field motorcycle_left motorcycle_right"
    for path in sorted((world / "x/py_scikit_image/skimage/data").glob("*.*")):
        if path.stem in names.split():
            yield photo(path)


def gcompris(world: Path) -> Iterator[Source]:
    """Yield GCompris' photographs of animals, monuments, music and categories."""
    for activity, pattern in (
        ("erase", "resource/*.webp"),
        ("explore_monuments", "resource/**/*.webp"),
        ("explore_world_animals", "resource/animals/*.webp"),
        ("explore_farm_animals", "resource/animals/*.webp"),
        ("explore_world_music", "resource/music/*.webp"),
        ("details", "resource/image/*_0.webp"),
        ("categorization", "resource/images/*/*.webp"),
    ):
        root = world / "rcc" / activity / "gcompris/src/activities" / activity
        for path in sorted(root.glob(pattern)):
            name = re.sub(r"_0$", "", path.stem)
            if not re.search(r"(?i)vincent|background|map|NDP|gcompris|icon|quad", name):
                yield photo(path, name)


def stamps(world: Path) -> Iterator[Source]:
    """Yield Tux Paint's captioned cut-outs; letters, coins and flags are left out."""
    root = world / "x/tuxpaint-stamps-default/usr/share/tuxpaint/stamps"
    for path in sorted(root.rglob("*.png")):
        if re.search(r"/(symbols|flags|roadsigns|cartoon)/", str(path)):
            continue
        text = path.with_suffix(".txt")
        line = text.read_text(errors="ignore").split("\n")[0] if text.exists() else path.stem
        caption = re.sub(r"[^a-z ,-]", "", line.lower()).strip() or path.stem
        yield Source(path=path, caption=caption, kind="cutout", held_out=held_out_by_hash(path.stem))


def emojis(world: Path) -> Iterator[Source]:
    """Yield Fluent's 3D emojis (MIT), one skin tone of each."""
    for path in sorted((world / "x/npm_lobehub-fluent-emoji-3d/package/assets").glob("*.webp")):
        points = [int(part, 16) for part in path.stem.split("-") if part != "fe0f"]
        if len(points) != 1:
            continue
        caption = re.sub(r"[^a-z ,-]", "", unicodedata.name(chr(points[0]), "").lower())
        if caption and not re.search(FLAT, caption):
            yield Source(path=path, caption=caption, kind="emoji", held_out=held_out_by_hash(path.stem))


def icons(world: Path) -> Iterator[Source]:
    """Yield the pictures of Sweet Home 3D's models: rendered objects with alpha."""
    for entry in entries(world):
        path = entry.folder / entry.facts.get("icon", "none").lstrip("/")
        if path.is_file() and "model" in entry.facts:
            yield Source(path=path, caption=entry.words, kind="icon", held_out=held_out_by_hash(entry.key))


def clip_art(world: Path) -> Iterator[Source]:
    """Yield Open Clip Art's coloured drawings of animals, food, people and things (public domain)."""
    root = world / "x/openclipart-png/usr/share/openclipart/png"
    for path in sorted(root.rglob("*.png")):
        kind = path.relative_to(root).as_posix()
        if re.match(DRAWN, kind) and not re.search(SIGNS, kind) and coloured(path):
            yield Source(
                path=path, caption=words_of(path.parent.name), kind="drawing", held_out=held_out_by_hash(path.stem)
            )


def coloured(path: Path) -> bool:
    """Return whether a drawing fills its outline, with other tones than grey."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MANY:
                return False
            image.thumbnail((64, 64))
            pixels = np.asarray(image.convert("RGBA"), np.float32)
    except (OSError, ValueError):
        return False
    seen = pixels[pixels[..., 3] > 128, :3]
    rows, columns = (np.flatnonzero((pixels[..., 3] > 128).any(axis)) for axis in (1, 0))
    if len(rows) < 16 or len(columns) < 16:
        return False
    filled = len(seen) / ((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1))
    return 0.3 < filled < 0.95 and float(np.ptp(seen, axis=1).mean()) > 25


def photographic(path: Path, smallest: int = 200) -> bool:
    """Return whether a file opens, is large enough and is not a flat drawing."""
    try:
        with Image.open(path) as image:
            if min(image.size) < smallest:
                return False
            small = np.asarray(image.convert("RGB").resize((64, 64)))
    except OSError:
        return False
    return float(small.std()) > 12 and len(np.unique(small.reshape(-1, 3), axis=0)) > 1200


def photos(world: Path = WORLD, *, held_out: bool | None = None, stages: bool = False) -> list[Source]:
    """Return the whole photographs, those of one split if told, those without a subject of their own if told."""
    found = [source for source in (*wallpapers(world), *gcompris(world)) if source.is_stage or not stages]
    return [source for source in found if held_out in (None, source.held_out) and photographic(source.path)]


def cutouts(world: Path = WORLD) -> list[Source]:
    """Return the objects with alpha of which scenes are made."""
    return [*stamps(world), *emojis(world)]


def other_objects(world: Path = WORLD) -> list[Source]:
    """Return more objects with alpha, for training alone."""
    return [*icons(world), *clip_art(world)]
