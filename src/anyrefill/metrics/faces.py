"""Who is in a picture: 128 numbers of a face, by dlib's network of faces (22.5 MB, CC0).

Source: King 2017, dlib's dlib_face_recognition_resnet_model_v1; two photographs of a person are said to be less than
0.6 apart. Its 5 landmarks align the face; the well-known file of 68 is not for commercial use and not needed.
"""

from functools import lru_cache
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from anyrefill.metrics.weights import FACE_LANDMARKS, FACE_NETWORK, find, require, weights_folder
from anyrefill.types import Panel

__all__ = ["Face", "Faces", "face"]

Face = Float[Tensor, "128"]

SIDE, CHIP = 256, 150
"""Shorter side at which faces are looked for, so that a head in a panel of 128 px is found; the network's input."""


@final
class Faces:
    """Finds the largest face of a picture and describes it.

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
        """Return the description, or None where no face is found."""
        scale = max(1.0, SIDE / min(panel.shape[1:]))
        large = interpolate(panel[None], scale_factor=scale, mode="bicubic") if scale > 1 else panel[None]
        pixels = ((large[0].clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0).contiguous().numpy().astype(np.uint8)
        found = max(self._find(pixels), key=lambda box: box.area(), default=None)
        if found is None:
            return None
        chip = self._dlib.get_face_chip(pixels, self._landmarks(pixels, found), CHIP)
        return torch.tensor(list(self._network.compute_face_descriptor(chip)))


def face(panel: Panel) -> Face | None:
    """Return what `Faces` says of a picture; the weights are read once.

    Raises:
        UserError: weights or dlib are missing.
    """
    return _shared(weights_folder())(panel)


@lru_cache(maxsize=1)
def _shared(folder: Path) -> Faces:
    return Faces(folder)
