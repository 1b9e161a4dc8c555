"""Checks of one panel against the other."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from anyrefill.doctor.look import PairLook, Traits, finding, panels_of
from anyrefill.doctor.report import Finding

__all__ = ["identical_panels", "shifted_panels", "swapped_panels"]

TOLERANCE = 2
"""Pixels of the compared copies, whose longer side has at most 256, that are no shift."""

FEWEST = 6
"""Pairs without which there is no telling what is usual."""

MAJORITY = 0.9
"""Share of the other pairs whose panels differ in the same direction, for a trait that tells them apart."""

RESOLUTION = (0.7, 0.3, 0.3, 0.25, 4.0)
"""Differences of colour, grain, detail (natural logarithms), tones and brightness below which there is none."""

TraitRows = Float[np.ndarray, "pairs traits"]


def identical_panels(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find pairs that teach nothing, since both panels are the same file."""
    for pair in pairs:
        if pair.reference.sha256 == pair.target.sha256 and not pair.reference.is_blank:
            sentence = "Reference and target are the same picture: the pair teaches to change nothing."
            yield finding(pair, "identical-panels", "warning", sentence)


def shifted_panels(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find targets that lie elsewhere than their references, in a folder where most lie alike.

    A folder of different views has no common shift and gives no finding.
    """
    sure = [(pair, pair.shift) for pair in pairs if pair.shift is not None and pair.shift.is_sure]
    if not sure:
        return
    shifts = np.array([(shift.down / shift.step, shift.right / shift.step) for _, shift in sure])
    common = np.median(shifts, axis=0)
    distance = np.abs(shifts - common).max(axis=1)
    if np.mean(distance < TOLERANCE) <= 0.5:
        return
    if np.abs(common).max() >= TOLERANCE:
        down, right = (float(value) for value in common * sure[0][1].step)
        sentence = f"Most targets lie {_where(down, right)} their references: export both alike."
        yield Finding(check="shifted", severity="warning", line=None, sentence=sentence)
    limit = TOLERANCE + 2 * np.percentile(distance, 90)  # outlines of masks jitter by a pixel or two
    for (pair, shift), away in zip(sure, distance, strict=True):
        if away >= limit:
            sentence = f"The target lies {_where(shift.down, shift.right)} the reference, unlike most: align them."
            yield finding(pair, "shifted", "warning", sentence)


def _where(down: float, right: float) -> str:
    """Return a shift in words that end in front of what it is relative to."""
    parts = [
        f"{abs(value):.0f} px {words[value > 0]}"
        for value, words in ((right, ("left of", "right of")), (down, ("above", "below")))
        if round(value)
    ]
    return " and ".join(parts) or "exactly on"


def swapped_panels(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find pairs whose reference looks like the other pairs' targets, and whose target like their references.

    A trait tells references from targets if its difference has the same sign in 90 % of the other pairs, and its median
    is a robust standard deviation from 0. A pair is swapped if its differences, each in units of the median and all
    telling traits together, are nearer to -1 than to 0, and most of its telling traits lie nearer to what is usual on
    the other side.
    """
    if len(pairs) < FEWEST:
        return
    references, targets = (np.array([_vector(panels_of(pair)[side][1].traits) for pair in pairs]) for side in (0, 1))
    for pair, is_swapped in zip(pairs, _swapped(references, targets), strict=True):
        if is_swapped:
            sentence = "Reference and target look swapped, judged by the other pairs: exchange their names in the line."
            yield finding(pair, "swapped", "warning", sentence)


def _vector(traits: Traits) -> list[float]:
    """Return the traits, on a scale where a grey picture is far from a dull one and a bright one near a brighter."""
    logs = (math.log1p(value) for value in (traits.colour, traits.grain, traits.detail))
    return [*logs, traits.tones, traits.brightness]


def _swapped(references: TraitRows, targets: TraitRows) -> Bool[np.ndarray, " pairs"]:
    """Return which rows differ the other way round, see `swapped_panels`."""
    differences = references - targets
    median = np.median(differences, axis=0)
    deviation = 1.4826 * np.median(np.abs(differences - median), axis=0)
    agrees = differences * np.sign(median) > 0
    others = (agrees.sum(axis=0) - agrees) / (len(agrees) - 1)
    tells = (np.abs(median) >= np.maximum(RESOLUTION, deviation)) & (others >= MAJORITY)
    share = tells / np.maximum(1, tells.sum(axis=1, keepdims=True))
    score = (share * differences / np.where(median == 0, 1, median)).sum(axis=1)
    return (score <= -0.5) & ((share * _is_foreign(references, targets)).sum(axis=1) > 0.5)


def _is_foreign(references: TraitRows, targets: TraitRows) -> Bool[np.ndarray, "pairs traits"]:
    """Return where a reference is nearer to the median target than to the median reference, and its target too."""
    usual, other = np.median(references, axis=0), np.median(targets, axis=0)
    left = np.abs(references - other) < np.abs(references - usual)
    return left & (np.abs(targets - usual) < np.abs(targets - other))
