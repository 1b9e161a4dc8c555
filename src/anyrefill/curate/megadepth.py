"""MegaDepth's scene files: which photographs show the same, and how much of it.

A scene file is an ``.npz`` of D2-Net (``image_paths``, ``overlap_matrix``) or of LoFTR (``image_paths``,
``pair_infos``: ((i, j), overlap, matches)). Both hold pickled arrays of objects; they are read by an unpickler that
knows arrays and plain containers and refuses to import anything else.
Source: mihaidusmanu/d2-net, megadepth_utils/preprocess_scene.py; zju3dv/LoFTR, docs/TRAINING.md.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from anyrefill.curate.photos import Source
from anyrefill.curate.views import OVERLAP, Views
from anyrefill.errors import UserError
from anyrefill.unpickling import ArraysOnly

__all__ = ["read_scene", "read_scenes"]


def read_scenes(folder: Path, root: Path, overlap: tuple[float, float] = OVERLAP, licence: str = "") -> list[Views]:
    """Read all scene files of a folder.

    Args:
        folder: of ``.npz`` files.
        root: where the paths in them begin.
        overlap: smallest and largest share; other pairs are left out.
        licence: of the photographs.

    Raises:
        UserError: there is no scene file, one cannot be read, or no pair is left.
    """
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise UserError(f"There is no scene file (.npz) in {folder}.")
    views = [two for file in files for two in read_scene(file, root, overlap, licence)]
    if not views:
        raise UserError(f"No two views in {folder} share {overlap[0]:.0%} to {overlap[1]:.0%}.")
    return views


def read_scene(file: Path, root: Path, overlap: tuple[float, float] = OVERLAP, licence: str = "") -> Iterator[Views]:
    """Yield the pairs of one scene file whose overlap is in the range; see `read_scenes`."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            paths = _array(archive, "image_paths")
            if "pair_infos.npy" in names:
                pairs = _of_infos(_array(archive, "pair_infos"))
            else:
                pairs = _of_matrix(_array(archive, "overlap_matrix"))
            if paths.ndim != 1:
                raise ValueError("image_paths is no list")
            if not all(0 <= index < len(paths) for first, second, _ in pairs for index in (first, second)):
                raise ValueError(f"there are {len(paths)} photographs, and pairs of more")
    except Exception as error:  # whatever a damaged archive, header or pickle raises
        why = str(error).rstrip(".") or "it is cut short"
        raise UserError(f"{file} is no scene file of MegaDepth: {why}.") from error
    for first, second, share in pairs:
        if overlap[0] <= share <= overlap[1] and paths[first] and paths[second]:
            reference, target = (
                Source(path=root / str(paths[index]), name=str(paths[index]), licence=licence)
                for index in (first, second)
            )
            yield Views(reference=reference, target=target, overlap=share)


def _of_infos(infos: np.ndarray) -> list[tuple[int, int, float]]:
    """Return (i, j, overlap) of LoFTR's list."""
    return [(int(info[0][0]), int(info[0][1]), float(info[1])) for info in infos]


def _of_matrix(matrix: np.ndarray) -> list[tuple[int, int, float]]:
    """Return (i, j, overlap) of D2-Net's matrix: j shows that share of what i shows; -1 where nobody looked."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError("overlap_matrix is not square")
    rows, columns = np.nonzero(np.triu(np.minimum(matrix, matrix.T) > 0, k=1))
    return [
        (int(row), int(column), float(min(matrix[row, column], matrix[column, row])))
        for row, column in zip(rows, columns, strict=True)
    ]


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Return one array of an ``.npz``, whether it holds numbers or objects."""
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in header:
            raise ValueError(f"{name} has an unknown version of NumPy's format")
        _shape, _fortran, dtype = header[version](file)
        if dtype.hasobject:
            return np.asarray(ArraysOnly(file, encoding="latin1").load())
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)
