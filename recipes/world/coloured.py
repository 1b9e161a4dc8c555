"""Photographs whose subject has the colour that the caption names, and their grey references.

What grey leaves open the words tell, as in figure 16 of arXiv 2502.11158: "a pale green race car in front of wood".
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from anyrefill.metrics import luma
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks.colorization import grayscale, keep_luma
from anyrefill.types import Panel

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 30),
    "orange": (240, 130, 20),
    "yellow": (235, 215, 40),
    "green": (40, 170, 60),
    "blue": (50, 90, 220),
    "purple": (140, 60, 190),
    "pink": (240, 110, 180),
}
"""Names, and what they look like, in 8-bit sRGB."""
STRENGTHS = {"pale": 0.35, "": 0.65, "vivid": 1.0}
"""Share of that colour's chroma, by the word before its name."""
OWN = 0.3
"""Share that stays of how a subject's colours differ from their mean."""
SMALLEST = 0.03
"""Share of the picture that a subject covers, if its colour is to be named."""
BEFORE = " in front of "


def chroma(colour: tuple[int, int, int]) -> torch.Tensor:
    """Return (3, 1, 1): how a colour of 8 bits differs from the grey of its luma, in units of panels."""
    panel = torch.tensor(colour).reshape(3, 1, 1) / 127.5 - 1
    return panel - luma(panel)


def coloured(photo: Photo, colour: str, strength: str) -> Panel:
    """Return the photograph, its subject in another colour under its own luma; what lies around it stays.

    Args:
        photo: with a foreground.
        colour: one of `COLOURS`.
        strength: one of `STRENGTHS`.

    Raises:
        ValueError: no foreground.
    """
    if photo.foreground is None or not photo.foreground.any():
        raise ValueError("nothing to colour: the photograph has no foreground")
    brightness, inside = luma(photo.pixels), photo.foreground > 0.5
    own = photo.pixels - brightness
    mean = (own * inside).sum((1, 2), keepdim=True) / inside.sum()
    wanted = brightness + STRENGTHS[strength] * chroma(COLOURS[colour]) + OWN * (own - mean)
    return torch.where(inside, keep_luma(photo.pixels, wanted), photo.pixels)


def bare(caption: str) -> str:
    """Return a caption without the article that it may begin with."""
    first, _, rest = caption.partition(" ")
    return rest if first in ("a", "an", "the") and rest else caption


def words(caption: str, colour: str, strength: str) -> str:
    """Return the caption of a scene with the colour before its subject: "a vivid red race car in front of wood"."""
    named = f"{strength} {colour}".strip()
    return f"{'an' if named[0] in 'aeiou' else 'a'} {named} {bare(caption)}"


def subject(caption: str) -> str:
    """Return the name of a scene's subject: "race car"."""
    return bare(caption.partition(BEFORE)[0])


def has_one_subject(photo: Photo) -> bool:
    """Return whether a scene shows one subject, no speck, before a place."""
    names, _, place = photo.caption.partition(BEFORE)
    inside = photo.foreground
    return bool(place) and " and " not in names and inside is not None and inside.mean().item() >= SMALLEST


def coloured_pair(photo: Photo, colour: str, strength: str = "") -> Pair:
    """Return grey -> the photograph with its subject in that colour, which the caption names."""
    target = coloured(photo, colour, strength)
    return Pair(
        reference=grayscale(target), target=target, mask=photo.foreground,
        caption=words(photo.caption, colour, strength), extra={"colour": colour, "strength": strength},
    )  # fmt: skip


def coloured_pairs(photos: Iterable[Photo], seed: int) -> Iterator[Pair]:
    """Yield a pair of each scene that has one subject; colour and strength are drawn."""
    for index, photo in enumerate(photos):
        if not has_one_subject(photo):
            continue
        random = np.random.default_rng([41, seed, index])
        colour, strength = (list(names)[random.integers(len(names))] for names in (COLOURS, STRENGTHS))
        yield coloured_pair(photo, colour, strength)
