"""Two-panel canvases of one scene, as the web shows them: the corpus of the transformer's pretraining.

No task's pair is among them: the two panels differ by tone, place or view, never by what a task asks for.
A tone that has a name stands in the caption, so that words can steer it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

PANEL = 128
Picture = np.ndarray
"""(H, W, 3) uint8."""


def clip(values: np.ndarray) -> Picture:
    """Round to 8 bits."""
    return np.clip(values, 0, 255).astype(np.uint8)


def contrast(picture: Picture, factor: float) -> Picture:
    """Stretch around mid-grey."""
    return clip((picture - 127.5) * factor + 127.5)


def gains(*rgb: float) -> Callable[[Picture], Picture]:
    """Return a tone that multiplies the channels."""
    return lambda picture: clip(picture * np.array(rgb))


TONES: dict[str, Callable[[Picture], Picture]] = {
    "brighter": lambda p: clip(255 * (p / 255) ** 0.6),
    "darker": lambda p: clip(255 * (p / 255) ** 1.8),
    "warmer": gains(1.2, 1.0, 0.7),
    "colder": gains(0.75, 0.95, 1.25),
    "greener": gains(0.8, 1.15, 0.75),
    "pinker": gains(1.15, 0.75, 1.05),
    "more contrast": lambda p: contrast(p, 1.6),
    "faded": lambda p: contrast(p, 0.5),
    "inverted": lambda p: 255 - p,
    "more colorful": lambda p: clip(p.mean(2, keepdims=True) + 1.8 * (p - p.mean(2, keepdims=True))),
}
"""Tones with a name; what they do to 8-bit pixels."""


def random_tone(picture: Picture, random: np.random.Generator) -> Picture:
    """Return the picture under a tone that has no name."""
    kind = random.random()
    if kind < 0.35:
        return clip(picture * random.uniform(0.5, 1.5, 3) + random.uniform(-40, 40, 3))
    if kind < 0.6:
        return clip((picture - 127.0) @ (np.eye(3) + random.normal(0, 0.35, (3, 3))).T + 127)
    if kind < 0.75:
        return clip(255 * (picture / 255) ** random.uniform(0.4, 2.5))
    grey = picture @ np.array([0.299, 0.587, 0.114]) / 255
    knots = random.uniform(0, 255, (4 if kind < 0.85 else 2, 3))
    places = np.linspace(0, 1, len(knots))
    return clip(np.stack([np.interp(grey, places, knots[:, c]) for c in range(3)], axis=2))


def view(scene: Picture, random: np.random.Generator, turn: float, zoom: float, shift: float) -> Picture:
    """Return a panel of the scene seen from nearby: turned (degrees), zoomed (factor) and shifted (pixels)."""
    side = scene.shape[0]
    scale = np.exp(random.uniform(-np.log(zoom), np.log(zoom)))
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), random.uniform(-turn, turn), scale)
    matrix[:, 2] += random.uniform(-shift, shift, 2) - (side - PANEL) / 2
    return cv2.warpAffine(scene, matrix, (PANEL, PANEL), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def strokes(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Return a mask of one to three boxes or thick open polylines."""
    mask = np.zeros((height, width), np.uint8)
    for _ in range(random.integers(1, 4)):
        if random.random() < 0.5:
            y, x = random.integers(0, height - 16), random.integers(0, width - 16)
            mask[y : y + random.integers(16, height // 2 + 16), x : x + random.integers(16, height // 2 + 16)] = 1
        else:
            points = np.stack([random.integers(0, width, 6), random.integers(0, height, 6)], 1).astype(np.int32)
            cv2.polylines(mask, [points], False, 1, int(random.integers(8, 28)))
    return mask


def canvas_mask(random: np.random.Generator) -> np.ndarray:
    """Return (128, 256) of 0 and 1: mostly the whole right panel, else strokes, the left panel, or both."""
    mask = np.zeros((PANEL, 2 * PANEL), np.uint8)
    kind = random.random()
    if kind < 0.62:
        mask[:, PANEL:] = 1
    elif kind < 0.67:
        mask[:, :PANEL] = 1
    elif kind < 0.70:
        mask[:] = 1
    elif kind < 0.90:
        mask[:, PANEL:] = strokes(PANEL, PANEL, random)
    else:
        mask = strokes(PANEL, 2 * PANEL, random)
    return mask


@dataclass(frozen=True, kw_only=True)
class Diptych:
    """One canvas for pretraining: pixels (128, W, 3) uint8, mask (128, W) of 0 and 1, caption."""

    pixels: Picture
    mask: np.ndarray
    caption: str


def diptych(scene: Picture, caption: str, random: np.random.Generator) -> Diptych:
    """Return two panels of one scene: same place 65 %, shifted 12 %, turned and zoomed 23 %."""
    place = random.random()
    if place < 0.65:
        left = right = view(scene, random, 0, 1.15, 14)
    elif place < 0.77:
        left, right = view(scene, random, 0, 1, 14), view(scene, random, 0, 1, 14)
    else:
        left, right = view(scene, random, 8, 1.1, 8), view(scene, random, 12, 1.25, 14)
    if random.random() < 0.15:
        left, right = left[:, ::-1], right[:, ::-1]
    tone = random.random()
    if tone < 0.25:
        pass
    elif tone < 0.65:
        name = list(TONES)[random.integers(len(TONES))]
        right, caption = TONES[name](right), f"{caption}, {name}"
    elif tone < 0.80:
        left = random_tone(left, random)
    else:
        right = random_tone(right, random)
    return Diptych(pixels=np.concatenate([left, right], axis=1), mask=canvas_mask(random), caption=caption)


def single(scene: Picture, caption: str, random: np.random.Generator) -> Diptych:
    """Return one panel with a hole, as the fill model itself is trained."""
    panel = view(scene, random, 0, 1.15, 14)
    panel = panel[:, ::-1] if random.random() < 0.5 else panel
    mask = np.ones((PANEL, PANEL), np.uint8) if random.random() < 0.15 else strokes(PANEL, PANEL, random)
    return Diptych(pixels=panel, mask=mask, caption=caption)
