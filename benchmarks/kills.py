"""Kill training with SIGKILL at random moments, go on, and compare the adapter with the uninterrupted run's.

    python -m benchmarks.kills                   # 20 kills, a random model of 0.5 M parameters
    python -m benchmarks.kills --kills 50 --seed 1

Each row is one run of `anyrefill train` in a process of its own, with an empty cache: killed once, at a random moment
while it encodes, trains, validates or saves, and started again until it ends. The last column compares every tensor of
the adapter bit for bit. The processes are forked from one that has imported torch already, so a row takes seconds.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import perf_counter, sleep

import torch
from safetensors.torch import load_file
from tests.panels import random_panel
from tests.tiny_checkpoint import save_tiny_checkpoint

from anyrefill import cli
from anyrefill.pairs import Pair, write_pairs

STEPS, PAIRS = 30, 6

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["anyrefill.train"])


@dataclass(frozen=True, kw_only=True)
class Killed:
    """One killed and resumed run.

    Attributes:
        after: seconds from the start to the kill.
        step: what the log said that was done by then.
        checkpoint: what the newest checkpoint held.
        equal: whether the final adapter is the uninterrupted run's, bit for bit.
        differs: the first step whose logged loss or gradient norm is another; 0 for none.
    """

    after: float
    step: int
    checkpoint: int
    equal: bool
    differs: int


def main() -> None:
    """Print a table and fail if one run differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| kill | after | steps logged | newest checkpoint | adapter bit-equal |\n|---|---|---|---|---|")
    equal = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, killed in enumerate(kills(Path(folder), options.kills, options.seed), start=1):
            equal += killed.equal
            print(
                f"| {number} | {killed.after:.2f} s | {killed.step} of {STEPS} | {killed.checkpoint or 'none'} "
                f"| {'yes' if killed.equal else f'NO, from step {killed.differs}'} |",
                flush=True,
            )
    print(f"\n{equal} of {options.kills} equal")
    sys.exit(equal != options.kills)


def kills(folder: Path, count: int, seed: int) -> Iterator[Killed]:
    """Train once whole, then yield that many killed and resumed runs."""
    prepare(folder)
    whole = finished(folder, "whole")
    for number in range(count):
        yield kill_once(folder, f"run{number}", random.Random(1000 * seed + number), whole)


def kill_once(folder: Path, name: str, chance: random.Random, whole: dict[str, torch.Tensor]) -> Killed:
    """Start a run, kill it, look at what it left, and finish it."""
    began, process, place = perf_counter(), start(folder, name), chance.uniform(-2, STEPS - 1)
    while process.is_alive() and progress(folder, name) < place:
        sleep(0.002)
    sleep(chance.uniform(0, 0.05))
    process.kill()
    process.join()
    took = perf_counter() - began
    states = sorted((folder / name / "checkpoints").glob("state-*.pt"))
    step, checkpoint = max(0, progress(folder, name)), int(states[-1].stem[6:]) if states else 0
    again = finished(folder, name)
    equal = whole.keys() == again.keys() and all(torch.equal(whole[key], again[key]) for key in whole)
    return Killed(after=took, step=step, checkpoint=checkpoint, equal=equal, differs=first_difference(folder, name))


def first_difference(folder: Path, name: str) -> int:
    """Return the first step at which a run's log tells another story than the uninterrupted run's; 0 for none."""
    logs = [(folder / run / "log.jsonl").read_text(encoding="utf-8").splitlines() for run in ("whole", name)]
    for step, lines in enumerate(zip(*logs, strict=True), start=1):
        one, other = (json.loads(line) for line in lines)
        if (one["loss"], one["norm"]) != (other["loss"], other["norm"]):
            return step
    return 0


def progress(folder: Path, name: str) -> int:
    """Return how many steps a run's log tells of; -2 before it encodes, -1 while it does."""
    if not (folder / f"{name}-cache").exists():
        return -2
    log = folder / name / "log.jsonl"
    return len(log.read_text(encoding="utf-8").splitlines()) if log.exists() else -1


def prepare(folder: Path) -> None:
    """Write a tiny base and a few pairs."""
    save_tiny_checkpoint(folder / "base")
    write_pairs(
        (
            Pair(reference=random_panel(64, 64, seed), target=-random_panel(64, 64, seed), caption=f"number {seed}")
            for seed in range(PAIRS)
        ),
        folder / "pairs",
    )


def start(folder: Path, name: str, more: str = "", environment: Mapping[str, str] | None = None) -> BaseProcess:
    """Start `anyrefill train` in a process of its own, with more options and another environment."""
    words = (
        f"train deblur {folder}/pairs --out {folder}/{name} --cache {folder}/{name}-cache --backbone {folder}/base "
        f"--steps {STEPS} --batch 4 --rank 4 --save-every 3 --warmup 3 --ema 0.9 --validate 2 --validate-every 7 "
        f"--samples 1 --dtype float32 {more}"
    )
    process = SERVER.Process(target=quietly, args=(words.split(), folder / f"{name}.txt", dict(environment or {})))
    process.start()
    return process


def quietly(words: list[str], path: Path, environment: Mapping[str, str]) -> None:
    """Run a command on one thread, what it says in a file."""
    torch.set_num_threads(1)
    os.environ.update(environment)
    with path.open("w", encoding="utf-8") as file, contextlib.redirect_stderr(file), contextlib.redirect_stdout(file):
        cli.main(words)


def finished(folder: Path, name: str, more: str = "") -> dict[str, torch.Tensor]:
    """Run to the end and return the adapter."""
    process = start(folder, name, more)
    process.join()
    if process.exitcode:
        raise RuntimeError((folder / f"{name}.txt").read_text(encoding="utf-8"))
    return load_file(folder / name / "adapter.safetensors")


if __name__ == "__main__":
    main()
