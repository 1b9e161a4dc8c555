"""What the bare backbone can do before any adapter: keep a picture, copy its reference, fill a hole.

These are no tasks of the paper; they tell whether the prior is there that adapters live off.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import perf_counter

import cv2
import numpy as np
import torch

from anyrefill import metrics
from anyrefill.backbone import Backbone
from anyrefill.backbone.latents import unpack
from anyrefill.canvas import Canvas
from anyrefill.errors import UserError
from anyrefill.evaluate import Progress, evaluating, held_out_pairs, heldout, score
from anyrefill.evaluate.report import Report, Row, Score
from anyrefill.evaluate.scoring import judged
from anyrefill.metrics import Metric
from anyrefill.metrics.lpips import lpips_in
from anyrefill.painter import Painter
from anyrefill.pairs import Pair
from anyrefill.sample import sampling
from anyrefill.tasks import Task
from anyrefill.types import Mask, Panel

__all__ = ["COPYING", "autoencoding", "inpainting", "runs"]

COPYING = Task(
    name="backbone-copying",
    summary="the same scene under a tone that the caption names, from nothing but the reference",
    metrics=(metrics.psnr, metrics.lpips_alex),
)
"""Evaluated like any task, without an adapter."""

AUTOENCODER, INPAINTING = "backbone-autoencoder", "backbone-inpainting"
"""Names of the other two, whose pairs' references are not used; the latter's have masks."""

NO_PHOTOGRAPHS = (
    f"Measured on composed scenes: there are no held-out photographs for {AUTOENCODER}, make them with "
    f"`python -m recipes.heldout --task {AUTOENCODER}`."
)


def autoencoding(backbone: Backbone, pairs: Sequence[Pair], batch_size: int = 16, note: str = "") -> Iterator[Progress]:
    """Yield after every batch, at last with the scores of encoding and decoding the pairs' targets, under a note."""
    began, decoded = perf_counter(), list[Panel]()
    for first in range(0, len(pairs), batch_size):
        pictures = torch.stack([pair.target for pair in pairs[first : first + batch_size]])
        decoded += list(backbone.decode(backbone.encode(pictures)).cpu())
        yield Progress(done=len(decoded), total=len(pairs), doing="decoding")
    seconds = (perf_counter() - began) / len(pairs)
    first, *others = _scores((metrics.psnr, metrics.lpips_alex), decoded, pairs)
    row = Row(name="decoded", scores=(replace(first, note=first.note or note), *others))
    report = _report(AUTOENCODER, pairs, (row,), seconds=seconds)
    yield Progress(done=len(pairs), total=len(pairs), doing="decoding", report=report)


def inpainting(
    backbone: Backbone, pairs: Sequence[Pair], *, steps: int, guidance: float, seed: int = 0, batch_size: int = 16
) -> Iterator[Progress]:
    """Yield after every batch, at last with LPIPS and PSNR beside the mean colour and OpenCV's Telea fill.

    A picture stands alone on its canvas. Kept pixels are pasted back in every row, so the panels differ in the hole
    alone; ``lpips_hole`` is of that, the others are of the whole panel.
    """
    began, painted = perf_counter(), list[Panel]()
    for first in range(0, len(pairs), batch_size):
        part = pairs[first : first + batch_size]
        seeds = [seed + first + index for index in range(len(part))]
        painted += _fill(backbone, part, steps=steps, guidance=guidance, seeds=seeds)
        yield Progress(done=len(painted), total=len(pairs))
    seconds = (perf_counter() - began) / len(pairs)
    answers = {
        "painted": painted,
        "mean colour": [_pasted(pair, _mean_colour(pair)) for pair in pairs],
        "Telea": [_pasted(pair, _telea(pair)) for pair in pairs],
    }
    both = (metrics.lpips_alex, metrics.psnr)
    rows = tuple(
        Row(name=name, scores=(judged(lpips_hole, panels, pairs), *_scores(both, panels, pairs)))
        for name, panels in answers.items()
    )
    report = replace(_report(INPAINTING, pairs, rows, seconds=seconds), steps=steps, guidance=guidance, seed=seed)
    yield Progress(done=len(pairs), total=len(pairs), report=report)


