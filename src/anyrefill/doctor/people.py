"""Checks of faces, for tasks whose two panels show one person.

Measured by `benchmarks.faces` on the held-out pairs of rendered people at 128 px (`recipes.heldout`), 128 of age, 108
each of gender and relight. A face is found in 658 of 688 panels, in none of them a second one; 23 of the 30 that are
missed show the same dark-skinned person in uneven light. The faces of the 322 pairs with one in each panel are 0.48
(age), 0.44 (gender) and 0.41 (relight) apart on the mean, those of two people 0.60 to 0.61.

One person in two folders cannot be told at this size and is not looked for: for 361 of 644 panels another person is
nearer than the same one in the pair's other panel.
"""

from collections.abc import Iterator, Sequence

from anyrefill.doctor.look import PairLook, finding
from anyrefill.doctor.report import Finding

__all__ = ["several_faces", "two_people", "without_a_face"]

APART = 0.65
"""L2 distance beyond which two faces are called two people's. Of the pairs above 4 of 322 are beyond (14 beyond dlib's
0.6), of pairs of two such people 30 % (54 %): this errs on the side of silence."""


def without_a_face(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find panels in which no face is seen; if most pairs have one, that is one finding."""
    missing = [pair for pair in pairs if any(count == 0 for _, count in _counts(pair))]
    if len(missing) > max(1, len(pairs) / 2):
        sentence = (
            f"No face is found in a panel of {len(missing)} of {len(pairs)} pairs: heads turned aside, small or in the"
            " dark are missed; if there are no people, nothing is wrong."
        )
        pictures = (missing[0].reference.path, missing[0].target.path)
        yield Finding(check="no-face", severity="note", line=None, sentence=sentence, pictures=pictures)
        return
    for pair in missing:
        names = " and ".join(name for name, count in _counts(pair) if count == 0)
        yield finding(pair, "no-face", "note", f"No face is found in its {names}: look whether a person is there.")


def several_faces(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find panels that show more than one face."""
    for pair in pairs:
        for name, count in _counts(pair):
            if count > 1:
                sentence = f"There are {count} faces in its {name}: crop it to the person who is meant."
                yield finding(pair, "several-faces", "warning", sentence)


def two_people(pairs: Sequence[PairLook]) -> Iterator[Finding]:
    """Find pairs whose panels seem to show two different people."""
    for pair in pairs:
        if pair.faces is not None and pair.faces.distance is not None and pair.faces.distance > APART:
            sentence = (
                f"The two faces are {pair.faces.distance:.2f} apart, as those of two people are (beyond {APART}):"
                " look whether both panels show the same person."
            )
            yield finding(pair, "two-people", "warning", sentence)


def _counts(pair: PairLook) -> tuple[tuple[str, int], ...]:
    """Return how many faces each panel shows, by name; nothing where nobody looked."""
    return () if pair.faces is None else (("reference", pair.faces.reference), ("target", pair.faces.target))
