"""In how many Euler steps should each shipped adapter paint? Scores in 1, 2, 4, 8 and 20, and docs/tasks/few-steps.md.

    python -m recipes.few_steps                          # what is not measured yet; about 1 minute a task on one core
    python -m recipes.few_steps --task deblur age        # these again

One step from pure noise is the mean of all answers that the model takes for possible: the nearest to the truth on
average, and soft. Many steps are one answer among them: sharp, and maybe another than the true one. Measured on pairs
that docs/results.md does not use: the 65th to the 96th of the held-out folders. The choice stands in
recipes/micro/adapters.py.
"""

import argparse
import json

import torch

from anyrefill.backbone.embedded import shipped
from anyrefill.backbone.precision import fast_dtype
from anyrefill.evaluate import Score, evaluating, held_out_pairs
from anyrefill.evaluate.report import ARROWS, table
from anyrefill.files import write_text
from anyrefill.painter import load
from recipes.cards import DOCS
from recipes.micro.adapters import SETTINGS
from recipes.results import ended

SCORES = DOCS / "results" / "few-steps.json"
COUNTS = (1, 2, 4, 8, 20)
FIRST, LAST = 64, 96
HEAD = """# How many steps

Means of the painted pictures' scores on {pairs} held-out pairs that [the results](../results.md) do not use, by the
number of Euler steps. One step gives the mean of all answers that seem possible: near the truth, and soft; many give
one answer among them. An arrow tells which way is better; the last column is what the shipped adapter asks for, which
`anyrefill paint --steps N` overrules. Made by `python -m recipes.few_steps`.
"""


def measure(name: str) -> dict[str, dict[str, float]]:
    """Return the mean of each metric for each number of steps."""
    painter = load(name, dtype=fast_dtype())
    pairs = held_out_pairs(painter.task, painter.size, limit=LAST)[FIRST:]
    found: dict[str, dict[str, float]] = {}
    for count in COUNTS:
        report = ended(evaluating(painter, pairs, baselines=False, steps=count), f"{name}, {count}")
        found[str(count)] = {heading(score): score.mean for score in report.rows[0].scores}
    return found


def known() -> dict[str, dict[str, dict[str, float]]]:
    """Return what was measured, by task and number of steps."""
    return json.loads(SCORES.read_text()) if SCORES.is_file() else {}


def heading(score: Score) -> str:
    """Return a metric's name, and which way is better."""
    return f"{score.metric} {ARROWS[score.aim]}"


def page(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return docs/tasks/few-steps.md."""
    rows = [["task", "score", *(f"{count}" for count in COUNTS), "asked for"]]
    for name, by_count in found.items():
        for metric in by_count[str(COUNTS[0])]:
            means = [f"{by_count[str(count)][metric]:.3g}" for count in COUNTS]
            rows.append([name, metric, *means, str(SETTINGS[name].paint or COUNTS[-1])])
    return f"{HEAD.format(pairs=LAST - FIRST)}\n{table(rows)}\n"


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", nargs="*", choices=list(SETTINGS), help="measure these, even again")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.task or [name for name in SETTINGS if name in shipped() and name not in known()]:
        found = measure(name)
        write_text(SCORES, json.dumps(known() | {name: found}, indent=1) + "\n")
        print(name, json.dumps(found), flush=True)
    found = known()
    write_text(DOCS / "tasks" / "few-steps.md", page({name: found[name] for name in SETTINGS if name in found}))


if __name__ == "__main__":
    main()
