"""Hair: where it grows on the base mesh, and curves that grow there without entering the head."""

import numpy as np
from scipy.spatial import cKDTree

from recipes.world.render_mesh import Surface
from recipes.world.render_paint import noise, ramp

HAIRLINE = (
    np.radians([0, 20, 38, 50, 62, 75, 92, 108, 125, 145, 180]),
    np.array([0.74, 0.72, 0.62, 0.42, 0.12, -0.1, 0.22, -0.1, -0.5, -0.68, -0.72]),
)
"""Angle around the head from the face, and the height at which hair begins there."""
STEPS = 8


def scalp_area(rest: np.ndarray, receding: float, seed: int) -> np.ndarray:
    """Return how densely hair grows, 0-1; it recedes at the temples, then at the crown."""
    angle = np.abs(np.arctan2(rest[:, 0], rest[:, 2] + 0.72))
    back = receding * np.interp(angle, np.radians([0, 25, 45, 60, 80]), [0.32, 0.55, 0.5, 0.15, 0])
    line = np.interp(angle, *HAIRLINE) + back + 0.03 * noise(rest, seed + 5, 9.0, 2)
    area = ramp(-0.05, 0.06, rest[:, 1] - line)
    x, y, z = rest.T
    area *= 1 - ((np.abs(x) > 0.74) & (y < 0.33) & (y > -0.4) & (z > -1.05))  # not on the ears
    crown = np.exp(-1.2 * ((x / 0.5) ** 2 + ((z + 0.55) / 0.75) ** 2)) * (y > 0.55)
    return area * (1 - ramp(0.55, 0.9, receding) * crown)


def brow_area(rest: np.ndarray, thickness: float) -> np.ndarray:
    """Return where brows grow, 0-1."""
    x = np.abs(rest[:, 0])
    centre = np.interp(x, [0.08, 0.2, 0.38, 0.52, 0.6], [0.245, 0.262, 0.295, 0.255, 0.215])
    width = np.interp(x, [0.07, 0.11, 0.3, 0.5, 0.6], [0.018, 0.03, 0.028, 0.019, 0.006]) * thickness
    along = ramp(0.05, 0.1, x) * (1 - ramp(0.5, 0.62, x)) * (rest[:, 2] > -0.15)
    return np.exp(-(((rest[:, 1] - centre) / width) ** 2)) * along


def beard_area(rest: np.ndarray) -> np.ndarray:
    """Return where a beard grows, 0-1; the mouth stays free."""
    x, y = np.abs(rest[:, 0]), rest[:, 1]
    cheek = np.interp(x, [0, 0.2, 0.3, 0.45, 0.6, 0.75], [-0.44, -0.46, -0.62, -0.58, -0.35, -0.05])
    area = ramp(0.02, -0.08, y - cheek) * ramp(-1.35, -1.15, y) * ramp(-0.95, -0.75, rest[:, 2])
    return area * (1 - np.exp(-((x / 0.26) ** 4) - ((y + 0.69) / 0.11) ** 4))


def roots(
    skin: Surface, area: np.ndarray, count: int, random: np.random.Generator, *fields: np.ndarray
) -> list[np.ndarray]:
    """Draw points on the skin with the area's density; return them and each field's value there."""
    corners = skin.points[skin.triangles]
    size = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    inside = area[skin.triangles]
    chance = size * inside.mean(1) * (inside.min(1) >= 0.05)
    chosen = skin.triangles[random.choice(len(chance), count, p=chance / chance.sum())]
    shares = random.dirichlet([1, 1, 1], count)[:, :, None]
    return [(values[chosen] * shares).sum(1) for values in (skin.points, *fields)]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return the vectors at length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)


