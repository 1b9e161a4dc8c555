"""One request painted: at once or by tiles, its colours repaired if asked for, what is kept pasted at full size."""

from collections.abc import Iterator, Sequence

import torch

from anyrefill.backbone import Backbone
from anyrefill.canvas import Canvas, pasted
from anyrefill.painter.records import Request, Sampler, Stage
from anyrefill.painter.witness import WitnessScore, reference_errors
from anyrefill.repair import fit_repair, ring
from anyrefill.sample import Large, Step, large_sheet, sheets
from anyrefill.tasks import Finish
from anyrefill.types import Panel, Sheet, SheetMask, Tokens

__all__ = ["means", "running"]

NO_REPAIR = "The colours were not repaired: no repair lowers the error of known pixels that it was not fitted to."
NOTHING_KEPT = "The colours were not repaired: no pixel around the painted ones is kept."


def running(
    backbone: Backbone,
    request: Request,
    canvases: Sequence[Canvas],
    prompts: Sequence[str],
    sampler: Sampler,
    *,
    seeds: Sequence[int],
    best_by: WitnessScore | None,
    repair: bool,
    finish: Finish,
) -> Iterator[Stage]:
    """Yield after every step, at last with the painted panel of every seed, or of one, in the size that comes out.

    Args:
        backbone: the fill model.
        request: what to paint.
        canvases: its pair and further references, stitched; behind it maybe its mirror image, which is averaged in.
        prompts: the task's, filled, of each.
        sampler: how.
        seeds: of the noise.
        best_by: by which score of the repainted reference the best of all seeds is chosen; None keeps all.
        repair: whether colours are repaired where that helps.
        finish: what is done to the painting, in the size that comes out, before kept pixels are pasted.
    """
    canvas = canvases[0]
    large = None if request.frame.tile is None else Large.of(canvas, request.frame.tile)
    for step in _steps(backbone, canvases, large, prompts, sampler, seeds):
        if step.done < step.steps:
            yield Stage(done=step.done, total=step.steps)
            continue
        latents, notes = step.latents, list[str]()
        if best_by is not None:
            errors = reference_errors(backbone, canvas, latents, best_by)
            best = errors.index(min(errors))
            latents = latents[best : best + 1]
            notes.append(f"Of {len(seeds)} paintings that of seed {seeds[best]} repainted the reference best.")
        finished, covered = list[Panel](), torch.ones_like(canvas.mask) if large is None else large.covered()
        painted = [canvas.panel(sheet) for sheet in _decoded(backbone, canvas, large, latents)]
        for painting in means(painted, len(painted) // len(canvases)):
            panel, note = _repaired(canvas, painting, covered) if repair else (painting, "")
            notes += [note] if note and note not in notes else []
            finished.append(pasted(finish(request.beside, request.frame.back(panel)), request.kept, request.mask))
        yield Stage(done=step.done, total=step.steps, panels=tuple(finished), notes=tuple(notes))


def means(panels: Sequence[Panel], count: int) -> list[Panel]:
    """Return so many panels: these, or each one's mean with the one of its mirror image that lies as far behind them.

    Known as geometric self-ensemble: Lim et al. 2017, Enhanced Deep Residual Networks for Super-Resolution, 3.3.
    """
    if len(panels) == count:
        return list(panels)
    return [(panel + image.flip(-1)) / 2 for panel, image in zip(panels[:count], panels[count:], strict=True)]


def _steps(
    backbone: Backbone,
    canvases: Sequence[Canvas],
    large: Large | None,
    prompts: Sequence[str],
    sampler: Sampler,
    seeds: Sequence[int],
) -> Iterator[Step]:
    """Sample the canvases once for each seed, or the tiles of one once."""
    if large is not None:
        return sampler.sampling_large(backbone, large, prompts[0], seeds[0])
    return sampler.sampling(backbone, canvases, prompts, list(seeds) * len(canvases))


def _repaired(canvas: Canvas, panel: Panel, covered: SheetMask) -> tuple[Panel, str]:
    """Return the target with its colours repaired if that helps, and a sentence about it.

    The repair is fitted to kept pixels around the hole. The repainted reference is no substitute: repairs fitted to it
    pass their own test and make the target worse (`python -m benchmarks.colour`).
    """
    near = ring(canvas.panel(canvas.mask)) * canvas.panel(covered)
    if not near.any():
        return panel, NOTHING_KEPT
    repair = fit_repair(panel, canvas.panel(canvas.pixels), near)
    return (panel, NO_REPAIR) if repair is None else (repair(panel), str(repair))


def _decoded(backbone: Backbone, canvas: Canvas, large: Large | None, latents: Tokens) -> Sequence[Sheet]:
    """Return the sheets that were painted: one for each seed, or that of all tiles."""
    return sheets(backbone, [canvas], latents).unbind() if large is None else [large_sheet(backbone, large, latents)]
