"""Train adapters on fewer and fewer pairs and score them: arXiv 2502.11158, figure 15, for the embedded backbone.

    python -m recipes.efficiency                             # every task at 10, 50, 100 and all pairs: 5 hours
    python -m recipes.efficiency --task age --steps 500

Every adapter begins from nothing, with its task's own setting (recipes/micro/adapters.py), and takes the same steps
whatever the number of pairs, so only the pairs differ. It is painted with as the shipped one is. Runs go on where they
were stopped; scores go to docs/results/efficiency.json as they come, from where recipes.cards plots them, and a score
of as many steps that is there already is left.
"""

import argparse
import json
from pathlib import Path

import torch

from anyrefill import tasks
from anyrefill.errors import UserError
from anyrefill.evaluate import evaluate, held_out_pairs
from anyrefill.evaluate.goals import GOALS, RAW
from anyrefill.evaluate.report import Score
from anyrefill.files import write_text
from anyrefill.pairs import PairFolder
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
    """Add one score to the file, in the place of an earlier one of the same task and pairs."""
    entries = [old for old in kept() if (old["task"], old["pairs"]) != (entry["task"], entry["pairs"])]
    write_text(SCORES, "[" + ",\n".join(json.dumps(one) for one in [*entries, entry]) + "]\n")


def main() -> None:
    """Train and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=list(SETTINGS), action="append")
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 50, 100], help="beside all")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--limit", type=int, default=64, help="held-out pairs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.task or SETTINGS:
        folder = pairs_of(name)
        everything = len(PairFolder(folder))
        known = {(old["task"], old["pairs"]) for old in kept() if old["steps"] == args.steps}
        counts = {min(count, everything) for count in [*args.counts, everything]}
        for count in sorted(count for count in counts if (name, count) not in known):
            pairs = folder if count == everything else subset(folder, count)
            adapter = trained(name, pairs, f"{name}-{count}-pairs-{args.steps}-steps", args.steps)
            score = scored(name, adapter, args.limit)
            print(f"{name}, {count} pairs, {args.steps} steps: {score.metric} {score}", flush=True)
            keep(
                {
                    "task": name, "pairs": count, "steps": args.steps, "metric": score.metric,
                    "mean": score.mean, "low": score.low, "high": score.high,
                }
            )  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from error
