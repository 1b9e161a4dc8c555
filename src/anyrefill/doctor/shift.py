"""How far one panel is shifted against the other, and how sure that is."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

__all__ = ["Grey", "Shift", "find_shift", "local_contrast"]

Grey = Float[np.ndarray, "H W"]
"""A grey picture."""

BLUR = 1.5
"""Pixels: the sigma of the window of `local_contrast`, and of the low-pass on the correlation."""

SURE = 9.0
"""Standard deviations of the correlation that its peak must rise."""

ALONE = 2.1
"""How many times higher than any other place of the correlation the peak must be."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Of the target's content against the reference's.

    Attributes:
        down: pixels of the reference.
        right: pixels of the reference.
        step: pixels of the reference that one pixel of the compared copies stands for.
        is_sure: whether the correlation has one peak that stands out.
    """

    down: float
    right: float
    step: float
    is_sure: bool


def find_shift(reference: Grey, target: Grey, scale: float = 1.0) -> Shift:
    """Return the shift at the peak of the phase correlation, up to a quarter of each side.

    Not the pictures are correlated but their local contrast, which edges, masks, grey and noisy copies share with
    the photograph. The spectrum is low-passed, since whitening raises noise there.

    Args:
        reference: the left panel.
        target: the right panel, as large.
        scale: what the shift is multiplied with.

    Source: Kuglin and Hines 1975, The phase correlation image alignment method; the use on local contrast is ours.
    """
    correlation = _phase_correlation(local_contrast(reference), local_contrast(target))
    height, width = correlation.shape
    centre = (height // 2, width // 2)
    near = np.s_[
        centre[0] - height // 4 : centre[0] + height // 4 + 1, centre[1] - width // 4 : centre[1] + width // 4 + 1
    ]
    y, x = np.unravel_index(correlation[near].argmax(), correlation[near].shape)
    down, right = int(y) - height // 4, int(x) - width // 4
    return Shift(
        down=down * scale,
        right=right * scale,
        step=scale,
        is_sure=_stands_out(correlation, centre[0] + down, centre[1] + right),
    )


def local_contrast(grey: Grey) -> Grey:
    """Return the standard deviation around each pixel, under a Gaussian window."""
    mean = np.asarray(cv2.GaussianBlur(grey, (0, 0), BLUR))
    variance = np.asarray(cv2.GaussianBlur(grey * grey, (0, 0), BLUR)) - mean * mean
    return np.sqrt(np.maximum(variance, 0))


def _phase_correlation(reference: Grey, target: Grey) -> Grey:
    """Return the low-passed phase correlation, no shift at the centre."""
    height, width = reference.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    left, right = (np.fft.rfft2((grey - grey.mean()) * window) for grey in (reference, target))
    cross = left.conj() * right
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    low_pass = np.exp(-2 * (np.pi * BLUR) ** 2 * (rows**2 + columns**2))
    return np.fft.fftshift(np.fft.irfft2(cross / (np.abs(cross) + 1e-9) * low_pass, (height, width)))


def _stands_out(correlation: Grey, y: int, x: int) -> bool:
    """Return whether the peak is high, and nothing beyond 3 px of it nearly as high."""
    mean, deviation = correlation.mean(), correlation.std()
    others = correlation.copy()
    others[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = -np.inf
    height = correlation[y, x] - mean
    return bool(height > SURE * deviation and height > ALONE * (others.max() - mean))
