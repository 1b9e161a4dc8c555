"""Train adapters on fewer and fewer pairs and score them: arXiv 2502.11158, figure 15, for the embedded backbone.

    python -m recipes.efficiency                             # every task at 10, 50, 100 and all pairs
    python -m recipes.efficiency --task age --steps 500

Every adapter begins from nothing, with its task's own setting (recipes/micro/adapters.py), and takes the same steps
whatever the number of pairs, so only the pairs differ. It is painted with as the shipped one is. Runs go on where they
were stopped; scores go to docs/results/efficiency.json as they come, from where recipes.cards plots them, and a score
of as many steps on the same base that is there already is left.
"""

import argparse
import json
from pathlib import Path

import torch

from anyrefill import tasks
from anyrefill.backbone.embedded import adapter_of
from anyrefill.errors import UserError
from anyrefill.evaluate import evaluate, held_out_pairs
from anyrefill.evaluate.goals import GOALS, RAW
from anyrefill.evaluate.report import Score
from anyrefill.files import write_text
from anyrefill.pairs import PairFolder
from recipes.cards import base_of
from recipes.micro.adapters import SETTINGS, painter_of, pairs_of, subset, trained
from recipes.stored import DOCS, stored

SCORES = DOCS / "results" / "efficiency.json"


def scored(name: str, adapter: Path, limit: int) -> Score:
    """Return the score that the task's first goal is about, on held-out pairs, painted as the shipped adapter is."""
    painter = painter_of(name, adapter)
    report = evaluate(painter, held_out_pairs(painter.task, painter.size, limit=limit), baselines=False)
    return report.score("painted", first_metric(name))


def first_metric(name: str) -> str:
    """Return the metric of a task's first goal that what is handed out can miss, else its first metric."""
    goals = (goal.metric for goal in GOALS if goal.task == name and goal.row != RAW and goal.kind != "within")
    return next(goals, tasks.get(name).metrics[0].__name__)


def kept() -> list[dict[str, object]]:
    """Return the scores on file."""
    return stored(SCORES, [])


def keep(entry: dict[str, object]) -> None:
    """Add one score to the file, in the place of an earlier one of the same task and pairs, and of other bases'."""
    rest = [
        old
        for old in kept()
        if old["task"] != entry["task"] or (old.get("base") == entry["base"] and old["pairs"] != entry["pairs"])
    ]
    write_text(SCORES, "[" + ",\n".join(json.dumps(one) for one in [*rest, entry]) + "]\n")


def main() -> None:
    """Train and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=list(SETTINGS), action="append")
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 50, 100], help="beside all")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--most", type=int, default=2000, help="pairs that count as all; encoding more takes minutes")
    parser.add_argument("--limit", type=int, default=64, help="held-out pairs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.task or SETTINGS:
        folder = pairs_of(name)
        everything = min(len(PairFolder(folder)), args.most)
        base = base_of(adapter_of(name))
        known = {(old["task"], old["pairs"]) for old in kept() if (old["steps"], old.get("base")) == (args.steps, base)}
        counts = {min(count, everything) for count in [*args.counts, everything]}
        for count in sorted(count for count in counts if (name, count) not in known):
            adapter = trained(name, subset(folder, count), f"{name}-{count}-pairs-{args.steps}-steps", args.steps)
            score = scored(name, adapter, args.limit)
            print(f"{name}, {count} pairs, {args.steps} steps: {score.metric} {score}", flush=True)
            keep(
                {
                    "task": name, "pairs": count, "steps": args.steps, "base": base, "metric": score.metric,
                    "mean": score.mean, "low": score.low, "high": score.high,
                }
            )  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from error
