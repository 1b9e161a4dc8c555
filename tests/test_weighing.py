"""What the loss weighs, and that compiled blocks learn the same."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.latents import pack
from anyrefill.pairs import Pair, write_pairs
from anyrefill.train import Step, TrainConfig, training
from anyrefill.train.loss import channel_weights
from panels import random_panel


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


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch hides it from users
@pytest.mark.parametrize("changes", [{"weighing": "reach"}, {"compile": True}])
def test_first_loss_under_an_option(changes: dict[str, object], tiny: Path, tmp_path: Path) -> None:
    pairs = [Pair(reference=random_panel(64, 64, s), target=-random_panel(64, 64, s), caption="p") for s in range(2)]
    write_pairs(pairs, tmp_path / "pairs")
    plain = TrainConfig(
        task="deblur", pairs=tmp_path / "pairs", out=tmp_path / "plain", backbone=str(tiny), cache=tmp_path / "cache",
        steps=1, batch=2, rank=2, dtype="float32",
    )  # fmt: skip
    one, other = _loss(plain), _loss(replace(plain, out=tmp_path / "other", **changes))
    if "compile" in changes:
        assert other == pytest.approx(one, rel=1e-4)
    else:
        assert other != pytest.approx(one, rel=1e-3)


def _loss(config: TrainConfig) -> float:
    """Return the loss of a run's only step."""
    *_, last = (step for step in training(config) if isinstance(step, Step))
    return last.loss
