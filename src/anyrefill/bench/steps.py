"""The table of single steps: one call of the backbone, as diffusers makes it and as we do."""

import torch

from anyrefill.backbone import ATTENTIONS, Attention, Condition
from anyrefill.backbone.engine import field, fused
from anyrefill.backbone.fill import FluxFill
from anyrefill.bench.rows import PLAIN, PLAIN_BF16, Row, rows_of
from anyrefill.bench.scene import Scene, partly_known
from anyrefill.bench.timing import Run, interleaved
from anyrefill.types import Tokens

__all__ = ["steps"]

SIGMA, GUIDANCE = 0.7, 1.0


def steps(task: str, batch: int, rounds: int) -> list[Row]:
    """Time one step of a batch in every way."""
    exact, coarse = Scene.of(task, "float32", batch), Scene.of(task, "bfloat16", batch)
    condition = exact.condition()
    noise = exact.noise(condition)
    runs = [_plain(PLAIN, exact.plain, condition, noise), _plain(PLAIN_BF16, coarse.plain, condition, noise)]
    for scene in (exact, coarse):
        runs += [_ours(f"{mode} {scene.dtype}", scene, condition, noise, mode) for mode in ATTENTIONS]
    for share in (0.5, 0.75):
        part = exact.condition([partly_known(canvas, share) for canvas in exact.canvases])
        runs.append(_ours(f"clean_ref_text float32, {share:.0%} known", exact, part, noise, "clean_ref_text"))
    runs.append(_one_panel(exact, condition, noise))
    table = f"one step, batch {batch}"
    rows = rows_of(table, interleaved(runs, rounds), 1000.0, "ms CPU")
    return [*rows, *_stitching(table, rows)]


def _stitching(table: str, rows: list[Row]) -> list[Row]:
    """Return what the stitched canvas with its adapter costs over one panel without."""
    value = {row.name: row.value for row in rows}
    panel = value["one panel, no adapter, float32"]
    return [
        Row(table=table, name=f"{mode}: stitched with adapter / one panel without", value=value[mode] / panel, unit="x")
        for mode in (PLAIN, *(f"{mode} float32" for mode in ATTENTIONS))
    ]


def _plain(name: str, backbone: FluxFill, condition: Condition, noise: Tokens) -> Run:
    """Call diffusers' forward pass, as its pipeline does."""
    sigma = torch.full((len(noise),), SIGMA)

    @torch.no_grad()
    def call() -> Tokens:
        return backbone.velocity(noise, sigma, condition, GUIDANCE)

    return Run(name=name, call=call)


def _ours(name: str, scene: Scene, condition: Condition, noise: Tokens, attention: Attention) -> Run:
    """Ask our velocity field."""
    velocity = scene.backbone.field(condition, GUIDANCE, [SIGMA], attention)
    return Run(name=name, call=lambda: velocity(noise, SIGMA))


def _one_panel(scene: Scene, condition: Condition, noise: Tokens) -> Run:
    """Ask our field for a canvas of the target alone, on the bare backbone."""
    right = condition.img_ids[:, 2] >= (int(condition.img_ids[:, 2].max()) + 1) // 2
    panel = Condition(fill=condition.fill[:, right], img_ids=condition.img_ids[right], text=condition.text)
    velocity = field(fused(scene.bare.transformer), panel, GUIDANCE, [SIGMA], "full")
    own = noise[:, right]
    return Run(name="one panel, no adapter, float32", call=lambda: velocity(own, SIGMA))
