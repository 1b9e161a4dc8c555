"""A look at a folder of pairs before any training: what is wrong with it, and what is odd.

Nothing is repaired and no pair is dropped. Each check is a pure function of what was kept of the pictures, which are
read one after the other.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from anyrefill.doctor import copies, panels, people, pictures, words
from anyrefill.doctor.listing import Listing, read_listing
from anyrefill.doctor.look import PairLook, look_at_pair, size_text
from anyrefill.doctor.report import SEVERITIES, Finding, Report, Severity, plural
from anyrefill.errors import UserError
from anyrefill.metrics.faces import Faces
from anyrefill.tasks import Task

__all__ = ["CHECKS", "Finding", "Progress", "Report", "Severity", "examining"]

CHECKS = (
    pictures.conversions,
    pictures.blank_panels,
    pictures.masks,
    pictures.size_outliers,
    pictures.differing_aspects,
    pictures.aspect_outliers,
    panels.identical_panels,
    panels.shifted_panels,
    panels.swapped_panels,
    people.without_a_face,
    people.several_faces,
    people.two_people,
    copies.duplicates,
    copies.ambiguous,
    words.class_balance,
)
"""What every folder is asked; nothing of faces where nobody looked for them."""

ABOUT_FILES = ("unreadable", "unusable-mask")
"""Checks whose sentences are those of `images`, which name a file as it was opened."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where an examination stands.

    Attributes:
        done: pairs read.
        total: pairs of all folders.
        report: at the end.
    """

    done: int
    total: int
    report: Report | None = None


def examining(folder: Path, task: Task | None = None, against: Sequence[Path] = ()) -> Iterator[Progress]:
    """Examine a folder of pairs; yield after every pair that was read, at last with the report.

    Args:
        folder: of the pairs.
        task: which they are for; its captions and masks are asked for, and one face in each panel if it shows a person.
        against: other folders that must not share a picture with this one.

    Raises:
        UserError: a folder is missing or has no metadata that can be read, or is its own other folder.
    """
    if any(other.resolve() == folder.resolve() for other in against):
        raise UserError(f"{folder} cannot be compared with itself: give another folder.")
    listings = [read_listing(path) for path in (folder, *against)]
    total, done = sum(len(listing.lines) for listing in listings), 0
    faces, unable = _faces(task)
    looks, findings = list[list[PairLook]](), [*listings[0].findings, *unable]
    for listing in listings:
        looks.append([])
        for line in listing.lines:
            seen = look_at_pair(line, faces if listing is listings[0] else None)
            if isinstance(seen, PairLook):
                looks[-1].append(seen)
            elif listing is listings[0]:
                findings += (_unreadable(line.number, problem) for problem in seen)
            done += 1
            yield Progress(done=done, total=total)
    findings += _found(looks[0], task)
    for listing, others in zip(listings[1:], looks[1:], strict=True):
        findings += chain(copies.leaks(looks[0], others, listing.folder), _unseen(listing, others))
    yield Progress(done=done, total=total, report=_report(listings, looks[0], task, findings))


def _faces(task: Task | None) -> tuple[Faces | None, list[Finding]]:
    """Return what finds faces if the task shows a person, or a note why nothing does."""
    if task is None or not task.shows_person:
        return None, []
    try:
        return Faces(), []
    except UserError as error:
        reason = str(error)
        sentence = f"Faces were not looked at: {reason[:1].lower()}{reason[1:]}"
        return None, [Finding(check="faces-not-seen", severity="note", line=None, sentence=sentence)]


def _found(pairs: Sequence[PairLook], task: Task | None) -> Iterator[Finding]:
    """Yield what the checks find."""
    for check in CHECKS:
        yield from check(pairs)
    if task is None or not task.caption_required:
        yield from words.missing_captions(pairs)
    if task is not None:
        yield from words.needs(pairs, task)


def _unreadable(line: int, problem: UserError) -> Finding:
    """Return that a picture cannot be read."""
    sentence = f"{str(problem).rstrip('.')}: restore the file or delete the line."
    return Finding(check="unreadable", severity="error", line=line, sentence=sentence)


def _unseen(listing: Listing, seen: Sequence[PairLook]) -> Iterator[Finding]:
    """Yield that not all of another folder was compared."""
    missed = listing.count - len(seen)
    if missed:
        sentence = f"{plural(missed, 'pair')} of {listing.folder} could not be read for comparison: examine it too."
        yield Finding(check="not-compared", severity="note", line=None, sentence=sentence)


def _report(
    listings: Sequence[Listing], pairs: Sequence[PairLook], task: Task | None, findings: Sequence[Finding]
) -> Report:
    """Return everything in order."""
    sizes = Counter(_sizes(pair) for pair in pairs)
    short = (_shortened(finding, listings[0].folder) for finding in findings)
    return Report(
        folder=listings[0].folder,
        task=task.name if task else "",
        against=tuple(listing.folder for listing in listings[1:]),
        listed=listings[0].count,
        read=len(pairs),
        sizes=tuple(sizes.most_common()),
        captions=len({pair.caption.strip() for pair in pairs} - {""}),
        findings=tuple(sorted(short, key=_rank)),
    )


def _shortened(finding: Finding, folder: Path) -> Finding:
    """Return a finding whose sentence calls a picture that cannot be read by its name in the folder.

    All other sentences name files so already, and another folder may lie inside this one.
    """
    if finding.check not in ABOUT_FILES:
        return finding
    return replace(finding, sentence=finding.sentence.replace(f"{folder}/", "", 1))


def _rank(finding: Finding) -> tuple[int, str, int]:
    """Return what findings are sorted by."""
    return SEVERITIES.index(finding.severity), finding.check, finding.line or 0


def _sizes(pair: PairLook) -> str:
    """Return the sizes of both panels, once if they are the same."""
    reference, target = size_text(pair.reference.size), size_text(pair.target.size)
    return reference if reference == target else f"{reference} -> {target}"
