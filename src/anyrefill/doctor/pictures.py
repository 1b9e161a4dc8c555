"""Checks of single pictures: their values, their sizes, their masks."""

from collections.abc import Iterator, Sequence

import numpy as np

from anyrefill.doctor.look import Look, MaskLook, PairLook, finding, panels_of, size_text
from anyrefill.doctor.report import Finding

__all__ = ["aspect_outliers", "blank_panels", "conversions", "differing_aspects", "masks", "size_outliers"]

SPREAD = 6.0
"""Robust standard deviations from the median that make an outlier."""

STRETCH = 0.02
"""Change of the target's proportions that is not worth a word."""

SIZE = 1.0
"""log2 of a side: half or double the median's at least makes an outlier."""

ASPECT = 0.5
"""log2 of longer / shorter side: 1.41 times as long as the median at least makes an outlier."""


def conversions(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find panels that lose something when they become 8-bit RGB."""
    for pair in pairs:
        for name, look in panels_of(pair):
            if look.conversion:
                sentence = f"The {name} {look.conversion}: convert it yourself if that is not meant."
                yield finding(pair, "converted", "note", sentence)


def blank_panels(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find panels of one colour; if most of a folder's are, that is one finding."""
    for index, name in enumerate(("reference", "target")):
        blank = [pair for pair in pairs if panels_of(pair)[index][1].is_blank]
        if len(blank) > max(1, len(pairs) / 2):
            sentence = f"{len(blank)} of {len(pairs)} {name}s have one colour only: nothing can be learned from them."
            path = panels_of(blank[0])[index][1].path
            yield Finding(check="blank-panel", severity="warning", line=None, sentence=sentence, pictures=(path,))
            continue
        for pair in blank:
            yield finding(
                pair, "blank-panel", "warning", f"The {name} has one colour only: redo it or delete the line."
            )


def masks(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find masks that say nothing, everything, or belong to a picture of another size."""
    for pair in pairs:
        if pair.mask is not None:
            yield from _mask(pair, pair.mask)


def _mask(pair: PairLook, mask: MaskLook) -> Iterator[Finding]:
    """Find what is wrong with one mask."""
    if mask.size != pair.target.size:
        sentence = f"The mask is {size_text(mask.size)}, its target {size_text(pair.target.size)}: make them the same."
        yield finding(pair, "mask-size", "error", sentence, mask.path)
    if mask.problem:
        yield finding(pair, "unusable-mask", "error", mask.problem, mask.path)
    elif mask.painted == 1:
        sentence = "The mask is white all over, so that nothing of the target is kept: leave it out if that is meant."
        yield finding(pair, "full-mask", "warning", sentence, mask.path)


def size_outliers(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find pairs with a panel far larger or smaller than usual."""
    columns = [[_log_side(panels_of(pair)[index][1]) for pair in pairs] for index in (0, 1)]
    for pair, is_odd in zip(pairs, _odd(columns, SIZE), strict=True):
        if is_odd:
            sizes = " and ".join(f"the {name} {size_text(look.size)}" for name, look in panels_of(pair))
            sentence = f"The size is far from the folder's usual one ({sizes}): look whether it belongs here."
            yield finding(pair, "size-outlier", "warning", sentence)


def differing_aspects(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find pairs whose target would be stretched."""
    for pair in filter(_is_stretched, pairs):
        sizes = f"{size_text(pair.target.size)} against {size_text(pair.reference.size)}"
        sentence = f"The target would be stretched onto the reference ({sizes}): crop both alike."
        yield finding(pair, "aspect-differs", "warning", sentence)


def aspect_outliers(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find pairs far longer or squarer than usual; lying and standing pictures count alike.

    Where the panels differ from each other, `differing_aspects` has said so.
    """
    columns = [[_log_elongation(panels_of(pair)[index][1]) for pair in pairs] for index in (0, 1)]
    for pair, is_odd in zip(pairs, _odd(columns, ASPECT), strict=True):
        if is_odd and not _is_stretched(pair):
            size = size_text(pair.reference.size)
            sentence = (
                f"The proportions ({size}) are far from the folder's usual ones: crop it, or it will be stretched."
            )
            yield finding(pair, "aspect-outlier", "warning", sentence)


def _is_stretched(pair: PairLook) -> bool:
    """Return whether the target would be stretched to fit the reference, beyond one pixel of rounding."""
    (height, width), (target_height, target_width) = pair.reference.size, pair.target.size
    stretch = width * target_height / (height * target_width)
    one_pixel = 1 / min(*pair.reference.size, *pair.target.size)
    return bool(abs(np.log(stretch)) > max(STRETCH, one_pixel))


def _log_side(look: Look) -> float:
    """Return log2 of the side of a square of the same area."""
    return float(np.log2(look.size[0] * look.size[1]) / 2)


def _log_elongation(look: Look) -> float:
    """Return log2 of longer / shorter side."""
    return float(np.log2(max(look.size) / min(look.size)))


def _odd(columns: Sequence[Sequence[float]], least: float) -> list[bool]:
    """Return for each row whether it is an outlier in one of the columns.

    An outlier is `least` from the median and `SPREAD` times 1.4826 MAD, a standard deviation that outliers do not move.
    """
    values = np.asarray(columns, dtype=np.float64)
    if values.shape[1] == 0:
        return []
    distance = np.abs(values - np.median(values, axis=1, keepdims=True))
    limit = np.maximum(least, SPREAD * 1.4826 * np.median(distance, axis=1, keepdims=True))
    return [bool(odd) for odd in np.max(distance / limit, axis=0) >= 1]
