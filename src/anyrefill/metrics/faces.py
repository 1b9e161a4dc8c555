"""Who is in a picture: 128 numbers of a face, by dlib's network of faces (22.5 MB, CC0).

Source: King 2017, dlib's dlib_face_recognition_resnet_model_v1; two photographs of a person are said to be less than
0.6 apart. Its 5 landmarks align the face; the well-known file of 68 is not for commercial use and not needed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from anyrefill.metrics.weights import FACE_LANDMARKS, FACE_NETWORK, find, require, weights_folder
from anyrefill.types import Panel

__all__ = ["APART", "Face", "Faces", "FoundFace", "PairFaces", "compare", "face", "largest_face"]

Face = Float[Tensor, "128"]
Edges = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels of a picture; a face may reach beyond it."""

APART = 0.6
"""L2 distance of two faces from which on dlib's author takes them for two people, on photographs."""

SIDE, LARGEST, CHIP = 256, 1024, 150
"""Shorter sides between which faces are looked for, so that a head in a panel of 128 px is found and a large photograph
takes no longer than half a second; the network's input."""

LOOKED_AT = (SIDE, 2 * SIDE, LARGEST)
"""Least shorter sides at which `largest_face` looks, one after the other."""

HALF_SEEN = -0.3
"""The detector's score from which on a face is taken where none is above 0. Of 688 panels of held-out rendered people,
each with one face, it finds none in 62 above 0 and in 30 above this, and nowhere a second one."""


@dataclass(frozen=True, kw_only=True)
class FoundFace:
    """A face in a picture.

    Attributes:
        box: where it is.
        score: of the detector; it is sure above 0.
        description: who it is.
    """

    box: Edges
    score: float
    description: Face


@dataclass(frozen=True, kw_only=True)
class PairFaces:
    """What the faces of two panels come to.

    Attributes:
        reference: how many there are in the left panel.
        target: how many there are in the right one.
        distance: L2, of the two faces if each panel has one; see `APART`.
    """

    reference: int
    target: int
    distance: float | None


@final
class Faces:
    """Finds the faces of a picture and describes them.

    Args:
        folder: of the weights; `weights_folder` if not given.

    Raises:
        UserError: weights or dlib are missing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._dlib = require("dlib", extra="faces")
        self._find = self._dlib.get_frontal_face_detector()
        self._landmarks = self._dlib.shape_predictor(str(find(FACE_LANDMARKS, folder)))
        self._network = self._dlib.face_recognition_model_v1(str(find(FACE_NETWORK, folder)))

    def __call__(self, panel: Panel) -> Face | None:
        """Return the description of the largest face, or None where no face is found."""
        return next((found.description for found in self._finding(panel) if found.score > 0), None)

    def find(self, panel: Panel) -> list[FoundFace]:
        """Return the faces that the detector is sure of, the largest first; if none, the surest that it half sees."""
        return list(self._finding(panel))

    def _finding(self, panel: Panel) -> Iterator[FoundFace]:
        """Yield them, each described only when it is asked for."""
        pixels, scale = _resized(panel)
        for score, box in _seen(self._find, pixels):
            yield self._described(pixels, box, score, scale)

    def _described(self, pixels: UInt8[np.ndarray, "h w 3"], box: Any, score: float, scale: float) -> FoundFace:  # noqa: ANN401
        """Return the face in a box of the resized picture."""
        chip = self._dlib.get_face_chip(pixels, self._landmarks(pixels, box), CHIP)
        description = torch.tensor(list(self._network.compute_face_descriptor(chip)))
        return FoundFace(box=_edges(box, scale), score=score, description=description)


def compare(reference: Sequence[FoundFace], target: Sequence[FoundFace]) -> PairFaces:
    """Return what the faces found in the two panels of a pair come to."""
    alone = len(reference) == len(target) == 1
    distance = (reference[0].description - target[0].description).norm().item() if alone else None
    return PairFaces(reference=len(reference), target=len(target), distance=distance)


def face(panel: Panel) -> Face | None:
    """Return what `Faces` says of a picture; the weights are read once.

    Raises:
        UserError: weights or dlib are missing.
    """
    return _shared(weights_folder())(panel)


def largest_face(panel: Panel) -> Edges | None:
    """Return where the largest face of a picture is, or None where no face is found; no weights are needed.

    Faces are looked for in ever larger copies of the picture, since dlib finds none of less than 80 px; one that is
    half seen is taken where no copy shows one for sure.

    Raises:
        UserError: dlib is missing.
    """
    detector, half_seen = require("dlib", extra="faces").get_frontal_face_detector(), None
    for least in LOOKED_AT:
        pixels, scale = _resized(panel, least)
        for score, box in _seen(detector, pixels)[:1]:
            if score > 0:
                return _edges(box, scale)
            half_seen = half_seen or _edges(box, scale)
    return half_seen


@lru_cache(maxsize=1)
def _shared(folder: Path) -> Faces:
    return Faces(folder)


def _seen(detector: Any, pixels: UInt8[np.ndarray, "h w 3"]) -> list[tuple[float, Any]]:  # noqa: ANN401
    """Return score and box of the faces that are sure, the largest first; if none, of the surest that is half seen."""
    boxes, scores, _ = detector.run(pixels, 0, HALF_SEEN)
    seen = sorted(zip(scores, boxes, strict=True), key=lambda one: one[0], reverse=True)
    sure = [one for one in seen if one[0] > 0]
    return sorted(sure or seen[:1], key=lambda one: one[1].area(), reverse=True)


def _edges(box: Any, scale: float) -> Edges:  # noqa: ANN401
    """Return dlib's box in pixels of the picture before it was resized."""
    left, top, right, bottom = (round(edge / scale) for edge in (box.left(), box.top(), box.right(), box.bottom()))
    return left, top, right, bottom


def _resized(panel: Panel, least: int = SIDE) -> tuple[UInt8[np.ndarray, "h w 3"], float]:
    """Return a picture at the size at which faces are looked for, 0-255, and its scale."""
    shorter = min(panel.shape[1:])
    scale = min(max(shorter, least), LARGEST) / shorter
    if scale != 1:
        panel = interpolate(panel[None], scale_factor=scale, mode="bicubic", antialias=scale < 1)[0]
    return ((panel.clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0).contiguous().numpy().astype(np.uint8), scale
