"""What can be trained: a LoRA from nothing, a LoRA from another adapter, prompt tokens; and that each resumes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anyrefill.backbone.adapters.files import read_passport
from anyrefill.backbone.fill import FluxFill, Part
from anyrefill.errors import UserError
from anyrefill.painter import load
from anyrefill.train import Note, TrainConfig, checkpoint, train, training
from panels import random_panel
from short_runs import close_after, short_run
from tiny_checkpoint import save_tiny_checkpoint


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("kinds")
    return short_run(folder, save_tiny_checkpoint(folder / "base"), steps=3)


@pytest.fixture(scope="module")
def first(config: TrainConfig) -> Path:
    """Return the adapter of a short run."""
    return finished(config)


def finished(config: TrainConfig) -> Path:
    *_, last = train(config)
    assert last.adapter is not None
    return last.adapter


def notes(config: TrainConfig) -> list[str]:
    return [record.text for record in training(config) if isinstance(record, Note)]


def assert_same(one: Path, other: Path) -> None:
    left, right = load_file(one), load_file(other)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_a_run_begins_with_another_adapter(config: TrainConfig, first: Path, tmp_path: Path) -> None:
    on = replace(config, out=tmp_path, start_from=str(first), steps=1, lr=1e-9)
    said = notes(on)
    assert said == [f"It begins with the weights of {first} (deblur, 3 steps)."]
    passport = read_passport(tmp_path / "adapter.safetensors")
    assert (passport.steps, passport.steps_before) == (1, 3)
    begun, came = load_file(first), load_file(tmp_path / "adapter.safetensors")
    assert any(weight.abs().max() > 0 for name, weight in begun.items() if "lora_B" in name)
    for name, weight in came.items():
        torch.testing.assert_close(weight, begun[name], atol=1e-7, rtol=0)


def test_going_on_from_an_adapter_resumes_bit_for_bit(config: TrainConfig, first: Path, tmp_path: Path) -> None:
    on = replace(config, out=tmp_path / "broken", start_from=str(first), ema=0.5)
    whole = finished(replace(on, out=tmp_path / "whole"))
    close_after(on, 1)
    assert notes(on) == []
    assert_same(tmp_path / "broken" / "adapter.safetensors", whole)


def test_a_run_ends_well_after_the_adapter_that_it_began_with_went(
    config: TrainConfig, first: Path, tmp_path: Path
) -> None:
    begun = tmp_path / "begun.safetensors"
    begun.write_bytes(first.read_bytes())
    for _ in train(replace(config, out=tmp_path / "run", start_from=str(begun), steps=2)):
        begun.unlink(missing_ok=True)
    passport = read_passport(tmp_path / "run" / "adapter.safetensors")
    assert (passport.steps, passport.steps_before) == (2, 3)


def test_a_run_that_goes_on_knows_what_it_began_with(config: TrainConfig, first: Path, tmp_path: Path) -> None:
    """It does not look again: the file may have gone, or be this run's own."""
    begun = tmp_path / "adapter.safetensors"
    begun.write_bytes(first.read_bytes())
    on = replace(config, out=tmp_path, start_from=str(begun), steps=2)
    close_after(on, 1)
    begun.unlink()
    assert notes(on) == []
    assert read_passport(begun).steps_before == 3
    assert notes(on) == [f"The run in {tmp_path} is finished: {begun} is there."]
    assert read_passport(begun).steps_before == 3


