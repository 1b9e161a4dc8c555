"""The benchmark runs what it says, in turns, and writes what it prints."""

import json
from pathlib import Path

import pytest

from anyrefill import UserError, cli
from anyrefill.bench import Row, bench
from anyrefill.bench.rows import PLAIN, PLAIN_BF16, rows_of
from anyrefill.bench.timing import Run, Timing, interleaved


def test_runs_take_turns_after_a_round_that_does_not_count() -> None:
    calls: list[str] = []
    timings = interleaved([Run(name=name, call=lambda name=name: calls.append(name)) for name in "ab"], 3)
    assert calls == list("ab" * 4)
    assert [timing.name for timing in timings] == ["a", "b"]
    assert all(0 <= timing.low <= timing.cpu <= timing.high for timing in timings)


def test_gains_are_over_the_anchors() -> None:
    times = {PLAIN: 0.4, PLAIN_BF16: 0.2, "ours": 0.1}
    timings = [Timing(name=name, cpu=cpu, low=cpu, high=cpu, wall=cpu) for name, cpu in times.items()]
    ours = rows_of("t", timings, 1000.0, "ms")[-1]
    assert ours == Row(table="t", name="ours", value=100.0, unit="ms", low=100.0, high=100.0, gain=4.0, gain_bf16=2.0)


def test_steps_are_timed_in_every_way(as_micro: Path) -> None:
    rows = list(bench(["step"], task="colorization", rounds=1, batch=2))
    assert {row.table for row in rows} == {"one step, batch 1", "one step, batch 2"}
    timed = [row for row in rows if row.table.endswith("1") and row.unit == "ms CPU"]
    assert len(timed) == 2 + 2 * 3 + 2 + 1
    assert all(row.value > 0 and row.gain is not None and row.gain > 0 for row in timed)


def test_company_changes_rounding_only(as_micro: Path) -> None:
    (row,) = bench(["batch"], task="colorization", batch=3)
    assert 0 <= row.value < 1e-5


def test_the_command_prints_and_writes(as_micro: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    cli.main(["bench", "--tables", "batch", "--task", "colorization", "--batch", "2", "--json", str(out)])
    written = json.loads(out.read_text())
    assert [row["table"] for row in written["rows"]] == ["batch"]
    assert written["rows"][0]["name"] in capsys.readouterr().out


def test_mistakes_are_found_before_anything_slow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--rounds", "0"], ["--json", str(tmp_path)]):
        with pytest.raises(SystemExit) as stop:
            cli.main(["bench", *words])
        assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_a_task_without_an_adapter_is_refused(as_micro: Path) -> None:
    with pytest.raises(UserError, match="no adapter for deblur"):
        next(bench(["batch"]))
