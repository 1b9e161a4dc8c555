"""A run's state on disk: written whole or not at all, and only taken up by the run that wrote it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from anyrefill.errors import UserError
from anyrefill.files import whole
from anyrefill.train.config import TrainConfig

__all__ = ["Checkpoint"]

FREE = ("out", "steps", "save_every", "device")
"""Settings that may change when a run goes on."""


class Checkpoint:
    """The file `state.pt` of a run's folder."""

    def __init__(self, folder: Path, config: TrainConfig, manifest: str) -> None:
        """Name the run: all settings that shape its weights, and its pairs."""
        self.path = folder / "state.pt"
        self.run = {key: str(value) for key, value in asdict(config).items() if key not in FREE}
        self.run["manifest"] = manifest

    def load(self, parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer) -> int:
        """Put back weights and optimizer and return the steps done; 0 where there is no checkpoint.

        Raises:
            UserError: the checkpoint is of another run, or cannot be read.
        """
        if not self.path.exists():
            return 0
        try:
            state: dict[str, Any] = torch.load(self.path, weights_only=True)
        except Exception as error:
            raise UserError(f"{self.path} is no checkpoint that can be read ({type(error).__name__}).") from error
        changed = sorted(key for key, value in self.run.items() if state["run"].get(key) != value)
        if changed:
            raise UserError(f"{self.path} is of a run with another {', '.join(changed)}; give another --out.")
        with torch.no_grad():
            for parameter, value in zip(parameters, state["parameters"], strict=True):
                parameter.copy_(value)
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])

    def save(self, parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write under a temporary name, flush to the disk, rename.

        Raises:
            UserError: the folder cannot be written.
        """
        state = {
            "run": self.run,
            "parameters": [parameter.detach().cpu() for parameter in parameters],
            "optimizer": optimizer.state_dict(),
            "step": step,
        }
        with whole(self.path) as part:
            torch.save(state, part)
