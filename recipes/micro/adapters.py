"""Train and ship the adapters of the embedded backbone, one after the other.

    python -m recipes.micro.adapters                        # all; 2 to 80 minutes each on one core
    python -m recipes.micro.adapters --task deblur --steps 600
    python -m recipes.micro.adapters --go-on                # begin with the adapters that ship, maybe of an older base;
                                                            # a run that ended is not begun again: remove its folder

Each learns from pairs of training scenes and renders (recipes/heldout.py --split train) by `anyrefill train`'s own
code, and is copied into the package in bfloat16 when it is done.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from anyrefill.backbone.adapters.header import PASSPORT_KEY, read_passport
from anyrefill.backbone.adapters.lora import TARGETS
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.embedded import adapter_of, shipped
from anyrefill.backbone.precision import fast_dtype
from anyrefill.files import whole, whole_folder
from anyrefill.painter import Painter, load
from anyrefill.pairs import METADATA
from anyrefill.train import TrainConfig, train
from recipes.micro.pack import ASSETS
from recipes.world.fetch import WORLD

RUNS = WORLD.parent / "runs"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How one adapter is trained.

    Attributes:
        steps: of 16 samples.
        pairs: the first so many of the folder; encoding more takes minutes.
        mean: of the logit-normal noise levels; high where the reference tells all.
        std: their deviation.
        paint: Euler steps to paint with, as recipes.few_steps found; the usual 20 where None.
        quiet: share of samples from nothing, sigma 1 without noise.
        ema: decay of the average of the weights that ships; 0 ships the last ones.
        temperature: of the noise to paint with.
        heed: how much more than in training the reference is to count when painting (reference guidance).
        mirrored: whether paintings of mirror images are averaged in.
    """

    steps: int = 250
    pairs: int = 400
    mean: float = 1.0
    std: float = 1.7
    paint: int | None = None
    quiet: float = 0.0
    ema: float = 0.0
    temperature: float = 1.0
    heed: float = 1.0
    mirrored: bool = False


in_one_step = partial(Setting, paint=1, quiet=0.8, ema=0.99, temperature=0.0)
"""A setting of what is painted in one step without noise."""

SETTINGS = {
    "image-to-segment": in_one_step(steps=1200, pairs=6000, mean=3.0, std=2.0),
    "deblur": Setting(steps=400, pairs=1600, mean=2.5, std=2.0, paint=2),
    "colorization": Setting(steps=500, pairs=2000, mean=2.5, std=2.0, paint=10, quiet=0.5, ema=0.99),
    "canny-to-image": Setting(steps=350, pairs=1600, paint=10, heed=2.0),
    "image-to-canny": Setting(steps=400, pairs=1600, mean=3.0, std=2.0, paint=1),
    "super-resolution": Setting(steps=500, pairs=2000, mean=2.0, std=2.0, paint=4, heed=1.2),
    "segment-to-image": Setting(steps=350, pairs=2000, paint=10, heed=3.0),
    "depth-to-image": Setting(steps=350, pairs=1600, paint=10, heed=2.0),
    "image-to-depth": in_one_step(steps=1000, pairs=4000, mean=3.0, std=2.0),
    "age": in_one_step(steps=900, pairs=4000, mean=2.5, std=2.0, mirrored=True),
    "gender": in_one_step(steps=1000, pairs=6000, mean=2.5, std=2.0, mirrored=True),
    "relight": in_one_step(steps=550, pairs=2800, mean=2.5, std=2.0),
    "ref-inpainting": Setting(steps=400, pairs=1600, mean=2.5, std=2.0, paint=2, quiet=0.5, temperature=0.0),
    "blueprint": Setting(steps=300, pairs=1600, mean=2.5, std=2.0, paint=2),
}
"""What differs between the tasks; everything else is the same for all. Those that ship went on, by --go-on
--lr 1e-3, from adapters of earlier bases: a card tells the steps of the last run, and of all before."""


def pairs_of(name: str) -> Path:
    """Return the folder of a task's training pairs."""
    return WORLD.parent / "pairs" / f"{name}-train"


