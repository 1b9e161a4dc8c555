"""A part of a picture painted as large as the panel, everything around it left as it is.

A panel has few pixels, and a person who fills a small part of a photograph gets few of them. In a box around that part
they get all. Ours; recipes/boxes.py measures what it pays.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anyrefill.errors import UserError
from anyrefill.images import SMALLEST_SIDE
from anyrefill.types import Panel

__all__ = ["Around", "Box", "BoxLike", "box_in"]

BoxLike = Sequence[int] | str
"""(left, top, right, bottom) in pixels, or "face": head and shoulders of the largest face that dlib finds."""

SOFT = 16
"""Sides of a box to the width of its soft edge."""

FACE, MIDDLE, LEVEL = 0.45, 0.48, 0.53
"""A face's side and its middle from the left and from the top, in sides of the panel, as the portraits have them that
age, gender and relight learnt from: medians of dlib's boxes in 113 held-out ones."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part of a picture.

    Attributes:
        left: first column.
        top: first row.
        right: column after the last.
        bottom: row after the last.
    """

    left: int
    top: int
    right: int
    bottom: int

    def __str__(self) -> str:
        """Return it as ``--box`` takes it."""
        return f"{self.left},{self.top},{self.right},{self.bottom}"

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom


@dataclass(frozen=True, kw_only=True)
class Around:
    """A picture, and the box of it that is painted.

    Attributes:
        picture: all of it, in [-1, 1].
        box: inside of it.
    """

    picture: Float[Tensor, "3 h w"]
    box: Box

    def __call__(self, painted: Float[Tensor, "3 a b"]) -> Float[Tensor, "3 h w"]:
        """Return the picture with the painting in its box; no value outside of the box changes.

        Inside, a sixteenth of the box's side from its edge to what was painted is mixed, except at the picture's own
        edges.
        """
        left, top, right, bottom = self.box.edges
        height, width = self.picture.shape[1:]
        down = _ramp(bottom - top, soft_start=top > 0, soft_end=bottom < height)
        across = _ramp(right - left, soft_start=left > 0, soft_end=right < width)
        out = self.picture.clone()
        inside = out[:, top:bottom, left:right]
        out[:, top:bottom, left:right] = torch.lerp(inside, painted, torch.minimum(down[:, None], across[None]))
        return out


def box_in(picture: Panel, wanted: BoxLike) -> Box:
    """Return the box that is asked for.

    Args:
        picture: of which a part is to be painted.
        wanted: see `BoxLike`.

    Raises:
        UserError: the box is no box, smaller than 16 px or not inside of the picture; no face is found, or dlib is
            missing.
    """
    if isinstance(wanted, str):
        if wanted != "face":
            raise UserError(f"A box is given by its edges, left, top, right and bottom, or as face, not as {wanted}.")
        return _around_face(picture)
    if len(wanted) != 4:
        raise UserError(f"A box has four edges, left, top, right and bottom, not {len(wanted)}.")
    box = Box(left=wanted[0], top=wanted[1], right=wanted[2], bottom=wanted[3])
    height, width = picture.shape[1:]
    if box.left < 0 or box.top < 0 or box.right > width or box.bottom > height:
        raise UserError(f"The box {box} is not inside of the picture, which is {width} x {height} px.")
    if min(box.right - box.left, box.bottom - box.top) < SMALLEST_SIDE:
        raise UserError(f"The box {box} (left, top, right, bottom) needs {SMALLEST_SIDE} px or more on each side.")
    return box


def _around_face(picture: Panel) -> Box:
    """Return head and shoulders of the largest face."""
    from anyrefill.metrics.faces import largest_face

    found = largest_face(picture)
    if found is None:
        raise UserError("No face was found in the picture: give the box by its edges, left, top, right, bottom.")
    left, top, right, bottom = found
    side = round((right - left) / FACE)
    return _inside((left + right) / 2 - MIDDLE * side, (top + bottom) / 2 - LEVEL * side, side, picture)


def _inside(left: float, top: float, side: int, picture: Panel) -> Box:
    """Return a square moved, and if need be cut, to lie inside of a picture."""
    height, width = picture.shape[1:]
    x, y = (round(min(max(0, edge), max(0, length - side))) for edge, length in ((left, width), (top, height)))
    return Box(left=x, top=y, right=min(width, x + side), bottom=min(height, y + side))


def _ramp(length: int, *, soft_start: bool, soft_end: bool) -> Float[Tensor, " length"]:
    """Return how much of the painting each row or column shows."""
    soft = max(1, length // SOFT)
    rise = (torch.arange(length) + 0.5) / soft
    start, end = (rise if soft_start else torch.ones(length)), (rise.flip(0) if soft_end else torch.ones(length))
    return torch.minimum(start, end).clamp(max=1)
