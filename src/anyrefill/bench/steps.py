"""The table of single steps: one call of the backbone, as diffusers makes it and as we do."""

from collections.abc import Sequence

import torch

from anyrefill.backbone import ATTENTIONS, Attention, Condition
from anyrefill.backbone.engine import field, fused
from anyrefill.backbone.fill import FluxFill
from anyrefill.bench.rows import PLAIN, Row, rows_of
from anyrefill.bench.scene import Scene, partly_known
from anyrefill.bench.timing import Run, interleaved
from anyrefill.types import Tokens

__all__ = ["ONE_PANEL", "step_table", "steps"]

SIGMA, GUIDANCE = 0.7, 1.0
SHARES = (0.5, 0.75)
ONE_PANEL = "one panel, no adapter, float32"


def step_table(batch: int) -> str:
    """Return the name of the table of a batch."""
    return f"one step, batch {batch}"


def steps(scenes: Sequence[Scene], rounds: int) -> list[Row]:
    """Time one step of a batch in every way, in the type of every scene; the first is in float32."""
    exact = scenes[0]
    condition = exact.condition()
    noise = exact.noise(condition)
    runs = [_plain(f"plain {scene.dtype}", scene.plain, condition, noise) for scene in scenes]
    for scene in scenes:
        runs += [_ours(f"{mode} {scene.dtype}", scene, condition, noise, mode) for mode in ATTENTIONS]
        for share in SHARES:
            part = exact.condition([partly_known(canvas, share) for canvas in exact.canvases])
            runs.append(_ours(f"clean_ref_text {scene.dtype}, {share:.0%} known", scene, part, noise, "clean_ref_text"))
    runs.append(_one_panel(exact, condition, noise))
    table = step_table(len(exact.canvases))
    rows = rows_of(table, interleaved(runs, rounds), 1000.0, "ms CPU")
    return [*rows, *_ratios(table, rows)]


def _ratios(table: str, rows: list[Row]) -> list[Row]:
    """Return what the stitched canvas costs over one panel without adapter, and what known parts of the target save."""
    value = {row.name: row.value for row in rows}
    stitched = [
        Row(
            table=table,
            name=f"{mode}: stitched with adapter / one panel without",
            value=value[mode] / value[ONE_PANEL],
            unit="x",
        )
        for mode in (PLAIN, *(f"{mode} float32" for mode in ATTENTIONS))
    ]
    saved = [
        Row(table=table, name=f"{mode}: nothing / {share:.0%} known", value=value[mode] / value[part], unit="x")
        for mode in ("clean_ref_text float32", "clean_ref_text bfloat16")
        for share in SHARES
        if (part := f"{mode}, {share:.0%} known") in value
    ]
    return stitched + saved


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
    with scene.bare() as bare:
        velocity = field(fused(bare.transformer), panel, GUIDANCE, [SIGMA], "full")
    own = noise[:, right]
    return Run(name=ONE_PANEL, call=lambda: velocity(own, SIGMA))
