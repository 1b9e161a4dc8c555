"""Train adapters on fewer and fewer pairs and score them: arXiv 2502.11158, figure 15, for the embedded backbone.

    python -m recipes.efficiency                             # three tasks at 10, 50, 100 and all pairs: 1.5 hours
    python -m recipes.efficiency --task age --steps 500

The steps are the same for every number of pairs, so only the pairs differ. Runs go on where they were stopped; scores
go to docs/results/efficiency.json as they come, from where recipes.cards plots them.
"""

import argparse
import json
from pathlib import Path

import torch

from anyrefill import tasks
from anyrefill.errors import UserError
from anyrefill.evaluate import evaluate, held_out_pairs
from anyrefill.evaluate.goals import GOALS
from anyrefill.evaluate.report import Score
from anyrefill.files import whole_folder, write_text
from anyrefill.painter import load
from anyrefill.pairs import METADATA, PairFolder
from anyrefill.train import TrainConfig, train
from recipes.cards import DOCS
from recipes.micro.adapters import SETTINGS
from recipes.world.fetch import WORLD

TASKS = ("deblur", "image-to-segment", "canny-to-image")
SCORES = DOCS / "results" / "efficiency.json"


def subset(folder: Path, count: int) -> Path:
    """Return a folder of the first pairs of another one, whose pictures it only points to."""
    out = folder.with_name(f"{folder.name}-first-{count}")
    if not out.exists():
        with whole_folder(out, "pairs") as part:
            part.mkdir(parents=True)
            lines = (folder / METADATA).read_text(encoding="utf-8").split("\n")[:count]
            (part / METADATA).write_text("\n".join(lines) + "\n", encoding="utf-8")
            for pictures in folder.iterdir():
                if pictures.is_dir():
                    (part / pictures.name).symlink_to(pictures.resolve(), target_is_directory=True)
    return out


def trained(name: str, pairs: Path, count: int, steps: int) -> Path:
    """Return the folder of a finished run on that many pairs."""
    setting, out = SETTINGS[name], WORLD.parent / "runs" / f"{name}-{count}-pairs-{steps}-steps"
    config = TrainConfig(
        task=name, pairs=pairs, out=out, steps=steps, lr=1.5e-3, targets="all", logit_mean=setting.mean,
        logit_std=setting.std, weighing="reach", compile=True,
    )  # fmt: skip
    if not (out / "adapter.safetensors").is_file():
        for step in train(config):
            if step.step % 25 == 0:
                print(f"{name}, {count} pairs: {step.step}/{step.steps} loss {step.loss:.4f}", flush=True)
    return out


def scored(name: str, adapter: Path, limit: int) -> Score:
    """Return the score that the task's first goal is about, on held-out pairs."""
    painter = load(name, adapter=adapter, dtype=torch.bfloat16)
    report = evaluate(painter, held_out_pairs(painter.task, painter.size, limit=limit), baselines=False)
    return report.score("painted", first_metric(name))


def first_metric(name: str) -> str:
    """Return the metric of a task's first goal, else its first metric."""
    return next((goal.metric for goal in GOALS if goal.task == name), tasks.get(name).metrics[0].__name__)


def keep(entry: dict[str, object]) -> None:
    """Add one score to the file, in the place of an earlier one of the same task and pairs."""
    entries = json.loads(SCORES.read_text()) if SCORES.is_file() else []
    entries = [old for old in entries if (old["task"], old["pairs"]) != (entry["task"], entry["pairs"])]
    write_text(SCORES, "[" + ",\n".join(json.dumps(one) for one in [*entries, entry]) + "]\n")


def main() -> None:
    """Train and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=list(SETTINGS), action="append")
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 50, 100], help="beside all")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--limit", type=int, default=64, help="held-out pairs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.task or TASKS:
        folder = WORLD.parent / "pairs" / f"{name}-train"
        everything = len(PairFolder(folder))
        for count in sorted({min(count, everything) for count in [*args.counts, everything]}):
            pairs = folder if count == everything else subset(folder, count)
            score = scored(name, trained(name, pairs, count, args.steps), args.limit)
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
