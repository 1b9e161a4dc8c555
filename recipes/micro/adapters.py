"""Train and ship the adapters of the embedded backbone, one after the other.

    python -m recipes.micro.adapters                        # all; 10 to 40 minutes each on one core
    python -m recipes.micro.adapters --task deblur --steps 600

Each learns from pairs of training scenes and renders (recipes/heldout.py --split train) by `anyrefill train`'s own
code, and is copied into the package in bfloat16 when it is done.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from anyrefill.files import whole
from anyrefill.train import TrainConfig, train
from recipes.micro.pack import ASSETS
from recipes.world.fetch import WORLD


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How one adapter is trained.

    Attributes:
        steps: of 16 samples.
        mean: of the logit-normal noise levels; high where the reference tells all.
        std: their deviation.
    """

    steps: int = 500
    mean: float = 1.0
    std: float = 1.7


SETTINGS = {
    "image-to-segment": Setting(steps=1500, mean=2.0, std=1.5),
    "deblur": Setting(steps=800),
    "colorization": Setting(steps=800),
    "canny-to-image": Setting(),
    "image-to-canny": Setting(steps=800),
    "super-resolution": Setting(steps=800),
    "segment-to-image": Setting(),
    "depth-to-image": Setting(),
    "image-to-depth": Setting(mean=2.0, std=1.5),
    "age": Setting(),
    "gender": Setting(),
    "relight": Setting(),
    "ref-inpainting": Setting(),
}
"""What differs between the tasks; everything else is the same for all."""


def train_one(name: str, setting: Setting, args: argparse.Namespace) -> Path:
    """Train one adapter and return its file."""
    config = TrainConfig(
        task=name,
        pairs=WORLD.parent / "pairs" / f"{name}-train",
        out=WORLD.parent / "runs" / name,
        steps=setting.steps,
        rank=args.rank,
        lr=args.lr,
        targets="all",
        logit_mean=setting.mean,
        logit_std=setting.std,
        weighing="reach",
        compile=True,
    )
    adapter = None
    for step in train(config):
        if step.step % 25 == 0 or step.adapter:
            print(f"{name} {step.step}/{step.steps} loss {step.loss:.4f} {step.seconds:.2f} s", flush=True)
        adapter = step.adapter
    if adapter is None:
        raise RuntimeError(f"{config.out} was finished before; remove it to train again")
    return adapter


def ship(adapter: Path, to: Path) -> None:
    """Write an adapter in bfloat16, passport and all."""
    with safe_open(adapter, "pt") as file:
        tensors = {key: file.get_tensor(key).bfloat16() for key in file.keys()}  # noqa: SIM118  # no mapping
        metadata = file.metadata()
    to.parent.mkdir(parents=True, exist_ok=True)
    with whole(to) as part:
        save_file(tensors, part, metadata)


def main() -> None:
    """Train the adapters asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=list(SETTINGS), action="append")
    parser.add_argument("--steps", type=int, help="instead of each task's own")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.task or SETTINGS:
        setting = SETTINGS[name] if args.steps is None else replace(SETTINGS[name], steps=args.steps)
        ship(train_one(name, setting, args), ASSETS / "adapters" / f"{name}.safetensors")


if __name__ == "__main__":
    main()
