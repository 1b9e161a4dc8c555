"""Let every two editing adapters act at once and see what each task's own score loses: arXiv 2502.11158, figure 10.

    python -m recipes.mixing                             # 16 held-out pairs each, 12 s a pair of tasks on one core
    python -m recipes.mixing --redo age                  # again, where age takes part

Each task is asked for by its own prompt on its own held-out pairs, alone and with each other adapter merged in, both
with the weight that they have where none is said. Scores go to docs/results/mixing.json. Two edits that one picture
shows at once are asked for together, one on the other's painting and both at once under several weights, on pairs that
docs/results.md does not use (the last of the folder): docs/results/mixing-weights.json. The tables go to
docs/tasks/mixing.md.
"""

import argparse
import json
import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from statistics import fmean

import torch
from tqdm import tqdm

from anyrefill import tasks
from anyrefill.backbone.embedded import shipped
from anyrefill.backbone.precision import fast_dtype
from anyrefill.evaluate import evaluate, held_out_pairs, heldout
from anyrefill.evaluate.report import Report, Score, table
from anyrefill.files import write_text
from anyrefill.judges import identity_dlib
from anyrefill.metrics import rmse
from anyrefill.painter import load
from recipes.stored import DOCS, stored

EDITING = ("deblur", "super-resolution", "age", "gender", "relight", "ref-inpainting")
SCORES = DOCS / "results" / "mixing.json"
TOGETHER = ("age+gender", "age+relight", "gender+relight")
WEIGHTS = (1.0, 0.8, 0.71, 0.65, 0.6, 0.55, 0.5)
WEIGHED = DOCS / "results" / "mixing-weights.json"
ALONE = "alone"
IN_TURN = "in turn"


def main() -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--limit", type=int, default=16)
    parser.add_argument("--last", type=int, default=64, help="pairs of a folder that show both edits")
    parser.add_argument(
        "--redo", nargs="*", metavar="TASK", help="measure again what these take part in, or everything"
    )
    parser.add_argument("--reuse", action="store_true", help="measure nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    entries = [entry for entry in known() if not redone({entry["task"], entry["other"]}, args.redo)]
    there = [name for name in EDITING if name in shipped() and heldout(name).is_dir()]
    wanted = [(name, other) for name in there for other in (ALONE, *there) if other != name]
    done = {(entry["task"], entry["other"]) for entry in entries}
    for name, other in () if args.reuse else tqdm([one for one in wanted if one not in done], unit="mix"):
        entries.append(measured(name, other, args.limit))
        keep(SCORES, entries)
    both = [entry for entry in known(WEIGHED) if not redone(set(str(entry["mix"]).split("+")), args.redo)]
    shown = [mix for mix in TOGETHER if set(mix.split("+")) <= set(shipped()) and heldout(mix).is_dir()]
    measured_already = {(entry["mix"], entry["weight"]) for entry in both}
    left = [one for one in product(shown, (IN_TURN, *WEIGHTS)) if one not in measured_already]
    for mix, weight in () if args.reuse else tqdm(left, unit="weight"):
        both.append(weighed(mix, weight, args.last))
        keep(WEIGHED, both)
    write_text(DOCS / "tasks" / "mixing.md", page(entries, both))


def redone(names: set[object], redo: Sequence[str] | None) -> bool:
    """Return whether what some tasks take part in is to be measured again; no name stands for all."""
    return redo is not None and (not redo or not names.isdisjoint(redo))


def known(path: Path = SCORES) -> list[dict[str, object]]:
    """Return what was measured."""
    return stored(path, [])


def keep(path: Path, entries: Sequence[dict[str, object]]) -> None:
    """Write what was measured, an entry a line."""
    write_text(path, "[" + ",\n".join(json.dumps(entry) for entry in entries) + "]\n")


def weighed(mix: str, weight: float | str, last: int) -> dict[str, object]:
    """Return what two edits leave of the error of copying, in turn or at once, both adapters of one weight."""
    if isinstance(weight, str):
        painter = load(mix, dtype=fast_dtype())
    else:
        adapters = "+".join(f"{name}:{weight:g}" for name in mix.split("+"))
        painter = load(mix, adapter=adapters, dtype=fast_dtype(), together="at-once")
    pairs = held_out_pairs(painter.task, painter.size)[-last:]
    painted = painter.batch(pairs, batch_size=16)
    left = fmean(rmse(panel, pair.target) for panel, pair in zip(painted, pairs, strict=True))
    copied = fmean(rmse(pair.reference, pair.target) for pair in pairs)
    return {"mix": mix, "weight": weight, "pairs": len(pairs), "rmse": left, "copied": copied}


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


def page(entries: Sequence[dict[str, object]], both: Sequence[dict[str, object]] = ()) -> str:
    """Return docs/tasks/mixing.md."""
    names = sorted({str(entry["task"]) for entry in entries}, key=lambda name: (*EDITING, name).index(name))
    by = {(str(entry["task"]), str(entry["other"])): entry for entry in entries}

    def cell(name: str, other: str) -> str:
        entry = by.get((name, other))
        return "" if entry is None else _words(entry)

    rows = [["own score of", ALONE, *(f"with {name}" for name in names)]]
    rows += [[_head(by[name, ALONE]), cell(name, ALONE), *(cell(name, other) for other in names)] for name in names]
    counts = ", ".join(sorted({str(entry["pairs"]) for entry in entries})) or "not measured yet"
    return (
        "# Adapters together\n\n`anyrefill paint age:0.8+gender ...` lets several adapters act in one picture, without "
        "further training: in turn, each on what the one before it painted, or with `--together at-once` in one pass, "
        "their changes weighed and added. In turn leaves far less error ([below](#both-edits-of-one-picture)); at once "
        "is the paper's way and takes half the calls of the backbone.\n\nWhat each task loses at once: it is asked for "
        "by its own prompt on its own held-out pairs, alone and with another adapter merged in, both with the weight "
        "that they have where none is said; means with 95 % intervals. *Identity* is how far the painted face is from "
        "the reference's (`identity_dlib`: 0.6 between strangers on photographs), and in brackets "
        "how far the true target's is, where the pairs show people. "
        f"Held-out pairs of each: {counts}. Regenerate with `python -m recipes.mixing`.\n\n{table(rows)}\n{_both(both)}"
    )


def _both(entries: Sequence[dict[str, object]]) -> str:
    """Return the section on edits that one picture shows together, if there is anything to tell."""
    if not entries:
        return ""
    by = {(entry["mix"], entry["weight"]): entry for entry in entries}
    mixes, weights = (list(dict.fromkeys(entry[key] for entry in entries)) for key in ("mix", "weight"))
    heads = [str(weight) if weight == IN_TURN else f"at once, {weight} each" for weight in weights]
    rows = [["both edits", "pairs", *heads]]
    for mix in mixes:
        some = [by.get((mix, weight)) for weight in weights]
        counts = sorted({str(entry["pairs"]) for entry in some if entry})
        rows.append([str(mix), ", ".join(counts), *("" if entry is None else _share(entry) for entry in some)])
    return (
        "\n## Both edits of one picture\n\nThe same person at another age and of the other gender, or one of these and "
        "in another light: RMSE to the true picture in percent of that of copying the reference, in turn or at once by "
        "the weight of each adapter, on held-out pairs that [the results](../results.md) do not use.\n\n"
        f"{table(rows)}\n"
    )


def _share(entry: dict[str, object]) -> str:
    """Return what is left of the error of copying."""
    return f"{float(str(entry['rmse'])) / float(str(entry['copied'])):.0%}"


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
