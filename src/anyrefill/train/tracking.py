"""A run's numbers in TensorBoard, Weights & Biases or trackio, through accelerate's trackers."""

import hashlib
from dataclasses import asdict

from accelerate import PartialState
from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker

from anyrefill.train.config import TrainConfig

__all__ = ["PROJECT", "tracker"]

PROJECT = "anyrefill"
"""Where wandb and trackio put runs."""


def tracker(config: TrainConfig) -> GeneralTracker:
    """Begin to tell the tracker that a run asks for about it, or go on with what it knows of that folder's run."""
    track, folder = str(config.track), config.out.absolute()
    PartialState()  # whose logger the trackers write to
    if track == "tensorboard":
        found = TensorBoardTracker(track, folder)
        found.start()
        return found
    if track == "wandb":
        same = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        found = WandBTracker(PROJECT, name=folder.name, dir=str(folder), id=same, resume="allow")
    else:
        found = TrackioTracker(PROJECT, name=folder.name, resume="allow")
    found.start()
    found.store_init_configuration({name: str(value) for name, value in asdict(config).items()})
    return found
