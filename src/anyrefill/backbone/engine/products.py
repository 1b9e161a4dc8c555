"""Matrix products in the forms that are fastest where they run: torch's own, or with weights packed for a CPU.

Packed, a weight lies as Intel's libraries read it, so that no step sorts it anew, and GELU is a part of the product.
Measured on one AMX core beside ``F.linear``, 64 to 2432 rows of 320 values (docs/log.md): 1.1 to 1.4 times faster in
float32, 1.3 to 1.6 times in bfloat16, and up to 2 times with GELU. With AVX2 alone oneDNN's GELU takes longer than
MKL's product with `activated` behind it (`python -m benchmarks.products`). A packed weight is a copy: it is made for
one run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, final, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from anyrefill.backbone.kernels import fast_gelu

__all__ = ["Map", "PackedProducts", "PairMap", "PlainProducts", "Products", "activated", "packs"]

Map = Callable[[Tensor], Tensor]
PairMap = Callable[[Tensor, Tensor], Tensor]

PACKABLE = (torch.float32, torch.bfloat16)


@runtime_checkable
class Products(Protocol):
    """Makes maps x -> x W^T + b."""

    def one(self, weight: Tensor, bias: Tensor, *, activate: bool = False) -> Map:
        """Return the map, GELU behind it if asked for."""
        ...

    def two(self, weight: Tensor, bias: Tensor, width: int) -> PairMap:
        """Return the map of two inputs side by side, the first of that width."""
        ...


@final
class PlainProducts:
    """Torch's own products, with the weights as they lie."""

    def one(self, weight: Tensor, bias: Tensor, *, activate: bool = False) -> Map:
        """Return the map, GELU behind it if asked for."""
        return (lambda x: activated(F.linear(x, weight, bias))) if activate else (lambda x: F.linear(x, weight, bias))

    def two(self, weight: Tensor, bias: Tensor, width: int) -> PairMap:
        """Return the map of two inputs side by side, the first of that width."""
        del width
        return lambda first, second: F.linear(torch.cat([first, second], -1), weight, bias)


@final
@dataclass(frozen=True, kw_only=True)
class PackedProducts:
    """Products on a CPU without gradients, of copies of the weights that are packed for inputs of so many rows.

    Attributes:
        rows: of every input, all canvases together; others are multiplied too, but no faster.
    """

    rows: int

    def one(self, weight: Tensor, bias: Tensor, *, activate: bool = False) -> Map:
        """Return the map, GELU behind it if asked for; oneDNN's product activates, MKL's is faster in float32."""
        if weight.dtype == torch.float32 and not (activate and activates_fast()) and torch.backends.mkl.is_available():
            product = self._mkl(weight, bias)
            return (lambda x: activated(product(x))) if activate else product
        packed, kind, form = self._packed(weight), "gelu" if activate else "none", "tanh" if activate else ""
        return lambda x: cast(Tensor, torch.ops.mkldnn._linear_pointwise(x, packed, bias, kind, [], form))

    def two(self, weight: Tensor, bias: Tensor, width: int) -> PairMap:
        """Return the map of two inputs side by side, the first of that width; bfloat16 adds where it multiplies."""
        if weight.dtype == torch.float32:
            product = self.one(weight, bias)
            return lambda first, second: product(torch.cat([first, second], -1))
        product, packed = self.one(weight[:, :width].contiguous(), bias), self._packed(weight[:, width:].contiguous())
        add = torch.ops.mkldnn._linear_pointwise.binary
        return lambda first, second: cast(Tensor, add(second, product(first), packed, None, "add"))

    def _mkl(self, weight: Tensor, bias: Tensor) -> Map:
        """Return the map by MKL, which multiplies by the weight as it lies where the rows are others."""
        packed, rows = torch.ops.mkl._mkl_reorder_linear_weight(weight, self.rows), self.rows
        return lambda x: cast(Tensor, torch.ops.mkl._mkl_linear(x, packed, weight, bias, rows))

    def _packed(self, weight: Tensor) -> Tensor:
        """Return a weight as oneDNN reads it."""
        return cast(Tensor, torch.ops.mkldnn._reorder_linear_weight(weight, self.rows))


def packs(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether weights can be packed: on a CPU whose torch was built with oneDNN, and which knows the type."""
    if device.type != "cpu" or dtype not in PACKABLE or not torch.backends.mkldnn.is_available():
        return False
    operators: Any = torch.ops.mkldnn
    if not hasattr(operators, "_reorder_linear_weight"):
        return False
    return dtype == torch.float32 or bool(operators._is_mkldnn_bf16_supported())


def activates_fast() -> bool:
    """Return whether oneDNN's GELU inside a float32 product is faster than torch's behind it: not with AVX2 alone."""
    return torch.backends.cpu.get_cpu_capability() != "AVX2"


def activated(x: Tensor) -> Tensor:
    """Return GELU of x; without gradients in its place, canvas by canvas, so that it stays in the cache."""
    if torch.is_grad_enabled():
        return fast_gelu(x)
    if x.device.type != "cpu":
        return F.gelu(x, approximate="tanh")
    linear = x.new_full((1,), 1.5957691216)  # of 2u = 2 sqrt(2/pi) (x + 0.044715 x^3), see kernels.SigmoidGelu
    for row in x:
        row.mul_(torch.addcmul(linear, row, row, value=0.0713548163).mul_(row).sigmoid_())
    return x
