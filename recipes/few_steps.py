"""In how many Euler steps, from how much noise and how far guided should each shipped adapter paint?

    python -m recipes.few_steps                          # what is not measured, or was with other weights than ship
                                                         # 1 to 3 minutes a task on one core, 5 without bfloat16
    python -m recipes.few_steps --task deblur age        # these again

One step from pure noise is the mean of all answers that the model takes for possible: the nearest to the truth on
average, and soft. Many steps are one answer among them: sharp, and maybe another than the true one. At temperature 0
the noise is its own mean, zero, so that no seed shows in the picture. Measured on pairs
that docs/results.md does not use: the 65th to the 96th of the held-out folders. The choice stands in
recipes/micro/adapters.py.
"""

import argparse
import json
from dataclasses import replace

import torch

from anyrefill.backbone.embedded import shipped
from anyrefill.backbone.precision import fast_dtype
from anyrefill.evaluate import evaluating, held_out_pairs
from anyrefill.evaluate.report import table
from anyrefill.files import write_text
from anyrefill.painter import STEPS, load
from recipes.micro.adapters import SETTINGS, Setting
from recipes.results import ended, is_of_others, record, weights
from recipes.stored import DOCS, stored

SCORES = DOCS / "results" / "few-steps.json"
MEASURED = DOCS / "results" / "few-steps-measured.json"
"""Which weights each task's scores are of."""
EVERY = {
    "1": {"steps": 1},
    "2": {"steps": 2},
    "4": {"steps": 4},
    "8": {"steps": 8},
    "20": {"steps": 20},
    "1, no noise": {"steps": 1, "temperature": 0.0},
    "2, no noise": {"steps": 2, "temperature": 0.0},
    "4, no noise": {"steps": 4, "temperature": 0.0},
    "10, guided 1.5": {"steps": 10, "reference_guidance": 1.5},
    "10, guided 2": {"steps": 10, "reference_guidance": 2.0},
    "10, guided 3": {"steps": 10, "reference_guidance": 3.0},
}
"""How each column is painted."""
PLAIN = {"temperature": 1.0, "reference_guidance": 1.0}
FIRST, LAST = 64, 96
HEAD = """# How many steps

Means of the scores of what is handed out, on {pairs} held-out pairs that [the results](../results.md) do not use, by
the number of Euler steps. One step gives the mean of all answers that seem possible: near the truth, and soft; many
give one answer among them. Without noise (`--temperature 0`) no seed shows in the picture. Guided by 2
(`--reference-guidance 2`) the reference counts for twice what it did in training, at two backbone calls a step. An
arrow tells which way is better; the last column is what the shipped adapter asks for, which `anyrefill paint --steps N
--temperature T --reference-guidance W` overrules. Made by `python -m recipes.few_steps`.
"""
BEFORE = """
\\* With other weights than those that ship now.
"""


def measure(name: str) -> dict[str, dict[str, float]]:
    """Return the mean of each metric for each column."""
    painter = load(name, dtype=fast_dtype())
    pairs = held_out_pairs(painter.task, painter.size, limit=LAST)[FIRST:]
    found: dict[str, dict[str, float]] = {}
    for column, asked in EVERY.items():
        run = evaluating(replace(painter, **(PLAIN | asked)), pairs, baselines=False)
        report = ended(run, f"{name}, {column}")
        found[column] = {score.heading: score.mean for score in report.rows[0].scores}
    return found


def known() -> dict[str, dict[str, dict[str, float]]]:
    """Return what was measured, by task and column."""
    return stored(SCORES, {})


def page(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return docs/tasks/few-steps.md."""
    outdated = [name for name in found if is_of_others(MEASURED, name)]
    rows = [["task", "score", *EVERY, "asked for"]]
    for name, by_count in sorted(found.items(), key=lambda entry: list(SETTINGS).index(entry[0])):
        mark = " \\*" if name in outdated else ""
        for metric in by_count["1"]:
            means = [f"{by_count[column][metric]:.3g}" if column in by_count else "-" for column in EVERY]
            rows.append([name + mark, metric, *means, _asked(SETTINGS[name])])
    left = [name for name in SETTINGS if name not in found]
    missing = f"\nNot measured yet: {', '.join(left)}.\n" if left else ""
    return f"{HEAD.format(pairs=LAST - FIRST)}{missing}\n{table(rows)}\n{BEFORE if outdated else ''}"


def _asked(setting: Setting) -> str:
    """Return what an adapter asks for, as the columns say it."""
    guided = "" if setting.heed == 1 else f", guided {setting.heed:g}"
    return f"{setting.paint or STEPS}{'' if setting.temperature else ', no noise'}{guided}"


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", nargs="*", choices=list(SETTINGS), help="measure these, even again")
    parser.add_argument("--reuse", action="store_true", help="measure nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ships = [name for name in SETTINGS if name in shipped()]
    todo = args.task or [name for name in ships if name not in known() or is_of_others(MEASURED, name)]
    for name in () if args.reuse else todo:
        used, found = weights(name), measure(name)
        write_text(SCORES, json.dumps(known() | {name: found}, indent=1) + "\n")
        record(MEASURED, name, used)
        print(name, json.dumps(found), flush=True)
    write_text(DOCS / "tasks" / "few-steps.md", page(known()))


if __name__ == "__main__":
    main()
