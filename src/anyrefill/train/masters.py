"""Float32 masters of parameters that compute in a coarser type: small updates are not rounded away."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Masters"]


class Masters:
    """The trained values in float32; the model's own parameters follow them in the compute type.

    Attributes:
        values: what the optimizer updates and the checkpoint keeps.
        average: their exponential moving average; empty without one.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], dtype: torch.dtype, decay: float = 0.0) -> None:
        """Copy the parameters and let them compute in `dtype`."""
        self.parameters, self.dtype, self.decay = list(parameters), dtype, decay
        self.values = [nn.Parameter(parameter.detach().float().clone()) for parameter in self.parameters]
        self.average = [value.detach().clone() for value in self.values] if decay else []
        self.give()

    @property
    def best(self) -> Sequence[Tensor]:
        """What the adapter will be: the average, where there is one."""
        return self.average or self.values

    def take_gradients(self) -> list[Tensor]:
        """Move the gradients over, and return them in float32."""
        for value, parameter in zip(self.values, self.parameters, strict=True):
            gradient = torch.zeros_like(value) if parameter.grad is None else parameter.grad.to(value.dtype)
            value.grad, parameter.grad = gradient, None
        return [value.grad for value in self.values if value.grad is not None]

    @torch.no_grad()
    def move_average(self, step: int) -> None:
        """Let the average follow, faster in the first steps: decay = min(decay, (1 + step) / (10 + step)).

        Source: diffusers, training_utils.EMAModel.get_decay.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, value in zip(self.average, self.values, strict=bool(self.average)):
            average.lerp_(value, 1 - decay)

    @torch.no_grad()
    def give(self) -> None:
        """Hand the values to the model."""
        for value, parameter in zip(self.values, self.parameters, strict=True):
            parameter.data = value.detach().to(self.dtype, copy=True)

    @contextmanager
    def shown(self, *, whole: bool = False) -> Generator[None, None, None]:
        """Let the model be what the adapter will be; `whole` in float32, to be saved."""
        try:
            for value, parameter in zip(self.best, self.parameters, strict=True):
                parameter.data = value.detach().to(torch.float32 if whole else self.dtype, copy=True)
            yield
        finally:
            self.give()
