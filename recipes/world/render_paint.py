"""Skin: colour and wrinkles at each point of the base mesh at rest, so that they follow every morph."""

from dataclasses import dataclass

import numpy as np


def ramp(low: float, high: float, value: np.ndarray | float) -> np.ndarray:
    """Return 0 at `low`, 1 at `high`, smooth between; the ends may fall."""
    share = np.clip((np.asarray(value, dtype=float) - low) / (high - low), 0, 1)
    return share * share * (3 - 2 * share)


def blob(points: np.ndarray, centre: tuple[float, float, float], size: tuple[float, float, float]) -> np.ndarray:
    """Return a Gaussian of the points around a centre on the right of the face and its mirror image."""
    folded = np.concatenate([np.abs(points[:, :1]), points[:, 1:]], axis=1)
    return np.exp(-(((folded - centre) / size) ** 2).sum(1) / 2)


def noise(points: np.ndarray, seed: int, frequency: float, octaves: int = 3) -> np.ndarray:
    """Return smooth noise of about [-1, 1]: random values at the corners of a grid, blended, in octaves."""
    total = np.zeros(len(points))
    for octave in range(octaves):
        total += _lattice(points * frequency * 2**octave + 17.3 * octave, seed + octave) * 0.5**octave
    return total


def _lattice(points: np.ndarray, seed: int) -> np.ndarray:
    """Return one octave of `noise`."""
    corner = np.floor(points).astype(np.int64)
    share = ramp(0, 1, points - corner)
    total = np.zeros(len(points))
    for index in range(8):
        offset = np.array([index & 1, index >> 1 & 1, index >> 2])
        weight = np.where(offset, share, 1 - share).prod(1)
        total += weight * _hash(corner + offset, seed)
    return 2 * total - 1


def _hash(corner: np.ndarray, seed: int) -> np.ndarray:
    """Return a number in [0, 1] for each corner of a grid."""
    mixed = (corner * np.array([73_856_093, 19_349_663, 83_492_791])).sum(1) ^ (seed * 2_654_435_761)
    mixed = ((mixed ^ (mixed >> 13)) * 1_274_126_177) & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 16)) & 0xFFFF) / 65_535


def lips(rest: np.ndarray) -> np.ndarray:
    """Return where the lips are, 0-1."""
    x = np.abs(rest[:, 0])
    bow = np.interp(x, [0, 0.07, 0.2, 0.3], [-0.615, -0.605, -0.645, -0.69])
    low = np.interp(x, [0, 0.12, 0.22, 0.3], [-0.77, -0.765, -0.735, -0.69])
    y = rest[:, 1]
    return ramp(0.02, -0.02, y - bow) * ramp(-0.02, 0.02, y - low) * (x < 0.3) * (rest[:, 2] > 0)


@dataclass(frozen=True, kw_only=True)
class Grain:
    """A skin's noise (N,) of about [-1, 1]: in large waves, fine, and in spots."""

    large: np.ndarray
    fine: np.ndarray
    spots: np.ndarray


def grain(rest: np.ndarray, seed: int) -> Grain:
    """Draw a skin's noise."""
    return Grain(large=noise(rest, seed, 5.0), fine=noise(rest, seed + 9, 22.0), spots=noise(rest, seed + 31, 9.0, 2))


def skin_colours(
    rest: np.ndarray, grain: Grain, tone: np.ndarray, old: float, young: float, manly: float
) -> np.ndarray:  # fmt: skip
    """Return linear RGB (N, 3): tone, blush, eyelids, lips, age spots."""
    colours = tone * (1 + 0.04 * grain.large + 0.035 * grain.fine * (0.6 + 0.6 * old))[:, None]
    blush = 0.3 * blob(rest, (0.42, -0.32, 0.15), (0.2, 0.17, 0.3)) + 0.3 * blob(rest, (0, -0.36, 0.42), (0.13,) * 3)
    colours = colours * (1 + (blush * (1 + 0.6 * young))[:, None] * np.array([0.16, -0.22, -0.2]))
    lids = blob(rest, (0.3, -0.17, 0.18), (0.16, 0.06, 0.2)) * (0.35 + 0.5 * old)
    lids += 0.3 * blob(rest, (0.32, 0.1, 0.15), (0.17, 0.06, 0.2))
    colours *= 1 - lids[:, None] * np.array([0.28, 0.36, 0.3])
    made_up = (1 - manly) * (1 - young) * 0.35
    mouth = tone * np.array([0.95, 0.55, 0.55]) * (1 - made_up) + np.array([0.42, 0.08, 0.09]) * made_up
    cover = (lips(rest) * (0.6 - 0.25 * old))[:, None]
    colours = colours * (1 - cover) + mouth * cover
    spots = 0.5 * old * ramp(0.5, 0.75, grain.spots)[:, None]
    colours *= 1 - spots * np.array([0.22, 0.3, 0.34])
    grey = colours.mean(1, keepdims=True) * np.array([1.04, 1.0, 0.92])
    return colours * (1 - 0.22 * old) + grey * 0.22 * old


def wrinkles(rest: np.ndarray, grain: Grain, seed: int, old: float) -> np.ndarray:
    """Return how far the skin of an old face stands out, mostly below 0: forehead, eye corners, brows, neck."""
    waves = rest[:, 1] + 0.03 * np.sin(rest[:, 0] * 5 + seed) + 0.02 * grain.large
    folds = blob(rest, (0, 0.5, 0.2), (0.42, 0.16, 0.4)) * np.maximum(0, np.sin(waves * 52)) ** 3
    angle = np.arctan2(rest[:, 1] + 0.02, np.abs(rest[:, 0]) - 0.47)
    folds += blob(rest, (0.62, 0, -0.05), (0.09, 0.14, 0.2)) * np.maximum(0, np.sin(angle * 9 + seed)) ** 2
    folds += blob(rest, (0, 0.2, 0.27), (0.08, 0.1, 0.2)) * np.maximum(0, np.sin(rest[:, 0] * 60)) ** 2
    folds += blob(rest, (0, -1.35, -0.2), (0.5, 0.22, 0.5)) * np.maximum(0, np.sin(waves * 48)) ** 2
    smile = np.abs(np.abs(rest[:, 0]) - 0.28 - 0.3 * (-0.38 - rest[:, 1]))
    folds += ramp(0.05, 0, smile) * blob(rest, (0.33, -0.52, 0.2), (0.14, 0.14, 0.3))
    return (0.0024 * grain.fine - 0.013 * old * folds) * ramp(-2.0, -1.3, rest[:, 1])
