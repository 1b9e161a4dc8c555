"""What every long run shares: an average of the weights, and a state that survives a kill."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from anyrefill.files import whole
from anyrefill.train.checkpoint import write_state


class Ema:
    """Exponential moving average of a module's parameters, warmed up over the first steps."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Start from the module's present weights."""
        self.decay, self.count = decay, 0
        self.shadow = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move towards the module's weights."""
        self.count += 1
        weight = 1 - min(self.decay, (1 + self.count) / (10 + self.count))
        now = module.state_dict()
        torch._foreach_lerp_(list(self.shadow.values()), [now[name] for name in self.shadow], weight)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Lend the averaged weights to the module for a while."""
        kept = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        module.load_state_dict(self.shadow)
        try:
            yield
        finally:
            module.load_state_dict(kept)


def save_state(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write weights, optimiser and step in one file, under a temporary name first."""
    state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    with whole(folder / "state.pt") as part:
        write_state(state, part)


def load_state(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Return the step to go on with; 0 where there is no state yet."""
    if not (folder / "state.pt").exists():
        return 0
    state = torch.load(folder / "state.pt")
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def join() -> tuple[int, int]:
    """Join the processes that torchrun started and return (rank, how many); (0, 1) when started alone.

    Two processes of one thread each beat one process of two threads on a machine that is shared: an OpenMP
    team waits at every barrier for the thread that lost its core (measured: 40 -> 4 crops/s).
    """
    if "RANK" not in os.environ:
        return 0, 1
    dist.init_process_group("gloo")
    return dist.get_rank(), dist.get_world_size()


def agreed(value: float, count: int) -> float:
    """Return the first process's value in every process, so that all end at one step."""
    if count == 1:
        return value
    told = torch.tensor(value, dtype=torch.float64)
    dist.broadcast(told, 0)
    return told.item()


def take_gradients(model: nn.Module, worker: nn.Module, count: int) -> None:
    """Give the model, in float32, the mean over the processes of its worker's gradients."""
    pairs = [(p, q.grad) for p, q in zip(model.parameters(), worker.parameters(), strict=True) if q.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for _, gradient in pairs]).float()
    if count > 1:
        dist.all_reduce(flat)
        flat /= count
    for (parameter, gradient), part in zip(pairs, flat.split([g.numel() for _, g in pairs]), strict=True):
        parameter.grad = torch.empty_like(parameter).copy_(part.view_as(gradient))  # laid out as the parameter is
