"""What an evaluation should show, beside what it showed: one line for each goal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from anyrefill.evaluate.report import Report, Score, table
from anyrefill.painter import STEPS

__all__ = ["GOALS", "Goal", "Kind", "Outcome", "goal_table", "outcome"]

PAINTED = "painted"
"""What a report calls the painter's own row."""

IN_FULL = f"painted in {STEPS} steps"
COPY, OTHER, BARE = "copy of the reference", "from another reference", "without the adapter"

RAW = "as the model painted it"
"""The painter's own row before the task's finish, where there is one; all other rows that a model painted have it."""

Kind = Literal["at least", "at most", "within", "gain", "share", "apart"]
"""How a goal reads: a bound of the mean; within the bound of 1; better than another row's mean by the bound; at most
the bound times another row's mean; or its interval on the better side of another row's interval."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One thing to be shown.

    Attributes:
        task: whose report tells.
        metric: which score of it.
        kind: how the bound is meant.
        bound: to be reached.
        beside: the row that ``gain``, ``share`` and ``apart`` compare with.
        row: the row that is to reach it.
    """

    task: str
    metric: str
    kind: Kind
    bound: int | float = 0
    beside: str = ""
    row: str = PAINTED


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A goal beside what was measured.

    Attributes:
        what: task, metric and row.
        goal: in words.
        measured: in words; "-" where nothing was.
        met: whether the goal is met; None where nothing was measured.
    """

    what: str
    goal: str
    measured: str
    met: bool | None


def _edit(task: str) -> tuple[Goal, ...]:
    """Return the goals of a task that changes one thing and keeps the rest."""
    return (
        Goal(task=task, metric="rmse", kind="share", bound=0.6, beside=COPY),
        Goal(task=task, metric="lpips_background", kind="at most", bound=0.05),
    )


def _factor(factor: int) -> tuple[Goal, ...]:
    """Return the goals of one factor of super-resolution, beside the blocks as they are (nearest neighbour)."""
    painted, blocks = f"painted, factor {factor}", f"{COPY}, factor {factor}"
    return (
        Goal(task="super-resolution", metric="lpips_alex", kind="share", bound=0.7, beside=blocks, row=painted),
        Goal(task="super-resolution", metric="psnr", kind="gain", beside=blocks, row=painted),
    )


def _generated(task: str, metric: str, bound: float) -> tuple[Goal, ...]:
    """Return the goals of a task that makes a photograph of a condition."""
    return (
        Goal(task=task, metric=metric, kind="at least", bound=bound),
        Goal(task=task, metric=metric, kind="apart", beside=OTHER),
        Goal(task=task, metric="kid_alex", kind="gain", beside=BARE),
    )


GOALS: tuple[Goal, ...] = (
    Goal(task="backbone-autoencoder", metric="psnr", kind="at least", bound=29, row="decoded"),
    Goal(task="backbone-autoencoder", metric="lpips_alex", kind="at most", bound=0.12, row="decoded"),
    Goal(task="backbone-copying", metric="psnr", kind="at least", bound=20),
    Goal(task="backbone-copying", metric="psnr", kind="gain", bound=6, beside=OTHER),
    Goal(task="backbone-inpainting", metric="lpips_hole", kind="gain", beside="mean colour"),
    Goal(task="backbone-inpainting", metric="lpips_hole", kind="gain", beside="Telea"),
    Goal(task="image-to-segment-any-background", metric="iou", kind="at least", bound=0.75),
    Goal(task="image-to-segment", metric="iou", kind="at least", bound=0.85),
    Goal(task="image-to-depth", metric="delta1", kind="at least", bound=0.85),
    Goal(task="image-to-depth", metric="abs_rel", kind="at most", bound=0.15),
    Goal(task="image-to-canny", metric="line_f1", kind="at least", bound=0.6),
    *_generated("canny-to-image", "edge_f1", 0.55),
    *_generated("depth-to-image", "depth_vgg", 0.85),
    *_generated("segment-to-image", "iou_u2netp", 0.8),
    Goal(task="colorization", metric="luma_psnr", kind="at least", bound=26, row=RAW),
    Goal(task="colorization", metric="colourfulness_ratio", kind="within", bound=0.25),
    Goal(task="colorization", metric="lpips_alex", kind="gain", beside=COPY),
    Goal(task="colorization", metric="kid_alex", kind="gain", beside=COPY),
    Goal(task="deblur", metric="psnr", kind="gain", bound=2, beside=COPY),
    Goal(task="deblur", metric="psnr", kind="gain", bound=3, beside=COPY),
    *(goal for factor in (4, 8, 16) for goal in _factor(factor)),
    *(goal for task in ("age", "gender", "gender-described", "relight") for goal in _edit(task)),
    *(goal for task in ("age-in-photographs", "gender-in-photographs") for goal in _edit(task)),
    _edit("relight-photographs")[0],
    Goal(task="ref-inpainting", metric="psnr_hole", kind="gain", bound=2, beside=OTHER),
    Goal(task="ref-inpainting", metric="psnr_hole", kind="gain", bound=2, beside="without a reference"),
    Goal(task="age+gender", metric="rmse", kind="share", bound=0.75, beside=COPY),
)
"""What this project set itself to show on held-out pairs."""


def goal_table(reports: Sequence[Report], goals: Sequence[Goal] = GOALS) -> str:
    """Return a Markdown table of the goals that these reports can tell about, held to 20 steps, too, where those are.

    What is handed out is painted in the steps that the adapter asks for.
    """
    words = {True: "met", False: "missed", None: ""}
    rows = [["what", "goal", "measured", "", IN_FULL, ""]]
    for goal in goals:
        for report in (report for report in reports if report.task == goal.task):
            one, full = outcome(goal, report), outcome(replace(goal, row=IN_FULL), report)
            also = [full.measured, words[full.met]] if goal.row == PAINTED and full.met is not None else ["", ""]
            rows.append([one.what, one.goal, one.measured, words[one.met], *also])
    return table(rows)


def outcome(goal: Goal, report: Report) -> Outcome:
    """Return a goal beside what a report says; a row or score that it lacks is not measured."""
    what = f"{goal.task}, {goal.metric}" + (f" ({goal.row})" if goal.row not in ("painted", "decoded") else "")
    try:
        score = report.score(goal.row, goal.metric)
        beside = report.score(goal.beside, goal.metric) if goal.beside else None
    except KeyError:
        return Outcome(what=what, goal=_words(goal), measured="-", met=None)
    if math.isnan(score.mean) or (beside is not None and math.isnan(beside.mean)):
        return Outcome(what=what, goal=_words(goal), measured="-", met=None)
    if beside is None:
        return Outcome(what=what, goal=_words(goal), measured=str(score), met=_within(goal, score.mean))
    measured, met = _compared(goal, score, beside)
    return Outcome(what=what, goal=_words(goal), measured=measured, met=met)


def _within(goal: Goal, mean: float) -> bool:
    """Return whether a mean meets a bound."""
    if goal.kind == "within":
        return abs(mean - 1) <= goal.bound
    return mean >= goal.bound if goal.kind == "at least" else mean <= goal.bound


def _compared(goal: Goal, score: Score, beside: Score) -> tuple[str, bool]:
    """Return how a score compares with another row's, and whether that is enough."""
    if goal.kind == "share":
        share = f"{score.mean / beside.mean:.0%}" if beside.mean else "-"
        return f"{share} ({score.mean:.3g} of {beside.mean:.3g})", score.mean <= goal.bound * beside.mean
    higher = score.aim == "higher"
    gain = score.mean - beside.mean if higher else beside.mean - score.mean
    measured = f"by {gain:.3g} ({score.mean:.3g}, {beside.mean:.3g})"
    if goal.kind == "apart":
        return measured, score.low > beside.high if higher else score.high < beside.low
    return measured, gain >= goal.bound


def _words(goal: Goal) -> str:
    """Return what a goal asks for."""
    match goal.kind:
        case "within":
            return f"within {goal.bound:.0%} of 1"
        case "share":
            return f"at most {goal.bound:.0%} of {goal.beside}"
        case "gain":
            return f"better than {goal.beside}" + (f" by {goal.bound:g}" if goal.bound else "")
        case "apart":
            return f"interval beyond that of {goal.beside}"
        case _:
            return f"{goal.kind} {goal.bound:g}"
