"""Measure everything on held-out pairs and write docs/results.md and the cards in docs/tasks.

    python -m recipes.results                        # what is not measured yet, or was with other weights than ship;
                                                     # about 2.5 minutes a task on one core
    python -m recipes.results --redo deblur age      # measure these again
    python -m recipes.results --reuse                # only write the pages from docs/results/*.json
    python -m recipes.results --sheets               # only paint the contact sheets again; a minute

Each task's scores go to docs/results/TASK.json as soon as they are there, so a run that is stopped goes on; every
number on the pages comes from these files, and docs/results/measured.json tells whose they are. Needs recipes.heldout
and recipes.weights.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import torch
from PIL import ImageDraw, ImageFont

from anyrefill import images, tasks
from anyrefill.backbone.embedded import EMBEDDED, adapter_of
from anyrefill.backbone.precision import fast_dtype
from anyrefill.cli.evaluate import BACKBONE, VARIANTS, ended, painter_of, wanted
from anyrefill.evaluate import Progress, base, evaluating, held_out_pairs
from anyrefill.evaluate.goals import goal_table
from anyrefill.evaluate.report import Report, read_reports
from anyrefill.files import sha256_of, write_text
from anyrefill.painter import load
from anyrefill.pairs import Pair
from anyrefill.types import Panel
from recipes import cards
from recipes.stored import DOCS, stored

MEASURED = DOCS / "results" / "measured.json"
"""Which weights each task's scores are of."""
NOT_SHOWN = "motorcycle"
"""Middlebury's, in a caption: nobody says that its pictures may be passed on, so that no sheet shows them."""

HEAD = """# Results

Held-out pairs: no photograph, cut-out, emoji, identity or room in them was seen by any training step. Means with 95 %
intervals (bootstrap; jackknife for distances of sets). Pairs of one person, room, stage or photograph are drawn
together in them, as one group: the edits' 64 pairs show 18 rendered people, ref-inpainting's 20 rooms and 32 stages
([how](guides/evaluate.md#pairs-that-belong-together)). Measure again
with `python -m recipes.results --redo all`; the numbers come from `docs/results/*.json`, every picture's score among
them, and are what `anyrefill evaluate --all` prints.

{missing}## Goals

{goals}

Goals are held to what `anyrefill paint` hands out: in the steps that the adapter asks for, one to ten, and with the
task's finish. The last columns hold the same goals to 20 steps, in which the edits, deblur and ref-inpainting miss
goals that they meet in one or two. Rows "as the model painted it" below tell what the finish does. Where a goal is
missed, that is the state; [the log](log.md) says what was tried. `kid_alex` is a kernel distance of the
painted pictures to the real ones in AlexNet's features, `depth_vgg` the correlation with what a small network on
VGG16's features takes for depth, `iou_u2netp` the IoU with what U2-Net-p takes for the subject: the row
"the true target" tells how well these see on the true pictures. `identity_dlib` is how far the painted face is
from the reference's by dlib's network of faces (0.6 between strangers on photographs). gender-described has the pairs
of gender, with captions that tell of hair and beard, too, which the reference cannot show; age-in-photographs and
gender-in-photographs show the same people placed in photographs, and the light of relight-photographs is computed
([data](data.md)). image-to-segment-photographs are crops on which nothing was pasted; what U2-Net-p marks in the whole
photograph is taken for the truth, while its own row there is of the crop alone. age+gender is painted in turn, as
`paint` does; "all adapters at once" is the paper's way.

What more pretraining pays (`python -m recipes.pretraining`; micro has seen 245,000 canvases):
![copying](images/pretraining-copying.svg) ![inpainting](images/pretraining-inpainting.svg)
"""


def main() -> None:
    """Measure what is missing, then write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--redo", nargs="*", default=[], metavar="TASK", help="measure again, `all` for everything")
    parser.add_argument("--parts", nargs="*", metavar="TASK", help="look at these alone; by default at everything")
    parser.add_argument("--reuse", action="store_true", help="measure nothing")
    parser.add_argument("--sheets", action="store_true", help="only paint the contact sheets again")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in (args.parts or wanted()[1:]) if args.sheets else ():
        repaint_sheet(name, args.limit)
    for name in () if args.reuse or args.sheets else (args.parts or wanted()):
        if is_outdated(name) or name in args.redo or args.redo == ["all"]:
            used = weights(name)
            reports = [ended(run, name) for run in runs(name, args.limit)]
            write_text(part(name), "[" + ",\n".join(report.to_json() for report in reports) + "]\n")
            record(MEASURED, name, used)
            print(*(report.to_markdown() for report in reports), sep="\n\n", end="\n\n", flush=True)
    write_text(DOCS / "results.md", page([part(name) for name in wanted()]))
    cards.write_all(DOCS)


def weights(name: str) -> dict[str, str]:
    """Return the SHA-256 of each file of weights that a task is painted with: base, autoencoder, adapters."""
    adapters = () if name == BACKBONE else VARIANTS.get(name, name).split("+")
    return base_weights() | {one: sha256_of(adapter_of(one)) for one in adapters}


@cache
def base_weights() -> dict[str, str]:
    """Return the SHA-256 of the base's files, which every task is painted with; read once."""
    names = ("transformer", "vae")
    return {name: sha256_of(EMBEDDED / name / "diffusion_pytorch_model.safetensors") for name in names}


