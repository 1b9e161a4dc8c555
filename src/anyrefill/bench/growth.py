"""The table of growth: one step of ever larger canvases, beside counted operations and this machine's own limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from anyrefill.backbone import Attention, Condition
from anyrefill.backbone.engine import by_modules, field
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.latents import image_ids
from anyrefill.bench.rows import Row, Work
from anyrefill.bench.timing import Run, interleaved
from anyrefill.types import Tokens

__all__ = ["GROWTH_TABLE", "growth"]

GROWTH_TABLE = "growth of one step, float32, batch 1"
REFERENCES, PANELS = (1, 2, 4), (128, 256, 512)
MODES: tuple[Attention, ...] = ("full", "clean_ref_text")
SIGMA, SIDE = 0.7, 1024
Shape = Sequence[int]
PRODUCT = f"the limit: a product of {SIDE} x {SIDE} x {SIDE}"


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One step of one canvas.

    Attributes:
        run: takes it.
        attention: who attends to whom.
        tokens: of the canvas.
        flops: counted operations.
    """

    run: Run
    attention: Attention
    tokens: int
    flops: float


def growth(
    backbone: FluxFill, rounds: int, references: Sequence[int] = REFERENCES, panels: Sequence[int] = PANELS
) -> list[Row]:
    """Time a step of every canvas in every mode, and the product that tells what this machine can do.

    Args:
        backbone: in float32, without adapters.
        rounds: how often each is timed, in turns.
        references: how many there are on a canvas.
        panels: sides of panels in pixels.
    """
    steps = [_step(backbone, count, panel, mode) for panel in panels for count in references for mode in MODES]
    square = torch.randn(SIDE, SIDE)
    *timings, product = interleaved(
        [*(step.run for step in steps), Run(name=PRODUCT, call=lambda: square @ square)], rounds
    )
    limit = 2 * SIDE**3 / product.low
    rows = [Row(table=GROWTH_TABLE, name=PRODUCT, value=limit / 1e9, unit="GFLOP/s")]
    for step, timing in zip(steps, timings, strict=True):
        first = next(index for index, other in enumerate(steps) if other.attention == step.attention)
        work = Work(
            tokens=step.tokens,
            gflop=step.flops / 1e9,
            of_limit=step.flops / timing.cpu / limit,
            times=timing.cpu / timings[first].cpu,
            gflop_times=step.flops / steps[first].flops,
        )
        value, low, high, wall = (1000 * seconds for seconds in (timing.cpu, timing.low, timing.high, timing.wall))
        rows.append(
            Row(
                table=GROWTH_TABLE, name=timing.name, value=value, unit="ms CPU", low=low, high=high, wall=wall,
                work=work,
            )
        )  # fmt: skip
    return rows


def _step(backbone: FluxFill, references: int, panel: int, attention: Attention) -> _Step:
    """Prepare a step, and count it by the model's own modules: fused forms make the same products."""
    condition = _blank(backbone, references, panel)
    noise = torch.randn(1, len(condition.img_ids), 64)
    slow = field(by_modules(backbone.transformer), condition, 1.0, [SIGMA], attention)
    fused: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # which torch does not count by itself
    with FlopCounterMode(display=False, custom_mapping={fused: _attended}) as counter:
        slow(noise, SIGMA)
    velocity = backbone.field(condition, 1.0, [SIGMA], attention)

    def call() -> Tokens:
        return velocity(noise, SIGMA)

    name = f"{attention}, {references} reference{'s' if references > 1 else ''}, {panel} px"
    return _Step(
        run=Run(name=name, call=call),
        attention=attention,
        tokens=noise.shape[1],
        flops=float(counter.get_total_flops()),
    )


def _attended(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    """Count the operations of the CPU's fused attention."""
    return sdpa_flop_count(query, key, value)


def _blank(backbone: FluxFill, references: int, panel: int) -> Condition:
    """Return the condition of a canvas whose target is to be painted, without an encoder's work."""
    ids = image_ids(panel, (references + 1) * panel)
    painted = (ids[:, 2] >= references * panel // 16).float()[:, None].expand(-1, 256)
    fill = torch.cat([torch.randn(len(ids), 64) * (1 - painted[:, :64]), painted], dim=-1)
    return Condition(fill=fill[None], img_ids=ids, text=backbone.encode_text(["a photo"]))
