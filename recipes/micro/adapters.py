"""Train and ship the adapters of the embedded backbone, one after the other.

    python -m recipes.micro.adapters                        # all four; about 8 minutes each on one core
    python -m recipes.micro.adapters --task deblur --steps 600

Each learns from pairs made of training scenes (recipes/heldout.py --split train) by `anyrefill train`'s own code,
and is copied into the package when it is done.
"""

import argparse
import shutil
from pathlib import Path

import torch

from anyrefill import tasks
from anyrefill.train import TrainConfig, train
from recipes.heldout import TASKS, write
from recipes.micro.pack import ASSETS
from recipes.world.fetch import WORLD


def train_one(name: str, pairs: int, steps: int, rank: int, lr: float) -> Path:
    """Train one adapter and return its file."""
    folder, out = WORLD.parent / "pairs" / f"{name}-{pairs}", WORLD.parent / "runs" / name
    write(tasks.get(name), "train", pairs, folder)
    adapter = None
    for step in train(TrainConfig(task=name, pairs=folder, out=out, steps=steps, rank=rank, lr=lr)):
        if step.step % 25 == 0 or step.adapter:
            print(f"{name} {step.step}/{step.steps} loss {step.loss:.4f} {step.seconds:.2f} s", flush=True)
        adapter = step.adapter
    if adapter is None:
        raise RuntimeError(f"{out} was finished before; remove it to train again")
    return adapter


def main() -> None:
    """Train the adapters asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=TASKS, action="append")
    parser.add_argument("--pairs", type=int, default=800)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    shipped = ASSETS / "adapters"
    shipped.mkdir(parents=True, exist_ok=True)
    for name in args.task or TASKS:
        shutil.copy(train_one(name, args.pairs, args.steps, args.rank, args.lr), shipped / f"{name}.safetensors")


if __name__ == "__main__":
    main()
