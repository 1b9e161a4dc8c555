"""From pictures of any size to a request: read, fitted, and refused where nothing could be painted."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from anyrefill import images
from anyrefill.errors import UserError
from anyrefill.images import Fitted, ImageLike
from anyrefill.painter.box import Around, BoxLike, box_in
from anyrefill.painter.fitting import Frame, OutSize, Way
from anyrefill.painter.records import Request
from anyrefill.pairs import Pair
from anyrefill.tasks import Task, whole_panel
from anyrefill.types import Mask, Size

__all__ = ["ask", "ask_in_box"]


def ask(
    task: Task,
    panel: Size,
    references: Sequence[ImageLike],
    target: ImageLike | None,
    mask: ImageLike | None,
    caption: str,
    size: OutSize,
    way: Way,
) -> Request:
    """Read and fit the pictures of one painting.

    Args:
        task: what to paint.
        panel: (height, width) that the model was trained on.
        references: the first is the target's neighbour.
        target: only needed where the task keeps a part of it.
        mask: white where the target is to be painted.
        caption: the words that fill the task's prompt template.
        size: whether the target's size is kept, or the first reference's where there is no target.
        way: how a picture of another size is painted.

    Raises:
        UserError: a picture cannot be read or does not fit the task, or a size cannot be painted that way.
    """
    if not references:
        raise UserError("A painting needs a reference.")
    task.fill_prompt(caption)
    frame = Frame.of(_native(references[0] if target is None else target), panel, size, way)
    first, *more = (frame.into(reference) for reference in references)
    right = frame.into(target) if target is not None else _blank(first)
    hole = frame.mask(mask, right.native) if mask is not None else None
    beyond = tuple(fitted.panel for fitted in more)
    pair = Pair(reference=first.panel, target=right.panel, mask=hole, caption=caption, more=beyond)
    paints_all, wants_all = bool(task.mask(pair).all()), hole is not None and bool(hole.all())
    if paints_all and not wants_all and (target is not None or mask is not None):
        unused = "mask" if target is None else "target"
        request = ask(task, panel, references, None, None, caption, size, way)
        note = f"The task {task.name} paints the whole panel: the {unused} was not used."
        return replace(request, notes=(*request.notes, note))
    if target is None and not paints_all:
        raise UserError(f"The task {task.name} keeps a part of the target: give the target too.")
    request = Request(pair=pair, frame=frame, beside=first.panel, kept=right.panel, mask=task.mask(pair))
    notes = [*(fitted.note for fitted in (first, *more, right)), frame.note]
    request = replace(request, notes=tuple(note for note in notes if note))
    return request if frame.native == frame.painted else _at_full_size(request, task, references[0], target, mask)


def ask_in_box(
    task: Task, panel: Size, reference: ImageLike, box: BoxLike, caption: str, size: OutSize, way: Way
) -> Request:
    """Read and fit a box of a picture, which is to be painted as if it were all.

    Args:
        task: what to paint: all of the panel.
        panel: (height, width) that the model was trained on.
        reference: the picture; the painting comes out in it.
        box: which part.
        caption: the words that fill the task's prompt template.
        size: of the picture, which must be kept.
        way: how the box is painted.

    Raises:
        UserError: as ``ask``, the task keeps a part of the target, the size is not kept, or there is no such box.
    """
    if task.mask is not whole_panel:
        raise UserError(f"A box is painted by tasks that paint the whole panel; {task.name} keeps a part of it.")
    if size != "keep":
        raise UserError("A box is painted in its picture, whose size is kept.")
    picture = images.load(reference)
    whole = images.fit(picture, (picture.height, picture.width), multiple=1).panel
    found = box_in(whole, box)
    request = ask(task, panel, [picture.crop(found.edges)], None, None, caption, size, way)
    notes = (f"The box {found} of the picture is painted.", *request.notes)
    return replace(request, around=Around(picture=whole, box=found), notes=notes)


def _at_full_size(
    request: Request, task: Task, reference: ImageLike, target: ImageLike | None, mask: ImageLike | None
) -> Request:
    """Return the request with what is kept, and where the painting goes, in the size that comes out."""
    native = request.frame.native
    beside = images.fit(reference, native, multiple=1).panel
    if target is None:
        blank = torch.zeros(3, *native)
        return replace(request, beside=beside, kept=blank, mask=torch.ones_like(blank[:1]))
    kept = images.fit(target, native, multiple=1).panel
    hole: Mask | None = images.to_mask(mask, native, request.frame.fitted) if mask is not None else None
    whole = Pair(reference=beside, target=kept, mask=hole, caption=request.pair.caption)
    return replace(request, beside=beside, kept=kept, mask=task.mask(whole))


def _native(image: ImageLike) -> Size:
    """Return a picture's own size."""
    picture = images.load(image)
    return picture.height, picture.width


def _blank(like: Fitted) -> Fitted:
    """Return a panel of mid-grey to stand in for a target that is painted all over."""
    return Fitted(panel=torch.zeros_like(like.panel), native=like.native)