def runs(
    painter: Painter, *, limit: int | None, steps: int | None, guidance: float | None, seed: int, batch_size: int
) -> Iterator[Iterator[Progress]]:
    """Yield the three evaluations of a bare backbone, each to be run through.

    Args:
        painter: of the bare backbone, for `COPYING`.
        limit: pairs of each at most.
        steps: Euler steps.
        guidance: distilled guidance strength.
        seed: of the first pair's noise.
        batch_size: canvases that go through the backbone together.

    Raises:
        UserError: pairs of one are missing or cannot be read, before anything is painted.
    """
    copying = held_out_pairs(painter.task, painter.size, limit=limit)
    holes = held_out_pairs(replace(painter.task, name=INPAINTING), painter.size, limit=limit)
    for pair in holes:
        hole(pair)
    if heldout(AUTOENCODER).is_dir():
        photographs, note = held_out_pairs(replace(painter.task, name=AUTOENCODER), painter.size, limit=limit), ""
    else:
        photographs, note = [replace(pair, target=pair.reference) for pair in copying], NO_PHOTOGRAPHS
    yield autoencoding(painter.backbone, photographs, batch_size, note)
    yield evaluating(painter, copying, steps=steps, guidance=guidance, seed=seed, batch_size=batch_size)
    yield inpainting(
        painter.backbone,
        holes,
        steps=painter.steps if steps is None else steps,
        guidance=painter.guidance if guidance is None else guidance,
        seed=seed,
        batch_size=batch_size,
    )


def hole(pair: Pair) -> Mask:
    """Return the mask of a pair that must have one."""
    if pair.mask is None:
        raise UserError("Inpainting is evaluated on pairs with a mask.")
    return pair.mask


def lpips_hole(painted: Panel, pair: Pair) -> float:
    """Return LPIPS (AlexNet) of what was to be painted alone.

    Raises:
        UserError: the pair has no mask, or the weights are missing.
    """
    return lpips_in(painted, pair.target, hole(pair))


@torch.no_grad()
def _fill(
    backbone: Backbone, pairs: Sequence[Pair], *, steps: int, guidance: float, seeds: Sequence[int]
) -> list[Panel]:
    """Paint the holes of single panels."""
    canvases = [Canvas(pixels=pair.target, mask=hole(pair)) for pair in pairs]
    prompts = [pair.caption for pair in pairs]
    *_, last = sampling(backbone, canvases, prompts, seeds=seeds, steps=steps, guidance=guidance)
    sheets = backbone.decode(unpack(last.latents, canvases[0].height, canvases[0].width))
    return [_pasted(pair, sheet.float().cpu().clamp(-1, 1)) for pair, sheet in zip(pairs, sheets, strict=True)]


def _pasted(pair: Pair, filling: Panel) -> Panel:
    """Return the target with another picture in its hole."""
    return torch.where(hole(pair).bool(), filling, pair.target)


def _mean_colour(pair: Pair) -> Panel:
    """Return the mean colour of what is known."""
    known = 1 - hole(pair)
    mean = (pair.target * known).sum(dim=(1, 2), keepdim=True) / known.sum().clamp_min(1)
    return mean.expand_as(pair.target)


def _telea(pair: Pair) -> Panel:
    """Return OpenCV's fast marching fill.

    Source: Telea 2004, An image inpainting technique based on the fast marching method.
    """
    pixels = ((pair.target + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    mask = (hole(pair)[0] > 0.5).byte().numpy() * 255
    filled = cv2.inpaint(np.ascontiguousarray(pixels), mask, 3, cv2.INPAINT_TELEA)
    return torch.from_numpy(filled).permute(2, 0, 1).float() / 127.5 - 1


def _scores(wanted: Sequence[Metric], panels: Sequence[Panel], pairs: Sequence[Pair]) -> tuple[Score, ...]:
    """Score panels against the pairs' targets."""
    answers = [(panel.clamp(-1, 1), pair.target) for panel, pair in zip(panels, pairs, strict=True)]
    return tuple(score(metric, answers) for metric in wanted)


def _report(name: str, pairs: Sequence[Pair], rows: tuple[Row, ...], seconds: float) -> Report:
    """Return a report of something that takes no steps."""
    return Report(task=name, count=len(pairs), steps=0, guidance=0.0, seed=0, seconds=seconds, rows=rows)
