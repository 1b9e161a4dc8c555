"""Foreground by U2-Net-p, see `anyrefill.metrics.u2netp`."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

from anyrefill.metrics import u2netp
from anyrefill.pairs import Photo
from anyrefill.types import Mask

__all__ = ["U2NetP"]


@final
class U2NetP:
    """Finds the subject of a photograph.

    Args:
        device: ``cpu``, or ``cuda`` where onnxruntime was built for it.
        folder: of the weights.

    Raises:
        UserError: weights or onnxruntime are missing.
    """

    name = "u2netp"

    def __init__(self, device: str = "cpu", folder: Path | None = None) -> None:
        self._network = u2netp.U2NetP(device, folder)

    def __call__(self, photos: Sequence[Photo]) -> list[Mask]:
        """Return 1 where the network is more than half as sure as where it is surest; it takes no batches."""
        return [self._network(photo.pixels) for photo in photos]
