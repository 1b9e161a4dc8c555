"""The plan: what it counts agrees with what a real step does."""

from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel

from anyrefill import cli
from anyrefill.backbone.adapters.lora import inject
from anyrefill.backbone.flux import FLUX_TRANSFORMER
from anyrefill.backbone.latents import image_ids
from anyrefill.pairs import Pair, write_pairs
from anyrefill.train.count import count
from anyrefill.train.plan import _flux_encoders
from panels import random_panel
from tiny_checkpoint import tiny_transformer


def tiny_config() -> dict[str, object]:
    return dict(tiny_transformer().config)


def test_operations_and_parameters_are_those_of_the_formula() -> None:
    counted = count(tiny_config(), rank=2, targets="paper", panel=64, text=24, dtype=torch.float32, fused=True)
    model = tiny_transformer()
    assert counted.base == sum(weight.numel() for weight in model.parameters())
    assert counted.trained == sum(weight.numel() for weight in inject(model, rank=2))
    image, text, width, blocks = 32, 24, 32, 4
    linear = 2 * (4 * 12 * width**2) * (image + text)  # double and single blocks alike have 12 d^2 for a token
    attention = 4 * width * (image + text) ** 2 * blocks
    assert 1.0 < counted.forward / (linear + attention) < 1.3, "modulation, embeddings and LoRA on top"
    assert 2 < counted.operations / counted.forward < 3


def test_kept_activations_are_those_of_a_real_pass() -> None:
    counted = count(tiny_config(), rank=2, targets="paper", panel=64, text=24, dtype=torch.float32, fused=False)
    assert 0 < counted.kept_checkpointed < counted.kept
    model = tiny_transformer()
    inject(model, rank=2)
    ids, kept, seen = image_ids(64, 128), 0, {weight.data_ptr() for weight in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        if tensor.untyped_storage().data_ptr() not in seen:
            seen.add(tensor.untyped_storage().data_ptr())
            held.append(tensor)
            kept += tensor.untyped_storage().nbytes()
        return tensor

    held = list[torch.Tensor]()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward(model, ids)
    assert counted.kept == pytest.approx(kept, rel=0.02)


def forward(model: FluxTransformer2DModel, ids: torch.Tensor) -> torch.Tensor:
    from anyrefill.backbone import kernels

    kernels.make_fast(model)
    rope = kernels.rope_of(model, 24, ids, torch.float32)
    inputs = torch.randn(1, len(ids), 384), torch.randn(1, 24, 32), torch.randn(1, 24)
    return kernels.forward(model, *inputs, torch.ones(1), torch.ones(1), rope)


def test_flux_has_its_published_size() -> None:
    assert _flux_encoders() == 83_819_683 + 123_060_480 + 4_762_310_656
    with torch.device("meta"):
        model = FluxTransformer2DModel.from_config(FLUX_TRANSFORMER)
    assert sum(weight.numel() for weight in model.parameters()) == 11_902_391_360


def test_the_plan_is_printed_and_nothing_is_written(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs([Pair(reference=random_panel(64, 64), target=random_panel(64, 64))], tmp_path / "pairs")
    out = tmp_path / "out"
    cli.main(["train", "deblur", str(tmp_path / "pairs"), "--out", str(out), "--backbone", str(tiny), "--plan"])
    said = capsys.readouterr().out
    assert f"deblur on {tiny}: 600 steps of 16 samples, rank 16" in said
    assert "| 24 GB GPU | " in said
    assert not out.exists()
