"""One request painted: at once or by tiles, its colours repaired if asked for, what is kept pasted at full size."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import itemgetter

import torch

from anyrefill.backbone import Backbone
from anyrefill.canvas import Canvas, pasted
from anyrefill.painter.records import Request, Sampler, Stage
from anyrefill.painter.witness import WitnessScore, reference_errors
from anyrefill.pairs import means
from anyrefill.repair import fit_repair, ring
from anyrefill.sample import Large, large_sheet, sheets
from anyrefill.tasks import Finish
from anyrefill.types import Panel, Sheet, SheetMask, Tokens

__all__ = ["running"]

TOGETHER = 8
"""Canvases that go through the backbone together."""

Drawn = Iterator[tuple[Stage, Tokens | None]]
"""After every step where the run stands, and what is to be decoded then: mostly nothing."""

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
    """Yield after every step, with painted panels in the size that comes out once a group of seeds is done.

    Args:
        backbone: the fill model.
        request: what to paint.
        canvases: its pair and further references, stitched; behind it maybe its mirror image, which is averaged in.
        prompts: the task's, filled, of each.
        sampler: how.
        seeds: of the noise.
        best_by: by which score of the repainted reference the best of all seeds is chosen, which comes at last; None
            keeps all.
        repair: whether colours are repaired where that helps.
        finish: what is done to the painting, in the size that comes out, before kept pixels are pasted.
    """
    canvas = canvases[0]
    large = None if request.frame.tile is None else Large.of(canvas, request.frame.tile)
    covered = torch.ones_like(canvas.mask) if large is None else large.covered()
    drawn = _drawn(backbone, canvases, large, prompts, sampler, seeds)
    if best_by is not None:
        drawn = _best(drawn, seeds, lambda latents: reference_errors(backbone, canvas, latents, best_by))
    for stage, latents in drawn:
        if latents is None:
            yield stage
            continue
        finished, notes = list[Panel](), list(stage.notes)
        painted = [canvas.panel(sheet) for sheet in _decoded(backbone, canvas, large, latents)]
        for painting in means(painted, len(painted) // len(canvases)):
            panel, note = _repaired(canvas, painting, covered) if repair else (painting, "")
            notes += [note] if note and note not in notes else []
            finished.append(pasted(finish(request.beside, request.frame.back(panel)), request.kept, request.mask))
        yield replace(stage, panels=tuple(finished), notes=tuple(notes))


def _drawn(
    backbone: Backbone,
    canvases: Sequence[Canvas],
    large: Large | None,
    prompts: Sequence[str],
    sampler: Sampler,
    seeds: Sequence[int],
) -> Drawn:
    """Sample the canvases once for each seed, group by group, or the tiles of one once."""
    size = TOGETHER // len(canvases)
    groups = [list(seeds[first : first + size]) for first in range(0, len(seeds), size)]
    for number, group in enumerate(groups):
        if large is None:
            steps = sampler.sampling(backbone, canvases, prompts, group * len(canvases))
        else:
            steps = sampler.sampling_large(backbone, large, prompts[0], group[0])
        for step in steps:
            stage = Stage(done=number * step.steps + step.done, total=len(groups) * step.steps)
            yield stage, step.latents if step.done == step.steps else None


def _best(drawn: Drawn, seeds: Sequence[int], errors: Callable[[Tokens], list[float]]) -> Drawn:
    """Keep latents back, and at last hand out those of the seed with the least error."""
    numbers, best = iter(seeds), list[tuple[float, int, Tokens]]()
    for stage, latents in drawn:
        if latents is not None:
            tried = zip(errors(latents), numbers, latents.split(1), strict=False)
            best = [min((*best, *tried), key=itemgetter(0))]
        if stage.done < stage.total:
            yield stage, None
        else:
            _, seed, kept = best[0]
            note = f"Of {len(seeds)} paintings that of seed {seed} repainted the reference best."
            yield replace(stage, notes=(note,)), kept


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
