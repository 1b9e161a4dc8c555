"""Rendered people for tests: the bundled pairs of age, gender and relight."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from anyrefill import images
from anyrefill.demo import PHOTOS
from anyrefill.metrics.weights import FACE_NETWORK, weights_folder
from anyrefill.types import Panel

needs_faces = pytest.mark.skipif(
    find_spec("dlib") is None or not (weights_folder() / FACE_NETWORK.name).is_file(),
    reason="pip install 'anyrefill[faces]' and run recipes/weights.py",
)


def person(task: str, number: int, side: str = "reference") -> Path:
    return PHOTOS / "pairs" / task / f"{number}-{side}.jpg"


def two_heads() -> Panel:
    """Return two people's heads side by side, as large as one of them usually is."""
    heads = [images.to_panel(person(*one))[:, :, 28:92] for one in (("age", 1), ("age", 3))]
    return torch.cat(heads, dim=2)


def lay_out(folder: Path, numbered: dict[str, tuple[Path, Path]]) -> tuple[Path, Path]:
    """Copy pairs into a folder of references and one of targets, and return both."""
    left, right = folder / "left", folder / "right"
    for side, index in ((left, 0), (right, 1)):
        side.mkdir(parents=True)
        for name, paths in numbered.items():
            shutil.copy(paths[index], side / f"{name}{paths[index].suffix}")
    return left, right
