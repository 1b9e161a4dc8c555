"""One request painted: at once or by tiles, its colours repaired if asked for, what is kept pasted at full size."""

from collections.abc import Iterator, Sequence

import torch

from anyrefill.backbone import Backbone
from anyrefill.canvas import Canvas, pasted
from anyrefill.painter.records import Request, Sampler, Stage
from anyrefill.painter.witness import reference_errors
from anyrefill.repair import fit_repair, ring
from anyrefill.sample import Large, Step, large_sheet, sheets
from anyrefill.tasks import Finish
from anyrefill.types import Panel, Sheet, SheetMask, Tokens

__all__ = ["running"]

NO_REPAIR = "The colours were not repaired: no repair lowers the error of known pixels that it was not fitted to."
NOTHING_KEPT = "The colours were not repaired: no pixel around the painted ones is kept."


def running(
    backbone: Backbone,
    request: Request,
    canvas: Canvas,
    prompt: str,
    sampler: Sampler,
    *,
    seeds: Sequence[int],
    repair: bool,
    finish: Finish,
) -> Iterator[Stage]:
    """Yield after every step, at last with the painted panel in the size that comes out.

    Args:
        backbone: the fill model.
        request: what to paint.
        canvas: its pair and further references, stitched.
        prompt: the task's, filled.
        sampler: how.
        seeds: of the noise; of several paintings the one whose reference was repainted best is kept.
        repair: whether colours are repaired where that helps.
        finish: what is done to the painting, in the size that comes out, before kept pixels are pasted.
    """
    large = None if request.frame.tile is None else Large.of(canvas, request.frame.tile)
    for step in _steps(backbone, canvas, large, prompt, sampler, seeds):
        if step.done < step.steps:
            yield Stage(done=step.done, total=step.steps)
            continue
        latents, notes = step.latents, list[str]()
        if len(seeds) > 1:
            errors = reference_errors(backbone, canvas, latents)
            best = errors.index(min(errors))
            latents = latents[best : best + 1]
            notes.append(f"Of {len(seeds)} paintings that of seed {seeds[best]} repainted the reference best.")
        sheet, covered = _decoded(backbone, canvas, large, latents)
        panel, note = _repaired(canvas, sheet, covered) if repair else (canvas.panel(sheet), "")
        notes += [note] if note else []
        whole = pasted(finish(request.beside, request.frame.back(panel)), request.kept, request.mask)
        yield Stage(done=step.done, total=step.steps, panels=(whole,), notes=tuple(notes))


def _steps(
    backbone: Backbone, canvas: Canvas, large: Large | None, prompt: str, sampler: Sampler, seeds: Sequence[int]
) -> Iterator[Step]:
    """Sample the canvas once for each seed, or its tiles once."""
    if large is not None:
        return sampler.sampling_large(backbone, large, prompt, seeds[0])
    return sampler.sampling(backbone, [canvas], [prompt], seeds)


def _repaired(canvas: Canvas, sheet: Sheet, covered: SheetMask) -> tuple[Panel, str]:
    """Return the target with its colours repaired if that helps, and a sentence about it.

    The repair is fitted to kept pixels around the hole. The repainted reference is no substitute: repairs fitted to it
    pass their own test and make the target worse (`python -m benchmarks.colour`).
    """
    panel, near = canvas.panel(sheet), ring(canvas.panel(canvas.mask)) * canvas.panel(covered)
    if not near.any():
        return panel, NOTHING_KEPT
    repair = fit_repair(panel, canvas.panel(canvas.pixels), near)
    return (panel, NO_REPAIR) if repair is None else (repair(panel), str(repair))


def _decoded(backbone: Backbone, canvas: Canvas, large: Large | None, latents: Tokens) -> tuple[Sheet, SheetMask]:
    """Return the sheet that was painted, and where there is one."""
    if large is None:
        return sheets(backbone, [canvas], latents)[0], torch.ones_like(canvas.mask)
    return large_sheet(backbone, large, latents), large.covered()