def test_a_state_of_an_earlier_version_goes_on(
    config: TrainConfig, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = replace(config, out=tmp_path, start_from=str(first), steps=2)
    monkeypatch.setattr(checkpoint, "vars", without_steps_before, raising=False)
    close_after(on, 1)
    monkeypatch.undo()
    (state,) = checkpoint.states(tmp_path / checkpoint.FOLDER)
    assert "steps_before" not in torch.load(state)
    assert notes(on) == []
    assert read_passport(tmp_path / "adapter.safetensors").steps_before == 3


def without_steps_before(state: checkpoint.State) -> dict[str, object]:
    return {name: value for name, value in state.__dict__.items() if name != "steps_before"}


def test_an_adapter_of_another_base_is_taken_on_and_that_is_said(
    config: TrainConfig, first: Path, tmp_path: Path
) -> None:
    other = save_tiny_checkpoint(tmp_path / "other", seed=1)
    (said,) = notes(replace(config, out=tmp_path / "run", backbone=str(other), start_from=str(first), steps=1))
    assert f"which was trained on another base: {config.backbone} (" in said
    assert "it paints rightly only after training" in said
    fingerprint = read_passport(first).fingerprint
    assert f"({fingerprint[:8]})" in said
    assert read_passport(tmp_path / "run" / "adapter.safetensors").fingerprint != fingerprint


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rank": 3}, "has rank 2 where this run has 3"),
        ({"alpha": 4.0}, "has alpha 2 where this run has 4.0"),
        ({"targets": "attention"}, "has targets attn.to_q attn.to_k .* where this run has attn.to_q"),
        ({"kind": "prompt"}, "has kind lora where this run has prompt"),
    ],
)
def test_an_adapter_of_other_settings_is_refused(
    config: TrainConfig, first: Path, tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        notes(replace(config, out=tmp_path, start_from=str(first), **changes))


def test_an_adapter_for_another_shape_is_refused(config: TrainConfig, first: Path, tmp_path: Path) -> None:
    wide = save_tiny_checkpoint(tmp_path / "wide", heads=4)
    with pytest.raises(UserError, match=r"does not fit this base: its transformer\..* is \(2, 32\), not \(2, 64\)"):
        notes(replace(config, out=tmp_path / "run", backbone=str(wide), start_from=str(first)))


def test_prompt_tokens_are_trained_and_paint(config: TrainConfig, tmp_path: Path) -> None:
    adapter = finished(replace(config, out=tmp_path, kind="prompt", tokens=5, validate="1", validate_every=2, lr=0.1))
    passport = read_passport(adapter)
    assert (passport.kind, passport.rank, passport.targets) == ("prompt", 5, ("token_embedding",))
    assert read_passport(tmp_path / "best.safetensors").kind == "prompt"
    (vectors,) = load_file(adapter).values()
    assert vectors.shape == (5, 24)
    assert not torch.equal(vectors[0], vectors[1]), "they began as one vector"
    painted = load("deblur", config.backbone, adapter)(picture(), caption="a", steps=2)
    plain = load("deblur", config.backbone, "none")(picture(), caption="a", steps=2)
    assert painted.size == plain.size
    assert painted.tobytes() != plain.tobytes()


@pytest.mark.parametrize("changes", [{}, {"attention": "clean_ref_text", "draws": 2}, {"checkpointing": True}])
def test_prompt_tokens_resume_bit_for_bit(config: TrainConfig, tmp_path: Path, changes: dict[str, object]) -> None:
    tuned = replace(config, out=tmp_path / "broken", kind="prompt", ema=0.5, **changes)
    whole = finished(replace(tuned, out=tmp_path / "whole"))
    close_after(tuned, 1)
    assert_same(finished(tuned), whole)
    assert read_passport(whole).rank == 50


def test_a_base_of_8_bits_is_trained_on_and_keeps_its_fingerprint(config: TrainConfig, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    eight = replace(config, out=tmp_path, quantize="int8", dtype="bfloat16")
    losses = [step.loss for step in train(eight)]
    plain = [step.loss for step in train(replace(eight, out=tmp_path / "plain", quantize=None))]
    assert losses == pytest.approx(plain, rel=0.02)
    assert losses != plain
    coarse, exact = (read_passport(out / "adapter.safetensors") for out in (tmp_path, tmp_path / "plain"))
    assert coarse.fingerprint == exact.fingerprint


@pytest.mark.parametrize(
    ("how", "sentence"),
    [("nf4", "Weights in nf4 need a GPU: give --device cuda"), ("int8", "Weights in int8 need torchao: pip install")],
)
def test_fewer_bits_that_are_not_to_be_had_are_refused(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, sentence: str
) -> None:
    monkeypatch.setattr("anyrefill.backbone.quantized.find_spec", lambda _name: None)
    with pytest.raises(UserError, match=sentence):
        notes(replace(config, out=tmp_path, quantize=how))


def test_parts_are_in_memory_one_after_the_other(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, together, bring, free = set[str](), list[set[str]](), FluxFill.bring, FluxFill.free

    def brought(backbone: FluxFill, *parts: Part) -> None:
        here.update(parts)
        together.append(set(here))
        bring(backbone, *parts)

    def freed(backbone: FluxFill, *parts: Part) -> None:
        here.difference_update(parts)
        free(backbone, *parts)

    monkeypatch.setattr(FluxFill, "bring", brought)
    monkeypatch.setattr(FluxFill, "free", freed)
    fresh = replace(config, out=tmp_path, cache=tmp_path / "cache", steps=1)
    finished(fresh)
    assert [parts for parts in together if parts] == [{"text_encoder", "text_encoder_2"}, {"vae"}, {"transformer"}]
    together.clear()
    here.clear()
    finished(replace(fresh, out=tmp_path / "again"))
    assert [parts for parts in together if parts] == [{"transformer"}], "what is encoded needs no encoders"


def picture() -> object:
    from anyrefill import images

    return images.to_pil(random_panel(64, 64, 9))
