"""Where a picture's subject is, by U2-Net-p (4.6 MB), through onnxruntime.

Source: Qin et al. 2020, U^2-Net (arXiv 2005.09007); the preparation of pictures as in danielgatis/rembg.
"""

from functools import lru_cache
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch.nn.functional import interpolate

from anyrefill.metrics.weights import U2NETP, find, require, weights_folder
from anyrefill.types import Mask, Panel

__all__ = ["U2NetP", "subject"]

SIDE = 320
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


@final
class U2NetP:
    """Finds the subject of a picture.

    Args:
        device: ``cpu``, or ``cuda`` where onnxruntime was built for it.
        folder: of the weights; `weights_folder` if not given.

    Raises:
        UserError: weights or onnxruntime are missing.
    """

    def __init__(self, device: str = "cpu", folder: Path | None = None) -> None:
        runtime = require("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        providers = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
        self._session = runtime.InferenceSession(
            str(find(U2NETP, folder)), options, providers=[*providers, "CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, panel: Panel) -> Mask:
        """Return 1 where the network is more than half as sure as where it is surest; it runs at 320 x 320."""
        unit = interpolate((panel[None] + 1) / 2, (SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)
        unit = (unit / unit.max().clamp_min(1e-6) - MEAN) / DEVIATION
        (first, *_) = self._session.run(None, {self._input: unit.numpy().astype(np.float32)})
        sure = torch.from_numpy(first).reshape(1, 1, SIDE, SIDE)
        sure = (sure - sure.min()) / (sure.max() - sure.min()).clamp_min(1e-6)
        return (interpolate(sure, tuple(panel.shape[1:]), mode="bilinear")[0] > 0.5).float()


def subject(panel: Panel) -> Mask:
    """Return `U2NetP`'s mask of a picture's subject; the weights are read once.

    Raises:
        UserError: weights or onnxruntime are missing.
    """
    return _shared(weights_folder())(panel)


@lru_cache(maxsize=1)
def _shared(folder: Path) -> U2NetP:
    return U2NetP(folder=folder)
