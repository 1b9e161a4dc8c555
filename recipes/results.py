"""Measure everything on held-out pairs and write docs/results.md.

python -m recipes.results                   # about 10 minutes on 2 cores; needs recipes.heldout and recipes.weights
"""

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from anyrefill import cli
from anyrefill.evaluate.report import Report, Row, Score
from recipes.world.fetch import WORLD

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
HEAD = """# Results

Held-out pairs: no photograph, cut-out or emoji in them was seen by any training step. Means with 95 % bootstrap
intervals. Regenerate with `python -m recipes.results`; every number below is printed by `anyrefill evaluate`.

The embedded backbone is young: {note}. Where a goal is missed, that is the state, not the end.

## Goals

"""
Goal = tuple[str, str, str, str, float, str]
GOALS: tuple[Goal, ...] = (
    ("backbone-autoencoder", "decoded", "psnr", "at least", 29.0, "autoencoder, PSNR"),
    ("backbone-autoencoder", "decoded", "lpips_alex", "at most", 0.12, "autoencoder, LPIPS"),
    ("backbone-copying", "painted", "psnr", "at least", 20.0, "copying, PSNR"),
    ("image-to-segment", "painted", "iou", "at least", 0.75, "image-to-segment, IoU"),
    ("colorization", "painted", "luma_psnr", "at least", 24.0, "colorization, luma PSNR"),
    ("canny-to-image", "painted", "edge_f1", "at least", 0.5, "canny-to-image, edge F1"),
)
PAIRED = (
    ("backbone-copying", "psnr", "from another reference", 6.0, "copying, PSNR above another reference's"),
    ("backbone-inpainting", "lpips_alex", "mean colour", 0.0, "inpainting, LPIPS below the mean colour's"),
    ("backbone-inpainting", "lpips_alex", "Telea", 0.0, "inpainting, LPIPS below Telea's"),
    ("deblur", "psnr", "copy of the reference", 2.0, "deblur, PSNR above the input's"),
    ("colorization", "lpips_alex", "copy of the reference", 0.0, "colorization, LPIPS below the grey input's"),
)


def read(path: Path) -> list[Report]:
    """Read the reports that `anyrefill evaluate --json` wrote."""
    return [_report(entry) for entry in json.loads(path.read_text())]


def _report(entry: dict[str, Any]) -> Report:
    rows = tuple(Row(name=row["name"], scores=tuple(map(_score, row["scores"]))) for row in entry["rows"])
    return Report(**{field.name: entry[field.name] for field in fields(Report) if field.name != "rows"}, rows=rows)


def _score(entry: dict[str, Any]) -> Score:
    return Score(**{**entry, "values": tuple(entry["values"])})


def mean(reports: list[Report], task: str, row: str, metric: str) -> float:
    """Return one mean of one row."""
    report = next(report for report in reports if report.task == task)
    scores = next(r for r in report.rows if r.name == row).scores
    return next(score.mean for score in scores if score.metric == metric)


def goals(reports: list[Report]) -> str:
    """Return the table of goals, met or missed."""
    lines = ["| what | goal | measured | |", "|---|---|---|---|"]
    for task, row, metric, way, bound, what in GOALS:
        value = mean(reports, task, row, metric)
        met = value >= bound if way == "at least" else value <= bound
        lines.append(f"| {what} | {way} {bound:g} | {value:.3g} | {'met' if met else 'missed'} |")
    for task, metric, other, margin, what in PAIRED:
        gain = mean(reports, task, "painted", metric) - mean(reports, task, other, metric)
        gain = -gain if metric.startswith("lpips") else gain
        met = gain >= margin if margin else gain > 0
        goal = f"by {margin:g}" if margin else "yes"
        lines.append(f"| {what} | {goal} | by {gain:.3g} | {'met' if met else 'missed'} |")
    ratio = mean(reports, "colorization", "painted", "colourfulness_ratio")
    lines.append(
        f"| colorization, colourfulness beside the photographs' | 0.7-1.3 | {ratio:.3g} | "
        f"{'met' if 0.7 <= ratio <= 1.3 else 'missed'} |"
    )
    return "\n".join(lines)


def main() -> None:
    """Evaluate, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--json", type=Path, default=WORLD.parent / "results.json")
    parser.add_argument("--parts", type=Path, nargs="*", help="JSON files of earlier evaluations to put together")
    parser.add_argument("--note", default="it was pretrained for about an hour on two cores")
    parser.add_argument("--reuse", action="store_true", help="render the page from the JSON that is there")
    args = parser.parse_args()
    if args.parts:
        args.json.write_text(json.dumps([report for part in args.parts for report in json.loads(part.read_text())]))
    elif not args.reuse:
        cli.main(["evaluate", "--all", "--limit", str(args.limit), "--json", str(args.json)])
    reports = read(args.json)
    tables = "\n\n".join(f"## {report.task}\n\n{report.to_markdown()}" for report in reports)
    PAGE.write_text(f"{HEAD.format(note=args.note)}{goals(reports)}\n\n{tables}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
