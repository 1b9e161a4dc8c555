"""Checks for pairs that occur twice, in a folder or in two."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt64

from anyrefill.doctor.look import PairLook, finding
from anyrefill.doctor.report import Finding, Severity

__all__ = ["ambiguous", "duplicates", "leaks"]

NEAR = 6
"""Bits of 64 by which the perceptual hashes of two pictures differ at most that count as copies."""

BANDS = NEAR + 1
"""Hashes that differ in at most `NEAR` bits agree in one of so many bands."""

AT_ONCE = 1 << 22
"""Comparisons that are made at once, 16 bytes each."""

Hashes = UInt64[np.ndarray, "pairs panels"]


def duplicates(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find pairs that are the same as an earlier one, byte for byte or to the eye."""
    first = dict[tuple[str, ...], PairLook]()
    earlier = _first_near(_hashes(pairs), len(pairs))
    for pair, near in zip(pairs, earlier, strict=True):
        same = first.setdefault(_content(pair), pair)
        if same is not pair:
            sentence = f"The same pictures as on line {same.line}, byte for byte: delete one of the lines."
            yield _twice(pair, same, "duplicate", sentence)
        elif near >= 0:
            sentence = f"Nearly the same pictures as on line {pairs[near].line}: delete one if that is not meant."
            yield _twice(pair, pairs[near], "near-duplicate", sentence)


def ambiguous(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find references that lead to different targets under the same words."""
    first = dict[tuple[str, str, str], PairLook]()
    for pair in pairs:
        if pair.reference.is_blank:
            continue
        mask = "" if pair.mask is None else pair.mask.sha256
        same = first.setdefault((pair.reference.sha256, mask, pair.caption), pair)
        if same.target.sha256 != pair.target.sha256:
            sentence = f"Reference and caption are those of line {same.line}, the target is not: let captions differ."
            yield _twice(pair, same, "ambiguous", sentence)


def leaks(pairs: Sequence[PairLook], others: Sequence[PairLook], folder: Path) -> Iterator[Finding]:
    """Find pairs that occur in another folder too, which was to be kept apart.

    Args:
        pairs: of the folder that is examined.
        others: of the other folder.
        folder: the other folder.
    """
    known = {sha256: other for other in reversed(others) for sha256 in _panels(other)}
    earlier = _first_near(np.concatenate([_hashes(others), _hashes(pairs)]), len(others))[len(others) :]
    for pair, near in zip(pairs, earlier, strict=True):
        same = next((known[sha256] for sha256 in _panels(pair) if sha256 in known), None)
        if same is not None:
            sentence = f"A picture of this pair is in {folder} too (line {same.line}): keep it in one of the folders."
            yield _twice(pair, same, "leak", sentence, "error")
        elif near >= 0:
            sentence = (
                f"Nearly the same pictures are in {folder} too (line {others[near].line}): keep one of the pairs."
            )
            yield _twice(pair, others[near], "near-leak", sentence)


def _twice(pair: PairLook, other: PairLook, check: str, sentence: str, severity: Severity = "warning") -> Finding:
    """Return a finding about a pair that shows another one too."""
    return finding(pair, check, severity, sentence, other.reference.path, other.target.path)


def _content(pair: PairLook) -> tuple[str, ...]:
    """Return the digests of a pair's files."""
    return (pair.reference.sha256, pair.target.sha256, "" if pair.mask is None else pair.mask.sha256)


def _panels(pair: PairLook) -> list[str]:
    """Return the digests of the panels that show something."""
    return [look.sha256 for look in (pair.reference, pair.target) if not look.is_blank]


def _hashes(pairs: Sequence[PairLook]) -> Hashes:
    """Return the perceptual hashes of both panels."""
    rows = [(pair.reference.perceptual_hash, pair.target.perceptual_hash) for pair in pairs]
    return np.array(rows, dtype=np.uint64).reshape(-1, 2)


def _first_near(hashes: Hashes, before: int) -> list[int]:
    """Return for each pair the first earlier one, among so many, whose panels both are near; -1 if there is none.

    Only pairs whose targets agree in a band of bits are compared; by the pigeonhole principle none is missed.
    """
    if len(hashes) == 0:
        return []
    found = np.full(len(hashes), len(hashes))
    for band in range(BANDS):
        start, end = 64 * band // BANDS, 64 * (band + 1) // BANDS
        keys = (hashes[:, 1] >> np.uint64(start)) & np.uint64((1 << (end - start)) - 1)
        order = np.argsort(keys, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            step = max(1, AT_ONCE // max(1, len(group)))
            for rows in np.split(group, range(step, len(group), step)):
                near = _are_near(hashes[rows], hashes[group]) & (group < np.minimum(rows, before)[:, None])
                first = np.where(near.any(axis=1), group[near.argmax(axis=1)], len(hashes))
                found[rows] = np.minimum(found[rows], first)
    return [int(index) if index < len(hashes) else -1 for index in found]


def _are_near(rows: Hashes, columns: Hashes) -> Bool[np.ndarray, "rows columns"]:
    """Return which pairs of the rows have both panels near to which pairs of the columns."""
    return np.all(np.bitwise_count(rows[:, None] ^ columns[None]) <= NEAR, axis=2)