def short_hairs(
    skin: Surface, outward: np.ndarray, rest: np.ndarray, area: np.ndarray, *,
    count: int, length: float, comb: str, random: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Return straight hairs (count, 4, 3) of a brow, combed to the temples, or of a beard, combed down."""
    start, out, place = roots(skin, area, count, random, outward, rest)
    if comb == "brow":
        x = np.abs(place[:, :1])
        way = unit(np.concatenate([np.sign(place[:, :1]), 0.3 - 0.95 * x, -0.45 * x], 1) + 0.2 * out)
        way = unit(way + random.normal(size=way.shape) * 0.1 - 0.8 * out * (way * out).sum(1, keepdims=True))
    else:
        way = unit(0.5 * out + np.array([0, -0.8, 0.1]) + random.normal(size=out.shape) * 0.25)
    return start[:, None] + way[:, None] * np.linspace(0, length, 4)[None, :, None] + 0.008 * out[:, None]


def grow(
    skin: Surface, outward: np.ndarray, area: np.ndarray, head: tuple[cKDTree, np.ndarray, np.ndarray], *,
    length: float, curl: float, parting: float, random: np.random.Generator, count: int = 3600,
) -> np.ndarray:  # fmt: skip
    """Return hair (count, STEPS + 1, 3): combed off the parting, then drawn down, pushed out of the head."""
    start, out = roots(skin, area, count, random, outward)
    side = np.where(start[:, 0] - parting + 0.05 * random.normal(size=count) > 0, 1.0, -1.0)
    comb = _comb(start, side, length) + 0.12 * random.normal(size=(count, 3))
    step = length * (0.75 + 0.4 * random.random((count, 1))) / STEPS
    layer = (0.012 + (0.05 + 0.1 * curl) * random.random(count) ** 1.5) * min(1, length / 0.5 + 0.25)
    phase, axis = 6.28 * random.random((count, 1)), unit(random.normal(size=(count, 3)))
    point, way, found = start + 0.01 * out, unit(0.9 * out + 0.4 * comb), [start]
    for index in range(STEPS):
        share = (index + 1) / STEPS
        down = np.array([0, -1.0, 0]) * min(1.2, length) * (0.35 + 1.9 * share)
        goal = comb * max(0, 1 - 1.6 * share) ** 1.3 * 0.65 + down + 0.35 * out * (1 - share) * max(0.1, 1 - length)
        way = unit(0.62 * way + 0.38 * goal + 0.035 * random.normal(size=way.shape))
        turn = phase + share * length * (10 + 8 * curl)
        first = unit(np.cross(way, axis))
        way = unit(way + curl * (first * np.cos(turn) + np.cross(way, first) * np.sin(turn)))
        point = _outside(point + way * step, head, layer * (0.5 + 0.5 * min(1, index / 3)))
        if length >= 0.7:
            point = _beside_face(point, side, layer)
        found.append(point)
    return np.stack(found, axis=1)


def _comb(start: np.ndarray, side: np.ndarray, length: float) -> np.ndarray:
    """Return which way each hair is combed: short hair to the front or up, long hair to its side."""
    if length < 0.6:
        return np.stack([0.3 * side, 0 * side + 0.2, np.where(start[:, 1] > 0.75, 0.5, -0.45)], 1)
    return np.stack([0.75 * side, 0 * side - 0.35, np.where(start[:, 2] > -0.3, -0.2, -0.6)], 1)


def _outside(point: np.ndarray, head: tuple[cKDTree, np.ndarray, np.ndarray], layer: np.ndarray) -> np.ndarray:
    """Push points out of the head to their layer above it."""
    tree, places, outward = head
    for _ in range(2):
        distance, near = tree.query(point)
        height = ((point - places[near]) * outward[near]).sum(1)
        push = np.where(distance > 0.6, 0, np.maximum(layer - height, 0))
        point = point + outward[near] * push[:, None]
    return point


def _beside_face(point: np.ndarray, side: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Draw long hair aside like a curtain, so that the face stays free."""
    x, y, z = point.T
    edge = np.interp(y, [-1.3, -0.6, 0, 0.4, 0.62, 0.78], [0.6, 0.72, 0.78, 0.68, 0.46, 0.0]) + 0.8 * layer
    before = (z > -0.3) & (y < 0.8) & (y > -1.9) & (x * side < edge)
    aside = np.where(before, x + 0.8 * (side * edge - x), x)
    return np.stack([aside, y, z], axis=1)
