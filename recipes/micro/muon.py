"""Muon in numbers that this machine multiplies fast; torch.optim.Muon knows bfloat16 alone.

Without instructions for bfloat16 a step of torch's took 40 seconds here (docs/log.md, session 10).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from anyrefill.backbone.precision import fast_dtype

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 4


def orthogonalised(matrix: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return nearly the orthogonal matrix nearest to one: its singular values moved into about 0.5 to 1.5.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); torch.optim.Muon.

    Args:
        matrix: of any shape (rows, columns).
        dtype: of the products; by default what this machine multiplies fast.
    """
    linear, cubic, quintic = COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.mT).to(dtype or fast_dtype())
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic), x, beta=linear)
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Nesterov's momentum, orthogonalised; steps as large as AdamW's (arXiv 2502.16982, section 2.2)."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        """Take up matrices.

        Args:
            params: of two dimensions.
            lr: learning rate.
            momentum: share of the past that is kept.
            weight_decay: times the learning rate.
        """
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every matrix that has a gradient; a closure is not called."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                mean = state.setdefault("momentum_buffer", torch.zeros_like(matrix))
                mean.lerp_(matrix.grad, 1 - group["momentum"])
                update = orthogonalised(matrix.grad.lerp(mean, group["momentum"]))
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(update.to(matrix), alpha=-group["lr"] * 0.2 * max(matrix.shape) ** 0.5)
