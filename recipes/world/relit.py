"""Photographs under another light: Lambert's law on shapes that are guessed, for want of photographs lit twice.

A scene's subject is taken to be as round as its silhouette is wide, and what is behind it to be a wall. Both are lit
as `recipes/world/render.py` lights a portrait, by the same lamps in the same words; a photograph's own light counts as
colour of its surfaces, and nothing casts a shadow.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import torch

from anyrefill.pairs import Pair, Photo
from anyrefill.types import Panel
from recipes.world.render import LAMPS, TINTS, light_words

HALF = 2.2
"""Half a panel's side, in the units of `people.py`, where a head is 2.3 high."""
WALL = -2.0
"""How far the wall is behind the subject's outline."""
AMBIENT, LAMP = 0.22, 0.95
"""Light from everywhere, and of a white lamp from the front on what it faces; 1 leaves a colour as it is."""
GAMMA = 2.2
"""Power from 8-bit values to light, as in the renders."""
SOFT = 1 / 50
"""Sides of a panel to a standard deviation of the Gaussian that shapes are smoothed with."""


def relit_pairs(photos: Iterable[Photo], seed: int) -> Iterator[Pair]:
    """Yield each photograph in another light; half of the references are in a lamp's light already."""
    names = [(tint, place) for tint in TINTS for place in LAMPS]
    for index, photo in enumerate(photos):
        random = np.random.default_rng([79, seed, index])
        before, after = (names[number] for number in random.permutation(len(names))[:2])
        is_lit = random.random() < 0.5
        yield Pair(
            reference=lit(photo, *before) if is_lit else photo.pixels, target=lit(photo, *after),
            caption=light_words(*after),
            extra={"from": light_words(*before) if is_lit else "its own light", "place": photo.caption},
        )  # fmt: skip


def lit(photo: Photo, tint: str, place: str) -> Panel:
    """Return a photograph's pixels under a lamp.

    Args:
        photo: its foreground, if it has one, is taken to be round.
        tint: one of `render.TINTS`.
        place: one of `render.LAMPS`.

    Returns:
        (3, H, W) in [-1, 1].
    """
    light = torch.from_numpy(irradiance(photo, LAMPS[place])).float()
    colour = torch.tensor(TINTS[tint]).reshape(3, 1, 1)
    reflected = ((photo.pixels + 1) / 2) ** GAMMA * (AMBIENT + LAMP * light * colour)
    return 2 * reflected.clamp(0, 1) ** (1 / GAMMA) - 1


def irradiance(photo: Photo, lamp: tuple[float, float, float]) -> np.ndarray:
    """Return how much of a lamp's light falls on each pixel, (H, W), 1 for what faces a lamp that is in front.

    Source: the cosine law, over the square of the distance.
    """
    side = photo.pixels.shape[1]
    y, x = np.mgrid[0.5 : photo.pixels.shape[1], 0.5 : photo.pixels.shape[2]] / side * 2 * HALF - HALF
    height, rises = shape_of(photo)
    to_lamp = np.stack([lamp[0] - x, lamp[1] + y, lamp[2] - height])
    distance = np.sqrt((to_lamp**2).sum(0))
    cosine = (rises * to_lamp).sum(0).clip(0, None) / distance
    return cosine * (sum(part**2 for part in LAMPS["the front"]) / distance**2)


def shape_of(photo: Photo) -> tuple[np.ndarray, np.ndarray]:
    """Return the height (H, W) and the normals (3, H, W), y up, of a photograph: a round subject before a wall."""
    flat = np.full(photo.pixels.shape[1:], WALL)
    facing = np.stack([np.zeros_like(flat), np.zeros_like(flat), np.ones_like(flat)])
    if photo.foreground is None or not photo.foreground.any():
        return flat, facing
    inside = photo.foreground[0].numpy() > 0.5
    unit = 2 * HALF / len(flat)
    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * unit
    round_ = np.sqrt(np.maximum(0, depth.max() ** 2 - (depth.max() - depth) ** 2))
    round_ = cv2.GaussianBlur(round_, (0, 0), SOFT * len(flat))
    down, right = np.gradient(round_, unit)
    normals = np.stack([-right, down, np.ones_like(flat)])
    normals /= np.sqrt((normals**2).sum(0))
    return np.where(inside, round_, flat), np.where(inside, normals, facing)
