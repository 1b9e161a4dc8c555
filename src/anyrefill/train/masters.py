"""Float32 masters of parameters that compute in a coarser type: small updates are not rounded away."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Masters"]


class Masters:
    """The trained values in float32; the model's own parameters follow them in the compute type.

    Attributes:
        values: what the optimizer updates and the checkpoint keeps.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], dtype: torch.dtype) -> None:
        """Copy the parameters and let them compute in `dtype`."""
        self.parameters = list(parameters)
        self.values = [nn.Parameter(parameter.detach().float().clone()) for parameter in self.parameters]
        for parameter in self.parameters:
            parameter.data = parameter.data.to(dtype)

    def take_gradients(self, largest: float) -> Tensor:
        """Move the gradients over, clip their common norm to `largest`, and return the norm before."""
        for value, parameter in zip(self.values, self.parameters, strict=True):
            value.grad = None if parameter.grad is None else parameter.grad.to(value.dtype)
            parameter.grad = None
        return torch.nn.utils.clip_grad_norm_(self.values, largest)

    @torch.no_grad()
    def give(self) -> None:
        """Hand the values to the model."""
        for value, parameter in zip(self.values, self.parameters, strict=True):
            parameter.copy_(value)

    @torch.no_grad()
    def give_whole(self) -> None:
        """Hand the values to the model in float32, to be saved."""
        for value, parameter in zip(self.values, self.parameters, strict=True):
            parameter.data = value.detach().clone()
