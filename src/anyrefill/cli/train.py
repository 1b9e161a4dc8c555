"""`anyrefill train`."""

import sys
from typing import TYPE_CHECKING

from anyrefill.cli.common import with_bar

if TYPE_CHECKING:
    from anyrefill.train import Step, TrainConfig

__all__ = ["train", "train_options"]


def train(config: "TrainConfig") -> None:
    """Train, with a bar; Ctrl-C says how to go on."""
    from anyrefill.train import train as training

    last: Step | None = None
    try:
        for step in with_bar(training(config), config.task):
            last = step
    except KeyboardInterrupt:
        where = f"after step {last.step} of {last.steps}" if last else "before the first step"
        print(f"Stopped {where}: the same command goes on from the last checkpoint.", file=sys.stderr)
        sys.exit(130)
    if last is not None and last.adapter is not None:
        print(last.adapter)


def train_options() -> type:
    """Import what `anyrefill train` can be told."""
    from anyrefill.train import TrainConfig

    return TrainConfig
