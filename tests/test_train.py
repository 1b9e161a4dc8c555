"""Training: it learns, it resumes bit for bit, and it refuses what would be lost or mixed up."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anyrefill.backbone.adapters.files import load_adapter, read_passport
from anyrefill.backbone.fill import FluxFill
from anyrefill.errors import UserError
from anyrefill.pairs import Pair, write_pairs
from anyrefill.train import Step, TrainConfig, rate, train
from panels import random_panel
from tiny_checkpoint import save_tiny_checkpoint


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("train")
    pairs = [
        Pair(reference=random_panel(64, 64, seed), target=-random_panel(64, 64, seed), caption=f"picture {seed}")
        for seed in range(3)
    ]
    write_pairs(pairs, folder / "pairs")
    base = save_tiny_checkpoint(folder / "base")
    return TrainConfig(
        task="deblur", pairs=folder / "pairs", out=folder / "run", backbone=str(base),
        steps=6, batch=2, rank=2, save_every=2, warmup=2, dtype="float32",
    )  # fmt: skip


def until(run: Iterator[Step], step: int) -> None:
    """Take steps, then drop the run as a kill would."""
    for done in run:
        if done.step == step:
            return


def finished(config: TrainConfig) -> dict[str, torch.Tensor]:
    *_, last = train(config)
    assert last.adapter is not None
    return load_file(last.adapter)


def test_a_killed_run_ends_with_the_same_weights(config: TrainConfig, tmp_path: Path) -> None:
    whole = finished(replace(config, out=tmp_path / "whole"))
    broken = replace(config, out=tmp_path / "broken")
    until(train(broken), 3)  # the checkpoint is of step 2: step 3 is lost and taken again
    until(train(broken), 5)
    again = finished(broken)
    assert whole.keys() == again.keys()
    assert any(float(weight.abs().max()) > 0 for name, weight in whole.items() if "lora_B" in name)
    for name, weight in whole.items():
        assert torch.equal(weight, again[name]), name


@pytest.mark.parametrize("region", ["whole", "painted"])
def test_the_loss_falls(config: TrainConfig, tmp_path: Path, region: str) -> None:
    many = replace(config, out=tmp_path, steps=60, batch=8, rank=8, lr=1e-2, region=region, save_every=60)
    losses = [step.loss for step in train(many)]
    assert sum(losses[-10:]) < 0.97 * sum(losses[:10])


def test_bfloat16_trains_too(config: TrainConfig, tmp_path: Path) -> None:
    steps = list(train(replace(config, out=tmp_path, dtype="bfloat16")))
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert all(torch.isfinite(torch.tensor(step.loss)) for step in steps)


def test_the_adapter_carries_its_passport_and_loads(config: TrainConfig, tmp_path: Path) -> None:
    finished(replace(config, out=tmp_path))
    passport = read_passport(tmp_path / "adapter.safetensors")
    assert (passport.task, passport.rank, passport.steps, passport.pairs) == ("deblur", 2, 6, 3)
    assert (passport.height, passport.width) == (64, 128)
    assert len(passport.manifest) == 64
    load_adapter(tmp_path / "adapter.safetensors", FluxFill.load(config.backbone))


def test_another_run_is_not_gone_on_with(config: TrainConfig, tmp_path: Path) -> None:
    finished(replace(config, out=tmp_path))
    with pytest.raises(UserError, match="of a run with another lr; give another --out"):
        list(train(replace(config, out=tmp_path, lr=3e-4)))


def test_a_damaged_checkpoint_is_named(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(UserError, match=r"state\.pt is no checkpoint that can be read"):
        list(train(replace(config, out=tmp_path)))


def test_a_loss_that_is_not_finite_stops_the_run(config: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="The loss is (nan|inf) at step"):
        list(train(replace(config, out=tmp_path, lr=1e30, steps=40, warmup=1, save_every=100)))
    assert not (tmp_path / "adapter.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": 0}, "--steps must be at least 1, not 0"),
        ({"rank": 0}, "--rank must be at least 1, not 0"),
        ({"lr": 0.0}, "--lr must be above 0"),
        ({"task": "dept"}, "There is no task 'dept'"),
        ({"targets": "most"}, "no list of LoRA targets 'most'"),
    ],
)
def test_wrong_settings_are_one_sentence(config: TrainConfig, change: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        list(train(replace(config, **change)))


def test_the_rate_warms_up_and_falls() -> None:
    rates = [rate(step, 100, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.05, abs=0.01)


def test_the_adapter_is_readable_by_others(config: TrainConfig, tmp_path: Path) -> None:
    finished(replace(config, out=tmp_path))
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "adapter.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask
