"""One optimizer step: gradients of this process's share in parts, added up over all processes, clipped, applied."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from anyrefill.train.checkpoint import State
from anyrefill.train.config import TrainConfig
from anyrefill.train.data import Batch
from anyrefill.train.loss import Predictor, flow_loss, weight_of
from anyrefill.train.masters import Masters
from anyrefill.train.parallel import World

__all__ = ["Learned", "Learner", "rate"]


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What came of one step's gradients.

    Attributes:
        loss: mean over the whole batch.
        norm: of all gradients together, before clipping.
    """

    loss: float
    norm: float

    @property
    def is_finite(self) -> bool:
        """Whether weights may be changed by it."""
        return math.isfinite(self.loss) and math.isfinite(self.norm)


class Learner:
    """The trained weights and what updates them.

    Attributes:
        masters: the weights.
        channels: what the error of each latent channel counts.
        step: optimizer steps done.
        best: the lowest validation loss so far.
        steps_before: of training in the weights that it began with.
    """

    def __init__(
        self, config: TrainConfig, masters: Masters, predict: Predictor, world: World, steps: int, channels: Tensor
    ) -> None:
        """Begin at step 0 of `steps`."""
        self.config, self.masters, self.predict, self.world, self.steps = config, masters, predict, world, steps
        self.channels = channels
        self.optimizer = _optimizer(config, masters.values)
        self.step, self.best, self.steps_before = 0, float("inf"), 0

    def gradients(self, batch: Batch) -> Learned:
        """Leave the gradients of the whole batch's mean loss in the masters, clipped."""
        config, world = self.config, self.world
        weight, mine = weight_of(batch, config.region), batch.part(world.share(len(batch)))
        size = config.draws * -(-len(mine) // (config.draws * config.accumulate))
        loss = torch.zeros((), device=self.masters.values[0].device)
        for start in range(0, len(mine), size):
            samples = mine.part(slice(start, start + size))
            part = flow_loss(self.predict, samples, config.region, weight, self.channels)
            part.backward()
            loss += part.detach().to(loss.device)
        world.add_up([*self.masters.take_gradients(), loss])
        norm = nn.utils.clip_grad_norm_(self.masters.values, config.clip)
        return Learned(loss=loss.item(), norm=norm.item())

    def apply(self) -> None:
        """Take the step."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * rate(self.step, self.steps, self.config.warmup)
        self.optimizer.step()
        self.step += 1
        self.masters.move_average(self.step)
        self.masters.give()

    def state(self) -> State:
        """Return everything that a checkpoint keeps."""
        return State(
            step=self.step,
            parameters=[value.detach().cpu() for value in self.masters.values],
            average=[value.cpu() for value in self.masters.average],
            optimizer=self.optimizer.state_dict(),
            processes=self.world.size,
            best=self.best,
            steps_before=self.steps_before,
        )

    def begin(self, values: list[Tensor]) -> None:
        """Begin with weights that are given."""
        self.restore(replace(self.state(), parameters=values, average=values if self.masters.average else []))

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Go on from a checkpoint."""
        for value, saved in zip(self.masters.values, state.parameters, strict=True):
            value.copy_(saved)
        for value, saved in zip(self.masters.average, state.average, strict=True):
            value.copy_(saved)
        self.optimizer.load_state_dict(dict(state.optimizer))
        self.step, self.best = state.step, state.best
        self.masters.give()


def rate(step: int, steps: int, warmup: int) -> float:
    """Return the share of the peak learning rate at a step: linear warm-up, then a cosine to 0.05."""
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share))


def _optimizer(config: TrainConfig, values: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer that was asked for."""
    if config.optimizer == "adamw":
        return torch.optim.AdamW(values, config.lr, weight_decay=0.0)
    import bitsandbytes  # pyright: ignore[reportMissingImports]  # optional, and slow to import

    eight_bit: Any = bitsandbytes.optim.AdamW8bit
    return eight_bit(values, config.lr, weight_decay=0.0)
