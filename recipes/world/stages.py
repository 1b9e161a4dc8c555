"""Stages: cut-outs stand like cardboard figures on a floor before a wall, seen from any place with exact distances.

    for photo in photos("train"): ...                         # 20 ms each; the same index gives the same stage

Geometry is as simple as a toy theatre's, hence exact: a floor, a wall, upright figures that face the audience. What
the wall shows (maybe a landscape) is as flat as the wall. Metres; x to the right, y up, z into the stage from the
audience; a camera's image is square.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count

import cv2
import numpy as np
import torch

from anyrefill.pairs import Pair, Photo
from recipes.world.canvases import PANEL, Picture, strokes
from recipes.world.rooms import floor_texture
from recipes.world.scenes import Composer

ANGLE = 52
"""Of the camera's view in degrees, as in the rendered rooms."""
FINER = 2
"""Rays a pixel along each side."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A cut-out on the floor.

    Attributes:
        pixels: (H, W, 4) float, colour times alpha, and alpha, in [0, 1].
        x: of its foot's middle.
        z: of its foot.
        height: in metres.
    """

    pixels: np.ndarray
    x: float
    z: float
    height: float

    @property
    def width(self) -> float:
        """In metres."""
        return self.height * self.pixels.shape[1] / self.pixels.shape[0]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Everything that stands on a stage, and two places to see it from.

    Attributes:
        floor: texture of 1.5 x 1.5 m.
        wall: texture of the whole wall, `SPAN` wide and high, mirrored beyond.
        back: z of the wall.
        figures: the farthest first.
        eyes: two places (x, y, z).
        target: what both look at.
        caption: what is to be seen.
    """

    floor: Picture
    wall: Picture
    back: float
    figures: tuple[Figure, ...]
    eyes: tuple[np.ndarray, np.ndarray]
    target: np.ndarray
    caption: str


SPAN = 5.0
TILE = 1.5


def draw_stage(composer: Composer, random: np.random.Generator) -> Stage:
    """Draw a stage of one to four figures."""
    wall, place = composer.background(random)
    back = random.uniform(3.2, 5.5)
    figures, names = [], []
    for _ in range(random.integers(1, 5)):
        image, name = composer.pick(random)
        pixels = np.asarray(image, np.float32) / 255
        z = random.uniform(1.8, back - 0.3)
        height = min(random.uniform(0.5, 1.5), 1.3 * image.height / image.width)
        x = random.uniform(-0.38, 0.38) * z
        weighted = np.concatenate([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]], axis=2)
        figures.append(Figure(pixels=weighted, x=float(x), z=float(z), height=float(height)))
        names.append(name)
    middle, apart = random.uniform(-0.4, 0.4), random.uniform(0.4, 1.0) * random.choice([-1, 1])
    high = random.uniform(0.7, 1.5)
    eyes = tuple(np.array([middle + side * apart / 2, high, 0]) for side in (-1, 1))
    return Stage(
        floor=floor_texture(random), wall=np.asarray(wall), back=float(back),
        figures=tuple(sorted(figures, key=lambda figure: -figure.z)), eyes=(eyes[0], eyes[1]),
        target=np.array([0, random.uniform(0.4, 0.7), 0.75 * back]), caption=f"{' and '.join(names)} before {place}",
    )  # fmt: skip


def rays(eye: np.ndarray, target: np.ndarray, side: int) -> np.ndarray:
    """Return the direction (side, side, 3) of length 1 of each pixel's ray, the top row first."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross([0, 1, 0], forward)
    right /= np.linalg.norm(right)
    reach = np.tan(np.radians(ANGLE / 2)) * ((np.arange(side) + 0.5) * 2 / side - 1)
    ways = forward + reach[None, :, None] * right - reach[:, None, None] * np.cross(forward, right)
    return (ways / np.linalg.norm(ways, axis=2, keepdims=True)).astype(np.float32)


