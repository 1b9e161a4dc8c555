"""Let every two editing adapters act at once and see what each task's own score loses: arXiv 2502.11158, figure 10.

    python -m recipes.mixing                             # 16 held-out pairs each, 12 s a pair of tasks on one core

Each task is asked for by its own prompt on its own held-out pairs, alone and with each other adapter merged in, both
with the 0.71 that they have where no weight is said. Scores go to docs/results/mixing.json, the tables to
docs/tasks/mixing.md.
"""

import argparse
import json
import math
from collections.abc import Sequence

import torch
from tqdm import tqdm

from anyrefill import tasks
from anyrefill.backbone.embedded import shipped
from anyrefill.backbone.precision import fast_dtype
from anyrefill.evaluate import evaluate, held_out_pairs, heldout
from anyrefill.evaluate.report import Report, Score, table
from anyrefill.files import write_text
from anyrefill.judges import identity_dlib
from anyrefill.painter import load
from recipes.stored import DOCS, stored

EDITING = ("deblur", "super-resolution", "age", "gender", "relight", "ref-inpainting")
SCORES = DOCS / "results" / "mixing.json"
ALONE = "alone"


def main() -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--limit", type=int, default=16)
    parser.add_argument("--redo", action="store_true")
    parser.add_argument("--reuse", action="store_true", help="measure nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    entries = [] if args.redo else known()
    there = [name for name in EDITING if name in shipped() and heldout(name).is_dir()]
    wanted = [(name, other) for name in there for other in (ALONE, *there) if other != name]
    done = {(entry["task"], entry["other"]) for entry in entries}
    for name, other in () if args.reuse else tqdm([one for one in wanted if one not in done], unit="mix"):
        entries.append(measured(name, other, args.limit))
        write_text(SCORES, "[" + ",\n".join(json.dumps(entry) for entry in entries) + "]\n")
    write_text(DOCS / "tasks" / "mixing.md", page(entries))


def known() -> list[dict[str, object]]:
    """Return what was measured."""
    return stored(SCORES, [])


def measured(name: str, other: str, limit: int) -> dict[str, object]:
    """Return what one task scores with another adapter at work."""
    painter = load(name, adapter=name if other == ALONE else f"{name}+{other}", dtype=fast_dtype())
    pairs = held_out_pairs(painter.task, painter.size, limit=limit)
    report = evaluate(painter, pairs, baselines=False)
    score = report.score("painted", tasks.get(name).metrics[0].__name__)
    return {
        "task": name, "other": other, "pairs": len(pairs), "metric": score.metric, "aim": score.aim,
        "mean": score.mean, "low": score.low, "high": score.high,
        "identity": identity(report, "painted"), "true_identity": identity(report, "the true target"),
    }  # fmt: skip


def identity(report: Report, row: str) -> float | None:
    """Return how far people's faces are from the references', on the mean; None where a task has no people."""
    try:
        mean = report.score(row, identity_dlib.__name__).mean
    except KeyError:
        return None
    return None if math.isnan(mean) else mean


def page(entries: Sequence[dict[str, object]]) -> str:
    """Return docs/tasks/mixing.md."""
    names = list(dict.fromkeys(str(entry["task"]) for entry in entries))
    by = {(str(entry["task"]), str(entry["other"])): entry for entry in entries}

    def cell(name: str, other: str) -> str:
        entry = by.get((name, other))
        return "" if entry is None else _words(entry)

    rows = [["own score of", ALONE, *(f"with {name}" for name in names)]]
    rows += [[_head(by[name, ALONE]), cell(name, ALONE), *(cell(name, other) for other in names)] for name in names]
    counts = ", ".join(sorted({str(entry["pairs"]) for entry in entries})) or "not measured yet"
    return (
        "# Adapters together\n\n`anyrefill paint age:0.8+gender ...` lets several adapters act in one picture, without "
        "further training. Below each editing task is asked for by its own prompt on its own held-out pairs, alone and "
        "with another adapter merged in, both with the 0.71 that they have where no weight is said; means with 95 % "
        "intervals. *Identity* is how far the "
        "painted face is from the reference's (`identity_dlib`: 0.6 between strangers on photographs), and in brackets "
        "how far the true target's is, where the pairs show people. "
        f"Held-out pairs of each: {counts}. Regenerate with `python -m recipes.mixing`.\n\n{table(rows)}\n"
    )


def _head(entry: dict[str, object]) -> str:
    """Return what a row is about."""
    return f"{entry['task']}, {entry['metric']} {'↑' if entry['aim'] == 'higher' else '↓'}"


def _words(entry: dict[str, object]) -> str:
    """Return one cell."""
    mean, low, high = (float(str(entry[key])) for key in ("mean", "low", "high"))
    score = str(Score(metric="", aim="", mean=mean, low=low, high=high))
    found, true = entry["identity"], entry["true_identity"]
    if found is None or true is None:
        return score
    return f"{score}, identity {float(str(found)):.2f} ({float(str(true)):.2f})"


if __name__ == "__main__":
    main()
