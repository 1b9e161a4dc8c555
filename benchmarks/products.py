"""Which form of a float32 product is fastest on this processor: torch's, MKL's or oneDNN's packed, with GELU or not.

    python -m benchmarks.products                     # half a minute; one thread, CPU time, all forms in turns

Sizes are those of micro's blocks: 16, 64 and 128 rows for a quarter of a panel, a panel and a canvas, 1024 for sixteen
panels. `engine/products.py` chooses by what this printed with AVX2 alone, and elsewhere by older trials with AMX
(docs/log.md).
"""

from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from anyrefill.backbone.engine.products import activated
from anyrefill.bench.timing import Run, interleaved
from anyrefill.evaluate.report import table

ROWS = (16, 64, 128, 1024)
MULTIPLIED = 2**13
"""Rows in all of each measurement."""
SHAPES = ((320, 960), (320, 1280), (1600, 320), (320, 320))


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{torch.backends.cpu.get_cpu_capability()}, milliseconds of CPU time\n")
    lines = [["rows x from -> to", *forms(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1))]]
    for rows, (inner, outer) in product(ROWS, SHAPES):
        made, times = forms(torch.randn(rows, inner), torch.randn(outer, inner), torch.randn(outer)), MULTIPLIED // rows
        taken = interleaved([Run(name=name, call=repeated(form, times)) for name, form in made.items()], 5)
        lines.append([f"{rows} x {inner} -> {outer}", *(f"{1000 * one.cpu / times:.3f}" for one in taken)])
    print(table(lines))


@torch.no_grad()
def forms(x: Tensor, weight: Tensor, bias: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Return every form of the product, by name."""
    rows, canvas = len(x), x[None]
    mkl = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows)
    dnn = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    by_mkl, by_dnn = torch.ops.mkl._mkl_linear, torch.ops.mkldnn._linear_pointwise
    return {
        "torch": lambda: F.linear(canvas, weight, bias),
        "MKL": lambda: by_mkl(canvas, mkl, weight, bias, rows),
        "oneDNN": lambda: by_dnn(canvas, dnn, bias, "none", [], ""),
        "torch, torch's GELU": lambda: F.gelu(F.linear(canvas, weight, bias), approximate="tanh"),
        "MKL, our GELU": lambda: activated(by_mkl(canvas, mkl, weight, bias, rows)),
        "oneDNN, its GELU": lambda: by_dnn(canvas, dnn, bias, "gelu", [], "tanh"),
    }


def repeated(form: Callable[[], Tensor], times: int) -> Callable[[], None]:
    """Return what calls a form so many times without gradients."""

    @torch.no_grad()
    def call() -> None:
        for _ in range(times):
            form()

    return call


if __name__ == "__main__":
    main()
