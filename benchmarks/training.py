"""Peak memory of training, and its time: ours beside a plain loop as in diffusers' examples, in one run, in turns.

    python -m benchmarks.training                          # 16 samples a step, one thread, micro
    python -m benchmarks.training --dtype float32 --rounds 3

Every run is a process of its own, which loads the base, trains a LoRA on the bundled photographs and tells of its
steps and of the most memory that it ever held. `anyrefill bench --tables training` times steps alone, in one process.
The plain loop is that of diffusers' LoRA examples: both autoencoder passes and both text encoders in every step,
activation checkpointing, diffusers' own forward pass. With full attention all runs see the same weights, pictures,
prompts, noise and noise levels, and the losses of their first steps agree. Times are CPU seconds of one thread, and
hold on a busy machine. Ours encodes once, before the first step.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from time import process_time
from types import MappingProxyType

import torch

from anyrefill.backbone.precision import dtype_name, fast_dtype
from anyrefill.bench.plain_training import plain_training
from anyrefill.bench.training import ours, write_photographs
from anyrefill.train import TrainConfig

PLAIN = "plain: diffusers' loop, checkpointing"
WAYS = MappingProxyType(
    {
        PLAIN: {},
        "full attention": {"region": "whole"},
        "full attention, --accumulate 4": {"region": "whole", "accumulate": 4},
        "full attention, --accumulate 8": {"region": "whole", "accumulate": 8},
        "clean_ref_text, --draws 4": {"attention": "clean_ref_text", "draws": 4},
        "clean_ref_text, --draws 4 --accumulate 2": {"attention": "clean_ref_text", "draws": 4, "accumulate": 2},
        "clean_ref_text, --draws 4 --accumulate 4": {"attention": "clean_ref_text", "draws": 4, "accumulate": 4},
    }
)
"""What each run is told beyond the rest."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one process tells of its run.

    Attributes:
        seconds: CPU time of each step but the first.
        loss: of the first step.
        peak: the most memory that the process ever held, in bytes.
        floor: what it held after the imports.
        first: CPU seconds until the first step was done: loading, encoding, one step.
    """

    seconds: list[float]
    loss: float
    peak: int
    floor: int
    first: float


def main() -> None:
    """Run one way, or all of them in turns, and print a table."""
    options = _options()
    torch.set_num_threads(1)
    if options.way:
        print(json.dumps(asdict(run(options.way, _config(options), _held()))))
        return
    with tempfile.TemporaryDirectory() as folder:
        pairs = options.pairs or write_photographs(Path(folder) / "pairs")
        told = dict[str, list[Told]]()
        for number in range(options.rounds):
            for place, way in enumerate(WAYS):
                words = ["--way", way, "--pairs", str(pairs), "--out", f"{folder}/{number}-{place}"]
                told.setdefault(way, []).append(_in_a_process([*words, *_passed_on(options)]))
    print("\n".join(_lines(told)))


def run(way: str, config: TrainConfig, floor: int) -> Told:
    """Train in one way and tell of it."""
    config = replace(config, **WAYS[way])
    steps = plain_training(config) if way == PLAIN else ours(config)
    losses, seconds, began = list[float](), list[float](), process_time()
    for loss in islice(steps, config.steps):
        losses.append(loss)
        seconds.append(process_time() - began)
        began = process_time()
    return Told(seconds=seconds[1:], first=seconds[0], loss=losses[0], peak=_peak(), floor=floor)


def _lines(told: dict[str, list[Told]]) -> Iterator[str]:
    """Yield the table."""
    plain_seconds = median(second for one in told[PLAIN] for second in one.seconds)
    plain_peak = median(one.peak for one in told[PLAIN])
    heads = ("way", "s CPU a step (spread)", "times as fast", "peak MB", "of plain's", "without imports", "first loss")
    yield f"| {' | '.join(heads)} | until step 1 |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for way, ones in told.items():
        seconds = [second for one in ones for second in one.seconds]
        peak, floor = median(one.peak for one in ones), median(one.floor for one in ones)
        plain_own = plain_peak - median(one.floor for one in told[PLAIN])
        yield (
            f"| {way} | {median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) "
            f"| {plain_seconds / median(seconds):.2f} | {peak / 1e6:.0f} | {peak / plain_peak:.2f} "
            f"| {(peak - floor) / plain_own:.2f} | {ones[0].loss:.4f} | {median(one.first for one in ones):.1f} s |"
        )


def _in_a_process(words: Sequence[str]) -> Told:
    """Run this module once more and read what it tells."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return Told(**json.loads(done.stdout.splitlines()[-1]))


def _options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="of all ways in turns")
    parser.add_argument("--steps", type=int, default=4, help="of each run; the first is not timed")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default=dtype_name(fast_dtype()))
    parser.add_argument("--pairs", type=Path, help="a folder of pairs; the bundled photographs if not given")
    parser.add_argument("--way", choices=[*WAYS], help="run this one alone, and print JSON")
    parser.add_argument("--out", type=Path, help="of that run")
    return parser.parse_args()


def _passed_on(options: argparse.Namespace) -> list[str]:
    """Return what every process is told."""
    names = ("steps", "batch", "rank", "dtype")
    return [word for name in names for word in (f"--{name}", str(getattr(options, name)))]


def _config(options: argparse.Namespace) -> TrainConfig:
    """Return what all ways have in common."""
    return TrainConfig(
        task="deblur", pairs=options.pairs, out=options.out, cache=options.out / "cache", steps=options.steps,
        batch=options.batch, rank=options.rank, dtype=options.dtype, caption_dropout=0.0, save_every=10**6,
    )  # fmt: skip


def _peak() -> int:
    """Return the most memory that this process ever held, in bytes."""
    return _status("VmHWM")


def _held() -> int:
    """Return the memory that this process holds, in bytes."""
    return _status("VmRSS")


def _status(name: str) -> int:
    """Return an entry of the kernel's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