def subset(folder: Path, count: int, kept: Callable[[str], bool] = bool, name: str = "first") -> Path:
    """Return a folder of the first pairs of another one, whose pictures it only points to.

    Args:
        folder: of pairs.
        count: of lines of the metadata.
        kept: which lines may be among them.
        name: of that choice.
    """
    out = folder.with_name(f"{folder.name}-{name}-{count}")
    if not out.exists():
        with whole_folder(out, "pairs") as part:
            part.mkdir(parents=True)
            lines = filter(kept, (folder / METADATA).read_text(encoding="utf-8").splitlines())
            (part / METADATA).write_text("\n".join(islice(lines, count)) + "\n", encoding="utf-8")
            for pictures in folder.iterdir():
                if pictures.is_dir():
                    (part / pictures.name).symlink_to(pictures.resolve(), target_is_directory=True)
    return out


def config_of(name: str, pairs: Path, run: str, steps: int) -> TrainConfig:
    """Return how the adapters are trained, each by its own setting."""
    setting = SETTINGS[name]
    return TrainConfig(
        task=name, pairs=pairs, out=RUNS / run, steps=steps, rank=16, lr=1.5e-3, targets="all",
        logit_mean=setting.mean, logit_std=setting.std, weighing="reach", quiet=setting.quiet,
        ema=setting.ema,
    )  # fmt: skip


def trained(
    name: str, pairs: Path, run: str, steps: int, rank: int = 16, lr: float = 1.5e-3, start_from: str | None = None
) -> Path:
    """Train one adapter, or find its run finished, and return its file."""
    config = replace(config_of(name, pairs, run, steps), rank=rank, lr=lr, compile=True, start_from=start_from)
    for step in train(config):
        if step.step % 25 == 0 or step.adapter:
            print(f"{run} {step.step}/{step.steps} loss {step.loss:.4f} {step.seconds:.2f} s", flush=True)
    return config.out / "adapter.safetensors"


def painter_of(name: str, adapter: Path) -> Painter:
    """Return who paints with an adapter that was just trained, as the task's shipped one asks to be painted with."""
    asking = adapter.with_name("shipped.safetensors")
    ship(adapter, asking, SETTINGS[name])
    return load(name, adapter=asking, dtype=fast_dtype())


def goes_on(name: str, rank: int) -> bool:
    """Return whether an adapter ships whose weights have the shape of those to be trained."""
    passport = read_passport(adapter_of(name)) if name in shipped() else None
    return passport is not None and passport.rank == rank and set(passport.targets) == set(TARGETS["all"])


def has_ended(run: Path, steps: int) -> bool:
    """Return whether a run's adapter has that many steps; once it ships, going on from there takes another run."""
    adapter = run / "adapter.safetensors"
    return adapter.exists() and read_passport(adapter).steps >= steps


def ship(adapter: Path, to: Path, setting: Setting) -> None:
    """Write an adapter in bfloat16, with its passport, which says how to paint with it."""
    with safe_open(adapter, "pt") as file:
        tensors = {key: file.get_tensor(key).bfloat16() for key in file.keys()}  # noqa: SIM118  # no mapping
        metadata = file.metadata()
    passport = replace(
        Passport.from_json(metadata[PASSPORT_KEY]), steps_paint=setting.paint, temperature_paint=setting.temperature,
        reference_guidance_paint=setting.heed, mirrored_paint=setting.mirrored,
    )  # fmt: skip
    to.parent.mkdir(parents=True, exist_ok=True)
    with whole(to) as part:
        save_file(tensors, part, metadata | {PASSPORT_KEY: passport.to_json()})


def main() -> None:
    """Train the adapters asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=list(SETTINGS), action="append")
    parser.add_argument("--steps", type=int, help="instead of each task's own")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--go-on", action="store_true", help="begin with the adapter that ships, where there is one")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.task or SETTINGS:
        setting = SETTINGS[name]
        pairs, steps = subset(pairs_of(name), setting.pairs), args.steps or setting.steps
        before, run = name if args.go_on and goes_on(name, args.rank) else None, RUNS / name
        if before and has_ended(run, steps):
            print(f"{name}: its run has ended. Remove {run} to go on from the adapter that ships.", flush=True)
            continue
        adapter = trained(name, pairs, name, steps, args.rank, args.lr, before)
        ship(adapter, ASSETS / "adapters" / f"{name}.safetensors", setting)


if __name__ == "__main__":
    main()
