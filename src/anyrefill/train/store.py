"""Encoded pictures and prompts on disk, found by what they are made of.

A file's name is the sha256 of everything that decides its content: the pictures' bytes, the weights that encode them,
panel size, mask rule, number format. So runs share files, nothing ever has to be invalidated, and what a killed run
has encoded is there for the next one. Files appear whole or not at all.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from anyrefill.errors import UserError
from anyrefill.files import sha256_of, whole

__all__ = ["Store", "file_digest", "key_of", "part_digest"]

VERSION = 1
"""Goes up when the same inputs shall give other files."""

SAMPLE, SAMPLES = 1 << 16, 16
"""How much of a weight file is read: that many bytes at that many places."""


class Store:
    """A folder of safetensors files.

    Attributes:
        folder: made when the first file is written.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; ~ is the user's home."""
        self.folder = folder.expanduser()

    def __contains__(self, key: str) -> bool:
        """Return whether there is a whole file of that key; a damaged one counts as missing."""
        try:
            return _promised_size(self._path(key)) == self._path(key).stat().st_size
        except (OSError, ValueError):
            return False

    def __getitem__(self, key: str) -> dict[str, Tensor]:
        """Read what was stored.

        Raises:
            UserError: the file has gone since the run began, or cannot be read.
        """
        try:
            return load_file(self._path(key))
        except (OSError, SafetensorError) as error:
            raise UserError(
                f"Cannot read {self._path(key)}: the cache was changed while the run was using it; start it again."
            ) from error

    def fill(self, makers: Mapping[str, Callable[[], Mapping[str, Tensor]]]) -> Iterator[str]:
        """Make and write what is missing, and yield each key when it is there.

        Raises:
            UserError: the folder cannot be written.
        """
        for key, make in makers.items():
            if key not in self:
                tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in make().items()}
                with whole(self._path(key)) as part:
                    part.write_bytes(save(tensors))
            yield key

    def _path(self, key: str) -> Path:
        """Return a file's place; two letters for a folder, so that none grows too long to list."""
        return self.folder / key[:2] / f"{key}.safetensors"


def key_of(**facts: str | int | float) -> str:
    """Return the sha256 of some facts by name."""
    text = json.dumps({**facts, "version": VERSION, "torch": torch.__version__}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path | None) -> str:
    """Return the sha256 of a file's bytes; empty where there is no file."""
    return "" if path is None else sha256_of(path)


def part_digest(folder: Path) -> str:
    """Identify one part of a base by its files, in milliseconds however large it is.

    Small files count whole. Of the large ones, which are weights, the size, the first and last 64 KiB (safetensors'
    header among them) and 14 pieces between do.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        digest.update(f"{path.name} {path.stat().st_size} ".encode())
        for piece in _pieces(path):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    """Yield a small file whole, and samples of a large one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= SAMPLE * SAMPLES:
            yield file.read()
            return
        for index in range(SAMPLES):
            file.seek(index * (size - SAMPLE) // (SAMPLES - 1), os.SEEK_SET)
            yield file.read(SAMPLE)


def _promised_size(path: Path) -> int:
    """Return how long a safetensors file says that it is."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, 1 << 20)))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return 8 + length + max(ends)