def is_outdated(name: str) -> bool:
    """Return whether a task is not measured yet, or was with other weights than those that ship."""
    return not part(name).is_file() or is_of_others(MEASURED, name)


def is_of_others(path: Path, name: str) -> bool:
    """Return whether a file of `record` does not say that a task was measured with the weights that ship."""
    return stored(path, {}).get(name) != weights(name)


def record(path: Path, name: str, used: dict[str, str]) -> None:
    """Say which weights a task was measured with; what others have written meanwhile stays."""
    write_text(path, json.dumps(stored(path, {}) | {name: used}, indent=1, sort_keys=True) + "\n")


def part(name: str) -> Path:
    """Return the file of a task's scores."""
    return DOCS / "results" / f"{name}.json"


def runs(name: str, limit: int) -> Iterator[Iterator[Progress]]:
    """Yield a task's evaluation, which leaves its contact sheet, too, or the three of the bare backbone."""
    if name == BACKBONE:
        painter = load(base.COPYING, adapter="none", dtype=fast_dtype())
        yield from base.runs(painter, limit=limit, steps=None, guidance=None, seed=0, batch_size=16)
    else:
        yield task_run(name, limit)


def task_run(name: str, limit: int) -> Iterator[Progress]:
    """Yield the progress of a task's evaluation; at its end save its contact sheet."""
    painter = painter_of(name, dtype=fast_dtype())
    pairs = held_out_pairs(painter.task, painter.size, limit=limit)
    for progress in evaluating(painter, pairs):
        if progress.report is not None:
            save_sheet(progress.report, pairs, progress.painted.__getitem__, sheet_of(name))
        yield progress


def repaint_sheet(name: str, limit: int) -> None:
    """Paint anew only what a task's contact sheet shows, as its evaluation did."""
    (report,), painter = read_reports(part(name)), painter_of(name, dtype=fast_dtype())
    pairs = held_out_pairs(painter.task, painter.size, limit=limit)
    save_sheet(report, pairs, lambda index: painter.batch(pairs[index : index + 1], seed=index)[0], sheet_of(name))


def sheet_of(name: str) -> Path:
    """Return where a task's contact sheet lies."""
    return DOCS / "tasks" / f"{name}.jpg"


def on_sheet(report: Report, pairs: Sequence[Pair]) -> list[int]:
    """Return the places of the pairs that a contact sheet shows: the first four, then the three worst others."""
    score = report.rows[0].scores[0]
    shown = [index for index, pair in enumerate(pairs) if NOT_SHOWN not in f"{pair.caption} {pair.extra.get('place')}"]
    others = sorted(shown[4:], key=lambda index: score.values[index], reverse=score.aim == "lower")
    return [*shown[:4], *others[:3]]


def save_sheet(report: Report, pairs: Sequence[Pair], painted: Callable[[int], Panel], path: Path) -> None:
    """Save four pairs and the three worst others by the first score as one JPEG of less than 60 kB.

    Captions stand on what was given, where they tell what to paint.
    """
    chosen = on_sheet(report, pairs)
    rows = [[pairs[index].reference, painted(index), pairs[index].target] for index in chosen]
    half = (len(rows) + 1) // 2
    sheet = images.contact_sheet(
        [a + (rows[half + index] if half + index < len(rows) else []) for index, a in enumerate(rows[:half])],
        ["given", "painted", "target"] * 2,
    )
    if tasks.get(VARIANTS.get(report.task, report.task).split("+")[0]).caption_required:
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
        cell = (sheet.width - 4) // 6
        for place, index in enumerate(chosen):
            corner = (6 + place // half * 3 * cell, 20 + (place % half + 1) * cell - 16)
            draw.rectangle(draw.textbbox(corner, pairs[index].caption, font), fill="white")
            draw.text(corner, pairs[index].caption, fill="black", font=font)
    path.parent.mkdir(parents=True, exist_ok=True)
    for quality in range(88, 30, -6):
        sheet.save(path, quality=quality, optimize=True)
        if path.stat().st_size < 60_000:
            return


def page(parts: Sequence[Path]) -> str:
    """Return docs/results.md."""
    there = [path for path in parts if path.is_file()]
    reports = [report for path in there for report in read_reports(path)]
    left = [path.stem for path in parts if path not in there]
    missing = f"Not measured yet: {', '.join(left)}.\n\n" if left else ""
    tables = "\n\n".join(f"## {report.task}\n\n{report.to_markdown()}" for report in reports)
    return f"{HEAD.format(missing=missing, goals=goal_table(reports))}\n{tables}\n"


if __name__ == "__main__":
    main()
