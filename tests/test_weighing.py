"""What the loss weighs, and that compiled blocks learn the same."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.latents import pack
from anyrefill.train import Step, TrainConfig, training
from anyrefill.train.loss import channel_weights
from panels import random_panel
from short_runs import short_run

WITHOUT_INDUCTOR = """
from functools import partialmethod
import torch
torch.nn.Module.compile = partialmethod(torch.nn.Module.compile, backend="aot_eager")
from anyrefill.cli import main
main()
"""


def test_even_weights_are_ones(backbone: FluxFill) -> None:
    weights = channel_weights("even", backbone, torch.zeros(1, 32, 64), 64, 128)
    assert torch.equal(weights, torch.ones(64))


def test_reach_is_how_far_a_channel_moves_the_pixels(backbone: FluxFill) -> None:
    clean = pack(backbone.encode(torch.cat([random_panel(64, 64, 1), random_panel(64, 64, 2)], -1)[None]))
    before = channel_weights("reach", backbone, clean, 64, 128)
    assert before.shape == (64,)
    assert before.mean() == pytest.approx(1, abs=1e-5)
    assert torch.equal(before.view(16, 4), before.view(16, 4)[:, :1].expand(16, 4))

    kernel = backbone._autoencoder().decoder.conv_in.weight
    kept = kernel.data.clone()
    try:
        kernel.data[:, 3] = 0
        silent = channel_weights("reach", backbone, clean, 64, 128)
    finally:
        kernel.data = kept
    assert torch.equal(silent[12:16], torch.zeros(4))
    assert silent[:12].min() > 0
    assert silent[16:].min() > 0


@pytest.fixture
def config(tiny: Path, tmp_path: Path) -> TrainConfig:
    return short_run(tmp_path, tiny, steps=1, pairs=2)


def test_weighing_changes_the_loss(config: TrainConfig, tmp_path: Path) -> None:
    weighed = replace(config, out=tmp_path / "weighed", weighing="reach")
    assert _loss(weighed) != pytest.approx(_loss(config), rel=1e-3)


def test_compiled_blocks_have_the_same_loss(config: TrainConfig, tmp_path: Path) -> None:
    """In a process of its own: what tests check at run time is in the compiler's way.

    Traced and differentiated as for inductor, but run by torch: inductor's C++ would take two minutes to build.
    """
    words = [
        "train", config.task, str(config.pairs), "--out", str(tmp_path / "compiled"), "--backbone", config.backbone,
        "--cache", str(config.cache), "--steps", "1", "--batch", "2", "--rank", "2", "--dtype", "float32", "--compile",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", WITHOUT_INDUCTOR, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "compiled" / "log.jsonl").read_text().splitlines()
    assert json.loads(line)["loss"] == pytest.approx(_loss(config), rel=1e-4)


def _loss(config: TrainConfig) -> float:
    """Return the loss of a run's only step."""
    *_, last = (step for step in training(config) if isinstance(step, Step))
    return last.loss
