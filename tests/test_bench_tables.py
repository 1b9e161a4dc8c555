"""What the benchmark's tables beyond single steps measure: solvers, growth, training, pictures by the clock."""

import os
import sys
from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from anyrefill.backbone.fill import FluxFill
from anyrefill.bench.goals import goals
from anyrefill.bench.growth import PRODUCT, growth
from anyrefill.bench.pictures import every_core
from anyrefill.bench.plain_training import plain_training
from anyrefill.bench.scene import Scene
from anyrefill.bench.solvers import OWN, solvers
from anyrefill.bench.timing import Run, Timing, interleaved
from anyrefill.bench.training import TRAIN_TABLE, ours, training_steps, write_photographs
from anyrefill.train import TrainConfig


def test_pictures_by_the_clock_take_all_cores(as_micro: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = list[int]()
    module = sys.modules[every_core.__module__]  # its package has a function of the same name

    def looking(runs: list[Run], rounds: int) -> list[Timing]:
        taken.append(torch.get_num_threads())
        return interleaved(runs, rounds)

    monkeypatch.setattr(module, "interleaved", looking)
    rows = every_core([Scene.of("colorization", "float32", 1)], 1, steps=2)
    assert {row.table for row in rows} == {f"one picture, 2 Euler steps, {os.cpu_count()} threads, by the clock"}
    assert [row.name for row in rows] == ["plain float32", "full float32"]
    assert taken == [os.cpu_count()]
    assert torch.get_num_threads() == 1


def test_distances_shrink_with_calls(as_micro: Path) -> None:
    scene = Scene.of("colorization", "float32", 1)
    far = {
        (mode, row.name): row.value
        for mode in ("full", "clean_ref_text")
        for row in solvers(scene, mode, (2, 8), exact=32)
    }
    assert far["full", "ab2, 8 calls"] < far["full", "ab2, 2 calls"]
    assert far["clean_ref_text", "ab2, 8 calls"] < far["clean_ref_text", "ab2, 2 calls"]
    assert far["clean_ref_text", "euler, 2 calls"] != far["full", "euler, 2 calls"], "another function"
    assert scene.painter.steps == 3
    assert far["full", "euler, 2 calls"] > far["full", f"{OWN} 3 calls"] > far["full", "euler, 8 calls"]


def test_growth_counts_what_it_times(as_micro: Path) -> None:
    limit, *rows = growth(FluxFill.load(as_micro), 1, references=(1, 2), panels=(32, 64))
    assert (limit.name, limit.unit) == (PRODUCT, "GFLOP/s")
    work = {row.name: row.work for row in rows if row.work is not None}
    assert len(work) == 2 * 2 * 2
    assert [one.tokens for one in work.values()] == [8, 8, 12, 12, 32, 32, 48, 48]
    first, clean = work["full, 1 reference, 32 px"], work["clean_ref_text, 1 reference, 32 px"]
    assert first.times == first.gflop_times == clean.gflop_times == 1
    assert clean.gflop < first.gflop
    assert work["full, 2 references, 64 px"].gflop_times > work["full, 1 reference, 64 px"].gflop_times > 1
    row = rows[0]
    assert first.of_limit == pytest.approx(first.gflop / (row.value / 1000) / limit.value)


def training_config(folder: Path, **options: object) -> TrainConfig:
    pairs = write_photographs(folder / "pairs", 4)
    common = {"batch": 4, "rank": 2, "caption_dropout": 0.0, "save_every": 10**6, "dtype": "float32", "steps": 2}
    return TrainConfig(task="deblur", pairs=pairs, out=folder / "run", cache=folder / "cache", **(common | options))  # pyright: ignore[reportArgumentType]


def test_the_plain_loop_trains_what_ours_trains(
    as_micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same pictures, noise and weights: the first losses agree, where neither draws from the posterior."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
    config = training_config(tmp_path, region="whole")
    own = next(ours(config))
    plain, kept = plain_training(config), plain_training(config, encode_once=True)
    first = next(plain)
    assert first == pytest.approx(own, rel=1e-4)
    assert next(kept) == pytest.approx(first, rel=1e-5)
    assert next(plain) != pytest.approx(first, rel=1e-3), "the second step sees other noise"


def test_training_steps_are_timed_in_every_way(as_micro: Path) -> None:
    rows = training_steps(["float32"], 1, samples=4)
    assert {row.table for row in rows} == {TRAIN_TABLE}
    assert [row.name for row in rows] == [
        "plain float32", "plain float32, encoded once", "full float32", "clean_ref_text float32, 4 draws a pair",
    ]  # fmt: skip
    held = [(line.name.removeprefix(TRAIN_TABLE + ": "), line.value) for line in goals(rows, [1])]
    values = [row.value for row in rows]
    assert held == [
        ("clean_ref_text float32, 4 draws a pair, over plain float32", pytest.approx(values[0] / values[3])),
        ("plain float32, encoded once / clean_ref_text float32, 4 draws a pair", pytest.approx(values[1] / values[3])),
    ]
