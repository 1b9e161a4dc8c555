"""Faces by dlib, see `anyrefill.metrics.faces`."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

from anyrefill.metrics.faces import Faces, FoundFace
from anyrefill.types import Panel

__all__ = ["DlibFaces"]


@final
class DlibFaces:
    """Finds faces and says who they are.

    Args:
        device: not asked; dlib of PyPI runs on the CPU.
        folder: of the weights.

    Raises:
        UserError: weights or dlib are missing.
    """

    name = "dlib"

    def __init__(self, device: str = "cpu", folder: Path | None = None) -> None:
        del device
        self._faces = Faces(folder)

    def __call__(self, panels: Sequence[Panel]) -> list[list[FoundFace]]:
        """Return the faces of each panel, the largest first; it takes no batches."""
        return [self._faces.find(panel) for panel in panels]