def look(stage: Stage, eye: np.ndarray, side: int = PANEL) -> tuple[Picture, np.ndarray]:
    """Return the picture (side, side, 3) and the distance of each pixel along its ray, in metres."""
    ways, eye = rays(eye, stage.target, side * FINER), eye.astype(np.float32)
    with np.errstate(divide="ignore"):
        down = np.where(ways[..., 1] < 0, -eye[1] / ways[..., 1], np.float32(np.inf))
    across = np.float32(stage.back - eye[2]) / ways[..., 2]
    distance = np.minimum(down, across)
    points = eye + ways * distance[..., None]
    colours = np.where((across <= down)[..., None], _wall(stage, points), _floor(stage, points))
    for figure in stage.figures:
        reached = np.float32(figure.z - eye[2]) / ways[..., 2]
        seen = _figure(figure, eye + ways * reached[..., None])
        seen[reached >= distance] = 0  # behind the wall's or below the floor's point
        colours *= 1 - seen[..., 3:]
        colours += seen[..., :3]
        distance = np.where(seen[..., 3] > 0.5, reached, distance)
    pixels = cv2.resize(colours, (side, side), interpolation=cv2.INTER_AREA)
    return (pixels * 255).round().clip(0, 255).astype(np.uint8), distance[::FINER, ::FINER]


def _wall(stage: Stage, points: np.ndarray) -> np.ndarray:
    """Return the wall's colour at points on it."""
    scale = stage.wall.shape[0] / SPAN
    u, v = (points[..., 0] + SPAN / 2) * scale, (SPAN * 0.55 - points[..., 1]) * scale
    return _sample(stage.wall / np.float32(255), u, v, cv2.BORDER_REFLECT)


def _floor(stage: Stage, points: np.ndarray) -> np.ndarray:
    """Return the floor's colour at points on it, darker at the figures' feet."""
    scale = stage.floor.shape[0] / TILE
    u, v = (np.mod(points[..., axis], TILE) * scale for axis in (0, 2))
    colours = _sample(stage.floor / np.float32(255), u, v, cv2.BORDER_WRAP)
    for figure in stage.figures:
        aside = (points[..., 0] - figure.x) / (0.5 * figure.width)
        along = (points[..., 2] - figure.z) / 0.18
        colours *= (1 - 0.55 * np.exp(-(aside**2) - along**2))[..., None]
    return colours


def _figure(figure: Figure, points: np.ndarray) -> np.ndarray:
    """Return the figure's pixels (H, W, 4) at points in its plane; nothing beside it."""
    scale = figure.pixels.shape[0] / figure.height
    u, v = (points[..., 0] - figure.x + figure.width / 2) * scale, (figure.height - points[..., 1]) * scale
    return _sample(figure.pixels, u, v, cv2.BORDER_CONSTANT)


def _sample(texture: np.ndarray, u: np.ndarray, v: np.ndarray, border: int) -> np.ndarray:
    """Return a texture's values between its pixels."""
    at = [np.clip(place, -1e4, 1e4).astype(np.float32) - 0.5 for place in (u, v)]
    return cv2.remap(np.ascontiguousarray(texture, np.float32), at[0], at[1], cv2.INTER_LINEAR, borderMode=border)


def stages(split: str, seed: int = 0) -> Iterator[Stage]:
    """Yield stages of a split's objects and backgrounds without end; stage i depends on the seed and i alone."""
    for index in count():
        yield draw_stage(_composer(split), np.random.default_rng([53, seed, index]))


@cache
def _composer(split: str) -> Composer:
    """Read a split's objects and backgrounds once."""
    return Composer(split, subjects=True)


def photos(split: str) -> Iterator[Photo]:
    """Yield stages with exact depth."""
    for stage in stages(split):
        pixels, distance = look(stage, stage.eyes[0])
        inverse = torch.from_numpy(1 / distance)[None]
        depth = 2 * (inverse - inverse.min()) / (inverse.max() - inverse.min()) - 1
        yield Photo(pixels=_panel(pixels), depth=depth, caption=stage.caption)


def inpainting_pairs(split: str, seed: int = 0) -> Iterator[Pair]:
    """Yield a stage from two places, with a random hole of boxes or strokes in the second."""
    for index, stage in enumerate(stages(split, 1)):
        reference, target = (_panel(look(stage, eye)[0]) for eye in stage.eyes)
        hole = strokes(PANEL, PANEL, np.random.default_rng([59, seed, index]))
        mask = torch.from_numpy(hole.astype(np.float32))[None]
        yield Pair(reference=reference, target=target, mask=mask, caption=stage.caption, extra={"stage": index})


def _panel(pixels: Picture) -> torch.Tensor:
    """Return 8-bit pixels as (3, H, W) in [-1, 1]."""
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
