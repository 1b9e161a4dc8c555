"""The plan: what it counts agrees with what a real step does."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel

from anyrefill import cli, tasks
from anyrefill.backbone.adapters.lora import inject
from anyrefill.backbone.adapters.prompt import room_for
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.flux import FLUX, FLUX_TRANSFORMER
from anyrefill.backbone.folder import Folder
from anyrefill.backbone.latents import image_ids
from anyrefill.pairs import Pair, write_pairs
from anyrefill.train import TrainConfig, train
from anyrefill.train.count import count
from anyrefill.train.data import default_steps, steps_of
from anyrefill.train.plan import Encoders, _flux_encoders, plan
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
    assert _flux_encoders() == Encoders(vae=83_819_683, clip=123_060_480, t5=4_762_310_656)
    with torch.device("meta"):
        model = FluxTransformer2DModel.from_config(FLUX_TRANSFORMER)
    assert sum(weight.numel() for weight in model.parameters()) == 11_902_391_360


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_pairs([Pair(reference=random_panel(64, 64), target=random_panel(64, 64))], tmp_path / "pairs")
    return tmp_path / "pairs"


def test_the_paper_decides_the_steps_on_flux_alone(pairs: Path) -> None:
    gender, small = tasks.get("gender"), tiny_transformer().config
    assert default_steps(gender, FLUX_TRANSFORMER) == 8_000
    assert default_steps(gender, small) == 600
    config = TrainConfig(task="gender", pairs=pairs, out=pairs, batch=2)
    assert steps_of(config, pairs=[1], default=8_000) == 8_000
    assert steps_of(replace(config, steps=3), pairs=[1], default=8_000) == 3
    assert steps_of(replace(config, steps=3, min_epochs=10.0), pairs=[1], default=8_000) == 5


@pytest.mark.parametrize("changes", [{"validate": "4"}, {"validate": "2", "buckets": True}])
def test_epochs_are_those_of_the_run(tmp_path: Path, tiny: Path, changes: dict[str, object]) -> None:
    made = [Pair(reference=random_panel(64, 64, seed), target=random_panel(64, 64)) for seed in range(4)]
    wide = [Pair(reference=random_panel(32, 64, seed), target=random_panel(32, 64)) for seed in range(2)]
    write_pairs([*wide, *made], tmp_path / "pairs")
    config = TrainConfig(
        task="deblur", pairs=tmp_path / "pairs", out=tmp_path / "out", backbone=str(tiny), cache=tmp_path / "cache",
        steps=1, min_epochs=10.0, batch=4, rank=2, samples=0, dtype="float32", **changes,
    )  # fmt: skip
    assert plan(config).steps == next(train(config)).steps


def test_no_two_parts_of_flux_are_in_memory_while_encoding_and_a_prompt_keeps_clip(pairs: Path) -> None:
    tuned = plan(TrainConfig(task="gender", pairs=pairs, out=pairs, backbone=FLUX, kind="prompt", dtype="bfloat16"))
    assert tuned.steps == 8_000
    assert tuned.counted.trained == 50 * 768
    lines = list(tuned.lines())
    assert "| before: CLIP and T5, while prompts are read | 4,885,371,136 parameters | 9.77 |" in lines
    assert "| then: autoencoder, while pictures are encoded | 83,819,683 parameters | 0.17 |" in lines
    assert "| CLIP, which stays | 123,060,480 parameters | 0.25 |" in lines


def test_a_prompt_is_as_long_as_the_run_would_train(tmp_path: Path, tiny: Path) -> None:
    tokenizer = shutil.copytree(tiny, tmp_path / "base") / "tokenizer" / "tokenizer_config.json"
    tokenizer.write_text(json.dumps({**json.loads(tokenizer.read_text()), "model_max_length": 24}))
    write_pairs([Pair(reference=random_panel(64, 64), target=random_panel(64, 64))], tmp_path / "pairs")
    config = TrainConfig(
        task="deblur", pairs=tmp_path / "pairs", out=tmp_path, backbone=str(tmp_path / "base"), kind="prompt"
    )
    tokens = room_for(FluxFill.load(tmp_path / "base", parts=("text_encoder",)))
    assert plan(config).counted.trained == tokens * 24, "and CLIP is 24 wide"


def test_a_prompt_keeps_less_than_a_lora() -> None:
    sizes = {"rank": 2, "targets": "paper", "panel": 64, "text": 24, "dtype": torch.float32, "fused": True}
    lora, prompt = count(tiny_config(), **sizes), count(tiny_config(), **sizes, tokens=5)
    assert prompt.trained == 5 * 24
    assert 0 < prompt.kept < lora.kept


def test_a_further_reference_counts() -> None:
    sizes = {"rank": 2, "targets": "paper", "panel": 64, "text": 24, "dtype": torch.float32, "fused": True}
    one, two = count(tiny_config(), **sizes), count(tiny_config(), **sizes, references=2)
    assert two.forward > 1.2 * one.forward
    assert two.kept > 1.2 * one.kept


@pytest.mark.parametrize("more", [0, 2])
def test_a_plan_counts_the_references_that_pairs_have(tiny: Path, tmp_path: Path, more: int) -> None:
    panel = random_panel(64, 64)
    write_pairs([Pair(reference=panel, target=panel, more=(panel,) * more)], tmp_path / "pairs")
    config = TrainConfig(task="deblur", pairs=tmp_path / "pairs", out=tmp_path, backbone=str(tiny))
    text = Folder.find(tiny).settings.max_sequence_length
    expected = count(
        Folder.find(tiny).config("transformer"), rank=config.rank, targets=config.targets, panel=64, text=text,
        dtype=torch.float32, fused=True, references=1 + more,
    )  # fmt: skip
    assert plan(config).counted.forward == expected.forward


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
