"""Panoramas: photographs all around a place, in any direction of which a camera can look (Poly Haven, CC0).

They are light probes in linear light; here they are brought to the brightness of a photograph once, and views are cut
from that. Three are held out by name.
"""

import base64
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from recipes.world.fetch import WORLD

HELD_OUT = {"interior", "venice", "lobby"}
WORDS = {
    "city": "a city", "courtyard": "a courtyard", "forest": "a forest", "interior": "a hotel room",
    "night": "a field at night", "studio": "a studio", "sunrise": "a meadow at sunrise",
    "sunset": "a lake shore at sunset", "apartment": "an apartment", "bridge": "a bridge", "dawn": "mountains at dawn",
    "esplanade": "a shop", "hall": "a hall", "lab": "a workshop", "lobby": "a lobby", "park": "a park",
    "sky": "a sky with clouds", "venice": "a square in venice", "warehouse": "a warehouse",
    "workshop": "a factory hall",
}  # fmt: skip
"""Captions by the stem of the file."""


@dataclass(frozen=True, kw_only=True)
class Panorama:
    """A place: (H, 2 H, 3) uint8, the top row straight up, its caption, and whether no training step sees it."""

    pixels: np.ndarray
    caption: str
    held_out: bool


def files(world: Path) -> Iterator[Path]:
    """Yield the panoramas of Blender's data and of @pmndrs/assets, whatever is there of them."""
    yield from sorted((world / "x/blender-data/usr/share/blender/datafiles/studiolights/world").glob("*.exr"))
    yield from sorted((world / "x/npm_pmndrs-assets/package/hdri").glob("*.exr.js"))


def read(path: Path) -> np.ndarray:
    """Return linear light (H, W, 3) of an EXR file, or of a JavaScript module that holds one in base 64."""
    import OpenEXR

    if path.suffix == ".js":
        found = re.search(r"base64,([A-Za-z0-9+/=]+)", path.read_text())
        if not found:
            raise ValueError(f"{path} holds no picture in base 64")
        with tempfile.TemporaryDirectory() as scratch:
            unpacked = Path(scratch) / "panorama.exr"
            unpacked.write_bytes(base64.b64decode(found[1]))
            return read(unpacked)
    with OpenEXR.File(str(path)) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    whole = channels.get("RGB", channels.get("RGBA"))
    return np.asarray(whole[..., :3] if whole is not None else np.stack([channels[c] for c in "RGB"], 2), np.float32)


def developed(light: np.ndarray) -> np.ndarray:
    """Return 8-bit pixels of linear light: the middle made grey, lights pressed together, in sRGB's curve.

    Source: Reinhard et al. 2002, equations 1, 2 and 4; IEC 61966-2-1.
    """
    light = np.clip(np.nan_to_num(light, nan=1e4, posinf=1e4), 0, 1e4)
    luminance = light @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    scaled = light * (0.29 / np.exp(np.log(luminance + 1e-4).mean()))
    pressed = np.clip(scaled * (1 + scaled / 16) / (1 + scaled / 4), 0, 1)
    curve = np.where(pressed <= 0.0031308, 12.92 * pressed, 1.055 * np.maximum(pressed, 1e-6) ** (1 / 2.4) - 0.055)
    return (255 * curve).round().astype(np.uint8)


@cache
def panoramas(world: Path = WORLD, *, held_out: bool = False) -> tuple[Panorama, ...]:
    """Return those of one split."""
    found = [(path, path.name.partition(".")[0]) for path in files(world)]
    return tuple(
        Panorama(pixels=developed(read(path)), caption=WORDS.get(stem, stem), held_out=held_out)
        for path, stem in found
        if (stem in HELD_OUT) == held_out
    )


def look(panorama: Panorama, yaw: float, pitch: float, field: float, side: int) -> np.ndarray:
    """Return what a camera in the middle sees, (side, side, 3) uint8.

    Args:
        panorama: the place.
        yaw: to the right of the panorama's middle column, degrees.
        pitch: upwards, degrees.
        field: of view, degrees.
        side: pixels.
    """
    height, width = panorama.pixels.shape[:2]
    down, right = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    ahead, tilt = 0.5 / np.tan(np.radians(field) / 2), np.radians(pitch)
    up = -down * np.cos(tilt) + ahead * np.sin(tilt)
    forward = ahead * np.cos(tilt) + down * np.sin(tilt)
    longitude = np.arctan2(right, forward) + np.radians(yaw)
    latitude = np.arctan2(up, np.hypot(right, forward))
    x = (longitude / (2 * np.pi) + 0.5) % 1 * width - 0.5
    y = (0.5 - latitude / np.pi) * height - 0.5
    return cv2.remap(panorama.pixels, *(a.astype(np.float32) for a in (x, y)), cv2.INTER_LINEAR, None, cv2.BORDER_WRAP)


def view(choice: tuple[Panorama, ...], random: np.random.Generator, side: int) -> tuple[np.ndarray, str]:
    """Return a view of one of these places in a random direction, and its caption."""
    place = choice[random.integers(len(choice))]
    field = random.uniform(50, 85)
    return look(place, random.uniform(0, 360), random.uniform(-20, 12), field, side), place.caption
