"""Rebuild the embedded backbone from nothing: world, weights, adapters, results.

    python -m recipes.micro.everything --dry-run         # what would be run
    python -m recipes.micro.everything                   # over src/anyrefill/assets/micro and docs/results
    python -m recipes.micro.everything --first 18        # go on with this command, after one that failed or was stopped

Nobody has run it from end to end: what ships was made in parts over fourteen sessions (docs/log.md), whose times these
are, each with other work beside it. X is two cores of an Intel Xeon with AMX, E two of an AMD EPYC with AVX2, where a
training step takes 2 to 3 times as long, Z two of an AMD EPYC with bfloat16.

    world and pairs       35 minutes on E, with 139 people and 80 rooms; 17 minutes for 107 people more; all of it on Z
                          in 39 minutes, half of it on one core
    text encoders         10 minutes of one core of X, for half of the steps
    decoder               46 minutes of one core of X, then 1 hour on E: 1.4 hours of two cores
    transformer           1, 1.4 and 0.72 hours on X: 157,000 canvases; 1.1 hours on Z with features of a ViT beside:
                          88,000 more
    adapters              2.9 hours of one core, of X or E, for the last run of each, most of which went on from earlier
                          ones (docs/results/training.json)
    results               about 2.5 minutes a task on one core

Packages, renders, pairs and finished runs of adapters that are there stay; decoder and transformer go on, for as many
hours again; a bank of recipes.world.deep and runs of adapters on another base are not written over, which stops it; all
else is made again.
"""

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from recipes.micro.pack import ASSETS
from recipes.micro.transformer import BANKS, HOME
from recipes.world.fetch import RENDERER

ROOT = Path(__file__).parents[2]


def commands(hours_decoder: float, hours_transformer: float, hours_aligned: float = 1.1) -> list[list[str]]:
    """Return every command, in order."""
    more = BANKS / "subjects-pretrain"
    banks = shlex.join([str(BANKS / "train"), str(more)])
    beside = f"--align 0.5 --start-from {shlex.quote(str(ASSETS / 'transformer'))} --bank {banks}"
    aligned = shlex.quote(str(HOME / "transformer-aligned"))
    longer = f"--hours {hours_aligned:g} --decay {hours_aligned / 2:g}"
    own = shlex.quote(sys.executable)
    python, two = f"{own} -m recipes", f"{own} -m torch.distributed.run --nproc-per-node 2 -m recipes"
    renderer = f"{shlex.quote(str(RENDERER / 'bin' / 'python'))} -m recipes.world.render"
    lines = f"""
        {python}.world.fetch --renderer
        {python}.weights
        {python}.world.scenes --split train --count 32000 --seed 0
        {python}.world.scenes --split test --count 1000 --seed 1
        {python}.world.scenes --split train --count 16000 --seed 2 --subjects
        {python}.world.scenes --split test --count 500 --seed 3 --subjects
        {renderer} people --split train --count 360
        {renderer} people --split test --count 18
        {renderer} rooms --split train --count 60
        {renderer} rooms --split test --count 20
        {python}.world.deep --count 4500
        {python}.heldout --split test
        {python}.heldout --split train
        {python}.micro.pca
        {python}.micro.text --steps 3000
        {two}.micro.autoencoder --hours {hours_decoder:g} --lr 1e-3
        {two}.micro.transformer --hours {hours_transformer:g} --decay {0.3 * hours_transformer:g} --batch 40
        {python}.micro.pack
        {python}.world.scenes --split train --count 20000 --seed 4 --subjects --out {shlex.quote(str(more))}
        {two}.micro.transformer {longer} --batch 40 {beside} --out {aligned}
        {python}.micro.pack --transformer {aligned}
        {python}.micro.adapters
        {python}.results --redo all
        {python}.credits
    """
    return [shlex.split(line) for line in lines.strip().splitlines()]


def run(every: Sequence[Sequence[str]], first: int = 1, *, dry: bool = False) -> None:
    """Print and run commands from the one of this number on; the first that fails ends the program in a sentence."""
    for number, command in enumerate(every, start=1):
        if number < first:
            continue
        print(f"[{number}/{len(every)}] {shlex.join(command)}", flush=True)
        if not dry:
            began = time.monotonic()
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
            print(f"[{number}/{len(every)}] took {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
            if code:
                sys.exit(f"Command {number} ended with code {code}; once that is mended go on with --first {number}.")


def main() -> None:
    """Run everything, or say what that is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hours-autoencoder", type=float, default=1.4, help="that its decoder trains")
    parser.add_argument("--hours-transformer", type=float, default=3.1)
    parser.add_argument("--hours-aligned", type=float, default=1.1, help="that it goes on with a ViT's features beside")
    parser.add_argument("--first", type=int, default=1, metavar="N", help="begin with the command of this number")
    parser.add_argument("--dry-run", action="store_true", help="only print the commands")
    args = parser.parse_args()
    run(commands(args.hours_autoencoder, args.hours_transformer, args.hours_aligned), args.first, dry=args.dry_run)


if __name__ == "__main__":
    main()
