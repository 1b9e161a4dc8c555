"""Training runs of a few steps on a tiny base, for tests of whatever trains."""

from pathlib import Path

from anyrefill.pairs import Pair, write_pairs
from anyrefill.train import Step, TrainConfig, training
from panels import random_panel


def short_run(folder: Path, base: Path, steps: int, pairs: int = 4) -> TrainConfig:
    """Write pairs into a folder, and return what trains on them into it; two pairs a step."""
    made = [
        Pair(reference=random_panel(64, 64, seed), target=-random_panel(64, 64, seed), caption=f"p {seed}")
        for seed in range(pairs)
    ]
    write_pairs(made, folder / "pairs")
    return TrainConfig(
        task="deblur", pairs=folder / "pairs", out=folder / "run", backbone=str(base), cache=folder / "cache",
        steps=steps, batch=2, rank=2, save_every=2, warmup=2, dtype="float32",
    )  # fmt: skip


def close_after(config: TrainConfig, step: int) -> None:
    """Take steps and stop asking, as the first Ctrl-C does."""
    run = training(config)
    for record in run:
        if isinstance(record, Step) and record.step == step:
            break
    run.close()
