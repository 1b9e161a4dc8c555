"""`anyrefill evaluate`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from anyrefill.cli.common import (
    Count,
    Strength,
    check_counts,
    check_report,
    check_strengths,
    file_of,
    tell,
    with_bar,
)
from anyrefill.errors import UserError
from anyrefill.files import write_text
from anyrefill.seeds import check_seed

if TYPE_CHECKING:
    import torch

    from anyrefill.evaluate import Progress, Report
    from anyrefill.painter import Painter

__all__ = ["BACKBONE", "VARIANTS", "Evaluate", "ended", "evaluate", "painter_of", "wanted"]

BACKBONE = "backbone"
VARIANTS = {
    "age-in-photographs": "age",
    "gender-described": "gender",
    "gender-in-photographs": "gender",
    "relight-photographs": "relight",
    "image-to-segment-any-background": "image-to-segment",
    "image-to-segment-photographs": "image-to-segment",
}
"""Other held-out pairs of a task. --all evaluates these and mixes where their pairs are there."""


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a task on held-out pairs, beside baselines."""

    task: Positional[Annotated[str | None, arg(metavar="[TASK]")]] = None
    """A name from `anyrefill tasks`, a .py file that defines one, other pairs of a task (age-in-photographs,
    gender-described, gender-in-photographs, relight-photographs, image-to-segment-any-background,
    image-to-segment-photographs), or backbone: what it can do without an adapter."""
    pairs: Positional[Annotated[Path | None, arg(metavar="[PAIRS]")]] = None
    """A folder of pairs; by default ~/.cache/anyrefill/heldout/TASK."""
    all: bool = False
    """The backbone, every task whose adapter ships with micro, other pairs of some, and age+gender; at last the goals
    beside it all."""
    limit: Annotated[int, arg(metavar="N")] = 64
    """Pairs to read at most."""
    json: Annotated[Path | None, arg(metavar="FILE")] = None
    """Write every picture's scores there too."""
    baselines: bool = True
    """Leave out the baselines that have to be painted: another reference, none, no adapter."""
    backbone: Annotated[str, arg(metavar="ID")] = "micro"
    """micro, a folder in diffusers' FLUX.1-Fill layout, or a hub id."""
    adapter: Annotated[str | None, arg(metavar="NAME|PATH")] = None
    """A file, the folder of a training run, or none; by default the one that ships with micro."""
    steps: Count = None
    """Euler steps, one backbone call each; if not given what the adapter asks for, or 20."""
    guidance: Strength = None
    """Distilled guidance strength; by default the one the adapter asks for."""
    seed: int = 0
    """Of the first pair's noise; the next pair's is one more."""
    batch: Annotated[int, arg(metavar="N")] = 16
    """Canvases that go through the backbone together."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the weights; auto is bfloat16 where the processor multiplies it, else float32. On micro bfloat16 takes half
    the time there, and its pictures are 59 dB from float32's."""


def evaluate(options: Evaluate) -> None:
    """Print a table of scores for each task asked for."""
    check_seed(options.seed)
    check_counts(steps=options.steps, limit=options.limit, batch=options.batch)
    check_strengths(guidance=options.guidance)
    if options.all == (options.task is not None):
        raise UserError("Give either a task or --all.")
    if options.all and options.adapter not in (None, "none"):
        raise UserError(f"One adapter does not paint every task: give {options.adapter} with its own, not with --all.")
    _check_backbone(options)
    check_report(options.json, (options.pairs, file_of(options.task), file_of(options.adapter)))
    reports: list[Report] = []
    for task in _asked_for(options):
        for report in _reports(task, options):
            reports.append(report)
            print(report.to_markdown(), end="\n\n", flush=True)
            if options.json is not None:
                write_text(options.json, "[" + ",\n".join(one.to_json() for one in reports) + "]\n")
    if options.all:
        from anyrefill.evaluate.goals import goal_table

        print(goal_table(reports))


def _check_backbone(options: Evaluate) -> None:
    """Refuse by name what the bare backbone would ignore."""
    if options.task != BACKBONE:
        return
    ignored = {
        "PAIRS": options.pairs is not None,
        "--adapter": options.adapter is not None,
        "--no-baselines": not options.baselines,
    }
    if any(ignored.values()):
        given = " and ".join(name for name, is_given in ignored.items() if is_given)
        raise UserError(f"The backbone is scored on pairs of its own, bare and with all baselines: leave out {given}.")


def _asked_for(options: Evaluate) -> list[str]:
    """Return the tasks to evaluate, after a look whether the pairs of all of them are there and stay there."""
    from anyrefill.backbone.embedded import find_base, mixes, shipped
    from anyrefill.evaluate import heldout, refuse_missing

    if options.pairs is None:
        check_report(options.json, (heldout(""),))
    if options.task is not None:
        return [options.task]
    find_base("micro")
    if not shipped():
        raise UserError("No adapter ships with the embedded backbone, so --all has nothing to evaluate.")
    for task in shipped():
        refuse_missing(task)
    return [name for name in wanted() if name not in (*VARIANTS, *mixes()) or heldout(name).is_dir()]


def wanted() -> list[str]:
    """Return what the table of results has: the backbone, what ships, other pairs of it, and mixes of it."""
    from anyrefill.backbone.embedded import mixes, shipped

    variants = [name for name, task in VARIANTS.items() if task in shipped()]
    return [BACKBONE, *shipped(), *variants, *mixes()]


def _reports(task: str, options: Evaluate) -> "Iterator[Report]":
    """Yield the report of one task, or the three of the bare backbone."""
    if task != BACKBONE:
        yield _evaluate_one(task, options)
        return
    from anyrefill.evaluate import base
    from anyrefill.painter import load

    painter = load(base.COPYING, options.backbone, adapter="none", dtype=_dtype(options))
    for run in base.runs(
        painter,
        limit=options.limit,
        steps=options.steps,
        guidance=options.guidance,
        seed=options.seed,
        batch_size=options.batch,
    ):
        yield ended(run, task)


def ended(run: "Iterator[Progress]", title: str) -> "Report":
    """Run an evaluation to its end, each stage under a bar of its own, and return its report."""
    from anyrefill.evaluate import finished

    stages = groupby(run, key=attrgetter("doing"))
    return finished(step for doing, stage in stages for step in with_bar(stage, f"{title}, {doing}"))[0]


def _evaluate_one(task: str, options: Evaluate) -> "Report":
    """Return the report of one task."""
    from anyrefill.evaluate import evaluating, held_out_pairs

    painter = painter_of(task, options.backbone, options.adapter, dtype=_dtype(options))
    tell(painter.notes)
    run = evaluating(
        painter,
        held_out_pairs(painter.task, painter.size, options.pairs, options.limit),
        baselines=options.baselines,
        steps=options.steps,
        guidance=options.guidance,
        seed=options.seed,
        batch_size=options.batch,
    )
    return ended(run, painter.task.name)


def painter_of(
    task: str, backbone: str = "micro", adapter: str | None = None, *, dtype: "torch.dtype | None" = None
) -> "Painter":
    """Return who paints a task; a variant's goes by the variant's name, under which its pairs are looked for."""
    from anyrefill.painter import load

    painter = load(VARIANTS.get(task, task), backbone, adapter, dtype=dtype)
    return replace(painter, task=replace(painter.task, name=task)) if task in VARIANTS else painter


def _dtype(options: Evaluate) -> "torch.dtype":
    """Return what the weights are loaded in."""
    import torch

    from anyrefill.backbone.precision import fast_dtype

    return fast_dtype() if options.dtype == "auto" else getattr(torch, options.dtype)
