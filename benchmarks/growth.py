"""How the time of a step grows with references and panels, beside counted operations and this machine's own limit.

    python -m benchmarks.growth                              # 1, 2, 4 references; 128, 256, 512 px
    python -m benchmarks.growth --panels 128 256 --rounds 1

One step of the embedded backbone in float32, batch 1, one thread, CPU time, all runs in turns. Operations are counted
by torch on the same step; a multiply-add counts as two. The limit is the best rate of a 1024 x 1024 x 1024 product.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from anyrefill.backbone import Attention, Condition, Field
from anyrefill.backbone.embedded import find_base
from anyrefill.backbone.engine import by_modules, field
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.latents import image_ids
from anyrefill.bench.timing import Run, interleaved
from anyrefill.evaluate.report import table

REFERENCES, PANELS, MODES = (1, 2, 4), (128, 256, 512), ("full", "clean_ref_text")
SIGMA, SIDE, PRODUCT = 0.7, 1024, "product"


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One step of one canvas.

    Attributes:
        references: on the canvas.
        panel: side of each panel in pixels.
        attention: who attends to whom.
        tokens: of the canvas.
        seconds: of CPU time, median.
        flops: counted operations.
        limit: operations a second of this machine's float32 product in the same process.
    """

    references: int
    panel: int
    attention: Attention
    tokens: int
    seconds: float
    flops: float
    limit: float

    @property
    def share(self) -> float:
        """How much of the machine's limit the step reaches."""
        return self.flops / self.seconds / self.limit


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--references", type=int, nargs="+", default=REFERENCES)
    parser.add_argument("--panels", type=int, nargs="+", default=PANELS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = list(growth(options.references, options.panels, options.rounds))
    print(shown(found))
    print(f"\nfloat32 product: {found[0].limit / 1e9:.0f} GFLOP/s")


def growth(references: Sequence[int] = REFERENCES, panels: Sequence[int] = PANELS, rounds: int = 3) -> Iterator[Growth]:
    """Time a step of every canvas in every mode.

    Args:
        references: how many there are.
        panels: sides of panels in pixels.
        rounds: how often each is timed.
    """
    backbone = FluxFill.load(find_base("micro"))
    runs, counts = list[Run](), dict[str, tuple[int, int, Attention, int, float]]()
    for panel in panels:
        for count in references:
            condition = blank(backbone, count, panel)
            noise = torch.randn(1, condition.fill.shape[1], 64)
            for mode in MODES:
                name = f"{count} of {panel} {mode}"
                runs.append(Run(name=name, call=once(backbone.field(condition, 1.0, [SIGMA], mode), noise)))
                counts[name] = (count, panel, mode, noise.shape[1], counted(backbone, condition, noise, mode))
    square = torch.randn(SIDE, SIDE)
    timings = {
        timing.name: timing for timing in interleaved([*runs, Run(name=PRODUCT, call=once(product, square))], rounds)
    }
    limit = 2 * SIDE**3 / timings[PRODUCT].low
    for name, (count, panel, mode, tokens, flops) in counts.items():
        yield Growth(
            references=count, panel=panel, attention=mode, tokens=tokens, seconds=timings[name].cpu, flops=flops,
            limit=limit,
        )  # fmt: skip


def product(square: torch.Tensor, _sigma: float) -> torch.Tensor:
    """Multiply a matrix by itself."""
    return square @ square


def once(velocity: Field, noise: torch.Tensor) -> object:
    """Return a call of a field."""
    return lambda: velocity(noise, SIGMA)


def blank(backbone: FluxFill, references: int, panel: int) -> Condition:
    """Return the condition of a canvas whose target is to be painted, without an encoder's work."""
    width = (references + 1) * panel
    ids = image_ids(panel, width)
    painted = (ids[:, 2] >= references * panel // 16).float()[:, None].expand(-1, 256)
    fill = torch.cat([torch.randn(len(ids), 64) * (1 - painted[:, :64]), painted], dim=-1)
    return Condition(fill=fill[None], img_ids=ids, text=backbone.encode_text(["a photo"]))


def counted(backbone: FluxFill, condition: Condition, noise: torch.Tensor, mode: Attention) -> float:
    """Return the operations of a step, by the model's own modules: fused forms make the same products."""
    velocity = field(by_modules(backbone.transformer), condition, 1.0, [SIGMA], mode)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the CPU's fused form is not counted
        velocity(noise, SIGMA)
    return float(counter.get_total_flops())


def shown(found: Sequence[Growth]) -> str:
    """Return the table; growth is against the first row of the same mode."""
    rows: list[list[str]] = []
    for one in found:
        first = next(other for other in found if other.attention == one.attention)
        rows.append(
            [
                f"{one.references}", f"{one.panel}", one.attention, f"{one.tokens}", f"{1000 * one.seconds:.1f}",
                f"{one.seconds / first.seconds:.1f}", f"{one.flops / 1e9:.2f}", f"{one.flops / first.flops:.1f}",
                f"{one.share:.0%}",
            ]
        )  # fmt: skip
    head = ["references", "panel", "attention", "tokens", "ms CPU", "x", "GFLOP", "x", "of the limit"]
    return table([head, *rows])


if __name__ == "__main__":
    main()
