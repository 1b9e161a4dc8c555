"""Pairs from photographs, by a task's own ``make`` or by a degradation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from torch import Generator

from anyrefill.curate import degrade
from anyrefill.curate.annotators import CaptionAnnotator, DepthAnnotator, ForegroundAnnotator
from anyrefill.curate.outcome import Outcome, generator_of, seed_of
from anyrefill.curate.photos import Source, read_photo
from anyrefill.errors import UserError
from anyrefill.pairs import Pair, Photo
from anyrefill.tasks import Task

__all__ = ["Annotators", "from_photos"]


@dataclass(frozen=True, kw_only=True)
class Annotators:
    """Who says what the files do not; what a file does say is never overruled.

    Attributes:
        foreground: asked about photographs without an alpha channel.
        depth: asked about every photograph.
        caption: asked about photographs without a caption.
    """

    foreground: ForegroundAnnotator | None = None
    depth: DepthAnnotator | None = None
    caption: CaptionAnnotator | None = None


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A photograph that was read, or why not, and who annotated what."""

    source: Source
    photo: Photo | None = None
    reason: str = ""
    annotated: tuple[tuple[str, str], ...] = ()


def from_photos(
    task: Task,
    photos: Sequence[Source],
    *,
    side: int,
    seed: int = 0,
    annotators: Annotators | None = None,
    degradation: str = "",
    batch: int = 8,
) -> Iterator[Outcome]:
    """Make a pair of each photograph; yield what became of it, in order.

    Args:
        task: whose pairs to make.
        photos: to make them of.
        side: of the square panels in pixels, a multiple of 16.
        seed: of the run; each photograph has a generator of its own, see `outcome.seed_of`.
        annotators: for what the files do not say.
        degradation: one of `degrade.DEGRADATIONS`: the reference is the photograph degraded so, instead of what the
            task itself makes.
        batch: photographs that are annotated together.

    Raises:
        UserError: the task makes no pairs of photographs, or there is no such degradation.
    """
    if degradation:
        degrade.check(degradation)
    elif task.make is None:
        raise UserError(f"Pairs of the task {task.name} cannot be made of photographs: import collected ones.")
    done, remaining = 0, iter(photos)
    while chunk := list(islice(remaining, batch)):
        for read in _annotate([_read(source, side) for source in chunk], annotators or Annotators()):
            done += 1
            yield replace(_make(task, read, seed, degradation), done=done, total=len(photos))


def _read(source: Source, side: int) -> _Read:
    """Read a photograph, or find out why not."""
    try:
        return _Read(source=source, photo=read_photo(source, side))
    except UserError as error:
        return _Read(source=source, reason=str(error))


def _make(task: Task, read: _Read, seed: int, degradation: str) -> Outcome:
    """Return what becomes of one photograph."""
    own = seed_of(seed, task.name, read.source.name)
    outcome = Outcome(done=0, total=0, sources=(read.source,), seed=own, parameters=dict(read.annotated))
    if read.photo is None:
        return replace(outcome, reason=read.reason)
    if degradation:
        return _degraded(outcome, read.photo, degradation, generator_of(own))
    pair = task.make(read.photo, generator_of(own)) if task.make else None
    if pair is None:
        return replace(outcome, reason=_refusal(task, read.photo))
    return replace(outcome, pair=pair, parameters={**outcome.parameters, **pair.extra})


def _degraded(outcome: Outcome, photo: Photo, degradation: str, generator: Generator) -> Outcome:
    """Return the pair of a degraded photograph and itself."""
    degraded = degrade.draw(degradation, photo.pixels, generator)
    pair = Pair(reference=degraded.panel, target=photo.pixels, caption=photo.caption)
    drawn = {"degradation": degradation, **degraded.parameters}
    return replace(outcome, pair=pair, parameters={**outcome.parameters, **drawn})


def _refusal(task: Task, photo: Photo) -> str:
    """Return why a task made no pair, as far as it can be known."""
    unknown = [
        how
        for known, how in (
            (photo.foreground, "foreground (alpha channel or --foreground)"),
            (photo.depth, "depth (--depth)"),
        )
        if known is None
    ]
    refusal = f"The task {task.name} makes no pair of it"
    return f"{refusal}; not known are its {', '.join(unknown)}." if unknown else f"{refusal}."


def _annotate(reads: list[_Read], annotators: Annotators) -> list[_Read]:
    """Ask the annotators about what is missing; captions first, since others may read them."""
    for said in ("caption", "foreground", "depth"):
        annotator = getattr(annotators, said)
        if annotator is None:
            continue
        wanting = [index for index, read in enumerate(reads) if read.photo and _unknown(read.photo, said)]
        if not wanting:
            continue
        answers = annotator([reads[index].photo for index in wanting])
        for index, answer in zip(wanting, answers, strict=True):
            reads[index] = _with(reads[index], said, answer, annotator.name)
    return reads


def _unknown(photo: Photo, said: str) -> bool:
    """Return whether nothing is known of a photograph's caption, foreground or depth."""
    known = getattr(photo, said)
    return known is None or (isinstance(known, str) and not known)


def _with(read: _Read, said: str, answer: object, annotator: str) -> _Read:
    """Return a photograph with what an annotator said of it."""
    if read.photo is None:
        return read
    photo = replace(read.photo, **{said: answer})
    return replace(read, photo=photo, annotated=(*read.annotated, (f"{said}_by", annotator)))
