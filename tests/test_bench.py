"""The benchmark runs what it says, in turns, and writes what it prints."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

from anyrefill import UserError, cli
from anyrefill.backbone.fill import FluxFill
from anyrefill.bench import TABLES, Row, bench, plot
from anyrefill.bench.goals import GOALS_TABLE, goals
from anyrefill.bench.pictures import PICTURE_TABLE
from anyrefill.bench.plot import BAR, GOAL
from anyrefill.bench.rows import PLAIN, PLAIN_BF16, by_clock, rows_of
from anyrefill.bench.solvers import OWN, solver_table
from anyrefill.bench.timing import Run, Timing, interleaved, on_threads
from anyrefill.cli.bench import Bench


def test_runs_take_turns_after_a_round_that_does_not_count() -> None:
    calls: list[str] = []
    timings = interleaved([Run(name=name, call=lambda name=name: calls.append(name)) for name in "ab"], 3)
    assert calls == list("ab" * 4)
    assert [timing.name for timing in timings] == ["a", "b"]
    assert all(0 <= timing.low <= timing.cpu <= timing.high for timing in timings)
    assert all(0 < timing.wall_low <= timing.wall <= timing.wall_high for timing in timings)


def test_gains_are_over_the_anchors() -> None:
    times = {PLAIN: 0.4, PLAIN_BF16: 0.2, "ours": 0.1}
    timings = [
        Timing(name=name, cpu=cpu, low=cpu, high=cpu, wall=cpu**2, wall_low=0.5, wall_high=2.0)
        for name, cpu in times.items()
    ]
    row = rows_of("t", timings, 1000.0, "ms")[-1]
    assert replace(row, wall=None) == Row(
        table="t", name="ours", value=100.0, unit="ms", low=100.0, high=100.0, gain=4.0, gain_bf16=2.0
    )
    assert row.wall == pytest.approx(10.0)
    clocked = by_clock("t", timings)[-1]
    assert (clocked.low, clocked.high, clocked.wall) == (0.5, 2.0, None)
    assert (clocked.value, clocked.gain, clocked.gain_bf16) == pytest.approx((0.01, 16.0, 4.0))


def test_threads_are_given_back() -> None:
    with on_threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1


def test_the_command_knows_every_table() -> None:
    assert get_args(get_args(get_type_hints(Bench)["tables"])[0]) == TABLES == Bench().tables


def test_steps_are_timed_in_every_way(as_micro: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyrefill.bench.multiplies_bfloat16", lambda: True)
    rows = list(bench(["step"], task="colorization", rounds=1, batch=2))
    assert {row.table for row in rows} == {"one step, batch 1", "one step, batch 2", GOALS_TABLE}
    timed = [row for row in rows if row.table == "one step, batch 1" and row.unit == "ms CPU"]
    assert len(timed) == 2 + 2 * (3 + 2) + 1
    assert all(row.value > 0 and row.gain is not None and row.gain > 0 for row in timed)
    held = [row for row in rows if row.table == GOALS_TABLE]
    assert len(held) == 2 * 10
    assert all(row.goal and row.met is not None for row in held)


def test_the_base_is_loaded_once_in_each_type(as_micro: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a second transformer, for the anchor whose adapter stays beside its weights."""
    loaded: list[tuple[object, ...]] = []
    load = FluxFill.load

    def counting(base: Path, **options: object) -> FluxFill:
        loaded.append((options["dtype"], options.get("parts")))
        return load(base, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(FluxFill, "load", counting)
    once = ("transformer",)
    for knows, kinds in ((True, [torch.float32, torch.bfloat16]), (False, [torch.float32])):
        monkeypatch.setattr("anyrefill.bench.multiplies_bfloat16", lambda knows=knows: knows)
        loaded.clear()
        rows = list(bench(["same", "step"], task="colorization", rounds=1, batch=2))
        assert loaded == [entry for kind in kinds for entry in ((kind, None), (kind, once))]
        assert any("bfloat16" in row.name for row in rows) == knows
        assert any(row.gain_bf16 is not None for row in rows) == knows


def test_the_picture_is_diffusers_and_company_changes_rounding_only(as_micro: Path) -> None:
    theirs, company, *held = bench(["same"], task="colorization", batch=3)
    assert 0 < theirs.value < 1e-4
    assert 0 <= company.value < 1e-5
    assert [row.met for row in held] == [True, True]


def test_goals_are_held_to_what_was_measured() -> None:
    def row(name: str, gain: float, table: str = "one step, batch 1") -> Row:
        return Row(table=table, name=name, value=1.0, unit="ms CPU", low=1.0, high=1.0, gain=gain, gain_bf16=2.6)

    rows = [row("full float32", 1.39), row("clean_ref_text bfloat16", 5.5), row("full float32", 9.0, "other")]
    held = {line.name: (line.value, line.goal, line.met) for line in goals(rows, [1, 16])}
    assert held == {
        "one step, batch 1: full float32, over plain float32": (1.39, "at least 1.4", False),
        "one step, batch 1: clean_ref_text bfloat16, over plain float32": (5.5, "at least 5.5", True),
        "one step, batch 1: clean_ref_text bfloat16, over plain bfloat16": (2.6, "at least 2.5", True),
    }
    far = {"ab2, 20 calls": 0.004, "ab2, 14 calls": 0.01, "euler, 50 calls": 0.008, f"{OWN} 2 calls": 0.1}
    solved = [Row(table=solver_table("full"), name=name, value=value, unit="relative") for name, value in far.items()]
    assert [(line.value, line.met) for line in goals(solved, [1])] == [
        (0.5, True), (1.25, False), (12.5, False),
    ]  # fmt: skip


def test_a_machine_without_bfloat16_has_its_verdict_on_the_fast_picture() -> None:
    painted = {"clean_ref_text float32, 20 x ab2": 3.9, "clean_ref_text float32, 14 x ab2": 4.8,
               "full float32, the adapter's 2 steps": 10.6}  # fmt: skip
    rows = [Row(table=PICTURE_TABLE, name=name, value=1.0, unit="s CPU", gain=gain) for name, gain in painted.items()]
    assert [(line.name, line.value, line.met) for line in goals(rows, [1])] == [
        (f"{PICTURE_TABLE}: clean_ref_text float32, 20 x ab2, over plain float32", 3.9, False),
        (f"{PICTURE_TABLE}: clean_ref_text float32, 14 x ab2, over plain float32", 4.8, False),
        (f"{PICTURE_TABLE}: full float32, the adapter's 2 steps, over plain float32", 10.6, True),
    ]


def test_bars_are_as_long_as_gains(tmp_path: Path) -> None:
    def row(name: str, gain: float) -> Row:
        return Row(table="one step, batch 1", name=name, value=1.0, unit="ms", low=1.0, high=1.0, gain=gain)

    rows = [row("full float32", 1.0), row("clean_ref_text float32", 3.0)]
    picture = np.asarray(plot([*rows, *goals(rows, [1])]))
    bars = sorted((picture == BAR).all(-1).sum(1).tolist())
    lengths = sorted({length for length in bars if length > 20})
    assert lengths[-1] / lengths[0] == pytest.approx(3, rel=0.05)
    assert (picture == GOAL).all(-1).any()


def test_the_command_prints_writes_and_draws(
    as_micro: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, picture = tmp_path / "bench.json", tmp_path / "bench.png"
    words = ["--tables", "step", "--task", "colorization", "--batch", "1", "--rounds", "1"]
    cli.main(["bench", *words, "--json", str(out), "--plot", str(picture)])
    written, said = json.loads(out.read_text()), capsys.readouterr().out
    assert {row["table"] for row in written["rows"]} == {"one step, batch 1", GOALS_TABLE}
    assert all(row["name"] in said for row in written["rows"])
    assert "at least 3.5: " in said
    with Image.open(picture) as drawn:
        assert drawn.width == 960


def test_mistakes_are_found_before_anything_slow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unplotted = ["--tables", "flops", "--plot", str(tmp_path / "a.png")]
    for words in (["--rounds", "0"], ["--json", str(tmp_path)], ["--plot", "bench.svgz"], unplotted):
        with pytest.raises(SystemExit) as stop:
            cli.main(["bench", *words])
        assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 4


def test_a_task_without_an_adapter_is_refused(as_micro: Path) -> None:
    with pytest.raises(UserError, match="no adapter for deblur"):
        next(bench(["same"]))
