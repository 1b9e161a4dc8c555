"""Adapters: added, saved, refused in a sentence, combined, merged and ejected."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anyrefill import Canvas, UserError
from anyrefill.backbone import Condition
from anyrefill.backbone.adapters.files import load_adapter, read_passport, save_adapter
from anyrefill.backbone.adapters.lora import (
    adapter_weights,
    add_lora,
    merge,
    merge_for_good,
    unload_adapter,
    weigh_adapters,
)
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.fill import FluxFill
from random_adapter import predict, save_random_adapter
from tiny_checkpoint import save_tiny_checkpoint

KEY = "transformer.transformer_blocks.0.attn.to_q.lora_A.weight"


def edit(
    path: Path, *, drop: str | None = None, rename: str | None = None, header: dict[str, str] | None = None
) -> None:
    """Write an adapter file again with something wrong."""
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys() if key != drop}  # noqa: SIM118
        metadata = file.metadata() if header is None else header
    if rename is not None:
        tensors[rename] = tensors.pop(KEY)
    save_file(tensors, path, metadata=metadata)


def test_an_untrained_lora_changes_nothing_and_is_all_that_trains(backbone: FluxFill) -> None:
    before = predict(backbone)
    parameters = add_lora(backbone, rank=4)
    assert torch.equal(predict(backbone), before)
    trainable = [weight for weight in backbone.transformer.parameters() if weight.requires_grad]
    assert {id(weight) for weight in trainable} == {id(weight) for weight in parameters}


def test_a_lora_begins_from_its_seed_and_leaves_the_global_one(base: Path) -> None:
    first, again, other = (FluxFill.load(base) for _ in range(3))
    state = torch.get_rng_state()
    weights = [add_lora(it, rank=4, seed=seed)[0] for it, seed in ((first, 3), (again, 3), (other, 4))]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_lora_is_float32_over_a_bfloat16_base_and_learns(base: Path) -> None:
    backbone = FluxFill.load(base, dtype=torch.bfloat16)
    parameters = add_lora(backbone, rank=4)
    assert {weight.dtype for weight in parameters} == {torch.float32}
    canvas = Canvas.stitch(torch.zeros(3, 32, 32), torch.zeros(3, 32, 32), torch.ones(1, 32, 32))
    condition = Condition.of(canvas, backbone.encode_text(["a"]), backbone)
    backbone.velocity(torch.randn(1, 8, 64), torch.tensor([0.5]), condition, 1.0).square().mean().backward()
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    assert len(gradients) == len(parameters)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


def test_an_adapter_comes_back_from_its_file(backbone: FluxFill, base: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "adapter.safetensors"
    passport = save_random_adapter(backbone, path)
    plain = predict(backbone)
    assert load_adapter(path, backbone) == passport == read_passport(path)
    loaded = predict(backbone)
    assert (loaded - plain).abs().max() > 0.1
    assert not any(weight.requires_grad for weight in backbone.transformer.parameters())
    again = tmp_path / "again.safetensors"
    save_adapter(again, backbone, passport)
    for key, tensor in load_file(again).items():
        assert torch.equal(tensor, load_file(path)[key])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["again.safetensors", "deep"]
    elsewhere = FluxFill.load(base, dtype=torch.bfloat16)
    assert load_adapter(path, elsewhere, trainable=True) == passport
    assert {w.dtype for w in elsewhere.transformer.parameters() if w.requires_grad} == {torch.float32}


def test_what_goes_on_training_begins_with_the_values_of_its_file(base: Path, tmp_path: Path) -> None:
    backbone = FluxFill.load(base, dtype=torch.bfloat16)
    passport = save_random_adapter(backbone, tmp_path / "a")
    load_adapter(tmp_path / "a", backbone, trainable=True)
    save_adapter(tmp_path / "again", backbone, passport)
    before, after = load_file(tmp_path / "a"), load_file(tmp_path / "again")
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())


def test_a_loaded_adapter_does_what_the_trained_one_did(backbone: FluxFill, tmp_path: Path) -> None:
    passport = save_random_adapter(backbone, tmp_path / "a")
    with torch.no_grad():
        for weight in add_lora(backbone, rank=4, alpha=6.0):
            weight.normal_(std=0.3)
    trained = predict(backbone)
    save_adapter(tmp_path / "b", backbone, passport)
    unload_adapter(backbone, "default")
    load_adapter(tmp_path / "b", backbone)
    assert torch.equal(predict(backbone), trained)


def test_weights_scale_adapters_and_none_of_them_is_the_base(backbone: FluxFill, tmp_path: Path) -> None:
    plain = predict(backbone)
    for name, seed in (("one", 1), ("two", 2)):
        save_random_adapter(backbone, tmp_path / name, seed=seed)
    for name in ("one", "two"):
        load_adapter(tmp_path / name, backbone, name=name, weight=0.5)
    assert adapter_weights(backbone.transformer) == {"one": 0.5, "two": 0.5}
    both = predict(backbone)
    weigh_adapters(backbone, {"one": 0.0, "two": 0.0})
    torch.testing.assert_close(predict(backbone), plain, atol=1e-6, rtol=0)
    weigh_adapters(backbone, {"two": 0.5})
    two = predict(backbone)
    assert (two - both).abs().max() > 1e-2
    weigh_adapters(backbone, {"one": 0.5, "two": 0.5})
    unload_adapter(backbone, "one")
    assert torch.equal(predict(backbone), two)
    unload_adapter(backbone, "two")
    assert torch.equal(predict(backbone), plain)
    with pytest.raises(UserError, match="no adapter 'one' is loaded; there are none"):
        weigh_adapters(backbone, {"one": 1.0})


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_eject_restores_every_bit(base: Path, tmp_path: Path, dtype: torch.dtype, bound: float) -> None:
    backbone = FluxFill.load(base, dtype=dtype)
    save_random_adapter(backbone, tmp_path / "a")
    load_adapter(tmp_path / "a", backbone, weight=0.8)
    before = {name: weight.clone() for name, weight in backbone.transformer.state_dict().items()}
    fingerprint, unmerged = backbone.fingerprint(), predict(backbone)
    merged = merge(backbone)
    assert not all(torch.equal(weight, before[name]) for name, weight in backbone.transformer.state_dict().items())
    torch.testing.assert_close(predict(backbone), unmerged, atol=bound, rtol=0)
    assert backbone.fingerprint() == fingerprint
    for forbidden in (
        lambda: merge(backbone),
        lambda: weigh_adapters(backbone, {"default": 1.0}),
        lambda: load_adapter(tmp_path / "a", backbone, name="b"),
    ):
        with pytest.raises(UserError, match="merged into the base: eject them first"):
            forbidden()
    merged.eject()
    assert all(torch.equal(weight, before[name]) for name, weight in backbone.transformer.state_dict().items())
    assert not any(weight.requires_grad for weight in backbone.transformer.parameters())
    assert torch.equal(predict(backbone), unmerged)


def test_merging_for_good_holds_nothing_twice(backbone: FluxFill, base: Path, tmp_path: Path) -> None:
    save_random_adapter(backbone, tmp_path / "a")
    other = FluxFill.load(base)
    for one, fold in ((backbone, merge), (other, merge_for_good)):
        load_adapter(tmp_path / "a", one, name="one", weight=0.8)
        load_adapter(tmp_path / "a", one, name="two", weight=0.3)
        fold(one)
    weights = {name: one for name, one in backbone.transformer.state_dict().items() if "lora_" not in name}
    merged = other.transformer.state_dict()
    assert merged.keys() == weights.keys(), "no factor is left"
    assert all(torch.equal(weight, weights[name]) for name, weight in merged.items())
    assert other.fingerprint() == backbone.fingerprint()
    with pytest.raises(UserError, match="merged into the base: eject them first"):
        load_adapter(tmp_path / "a", other)


def test_what_trains_goes_on_training_after_a_preview(backbone: FluxFill) -> None:
    parameters = add_lora(backbone, rank=2)
    merge(backbone).eject()
    assert all(weight.requires_grad for weight in parameters)
    assert sum(weight.requires_grad for weight in backbone.transformer.parameters()) == len(parameters)


def test_an_adapter_of_another_base_is_refused(backbone: FluxFill, tmp_path: Path) -> None:
    save_random_adapter(backbone, tmp_path / "a")
    other = FluxFill.load(save_tiny_checkpoint(tmp_path / "other", seed=1))
    with pytest.raises(UserError, match=r"was trained on another base, .*fill \(.{8}\), not on .*other"):
        load_adapter(tmp_path / "a", other)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_a_damaged_file_is_refused(backbone: FluxFill, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match="is not a whole safetensors file"):
        load_adapter(tmp_path / "a", backbone)


def test_a_half_written_file_is_refused(backbone: FluxFill, tmp_path: Path) -> None:
    save_random_adapter(backbone, tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="is not a whole safetensors file"):
        load_adapter(tmp_path / "a", backbone)


def test_a_missing_file_is_named(backbone: FluxFill, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no adapter file .*nowhere"):
        load_adapter(tmp_path / "nowhere", backbone)


@pytest.mark.parametrize("foreign", [False, True])
def test_missing_and_unknown_keys_are_named(backbone: FluxFill, tmp_path: Path, foreign: bool) -> None:
    plain = predict(backbone)
    save_random_adapter(backbone, tmp_path / "a")
    edit(tmp_path / "a", drop=KEY)
    with pytest.raises(UserError, match=rf"lacks keys: {KEY} \(1 in all\)"):
        load_adapter(tmp_path / "a", backbone, foreign=foreign)
    save_random_adapter(backbone, tmp_path / "a")
    edit(tmp_path / "a", rename="transformer.somewhere.lora_A.weight")
    with pytest.raises(UserError, match=r"keys that do not belong to it: transformer.somewhere.lora_A.weight \(1"):
        load_adapter(tmp_path / "a", backbone, foreign=foreign)
    assert torch.equal(predict(backbone), plain)


def test_a_file_without_passport_needs_a_word(backbone: FluxFill, tmp_path: Path) -> None:
    save_random_adapter(backbone, tmp_path / "a")
    load_adapter(tmp_path / "a", backbone, name="ours")
    ours = predict(backbone)
    unload_adapter(backbone, "ours")
    with safe_open(tmp_path / "a", framework="pt") as file:
        header = {key: value for key, value in file.metadata().items() if key != "anyrefill"}
    edit(tmp_path / "a", header=header)
    with pytest.raises(UserError, match="has no anyrefill passport"):
        load_adapter(tmp_path / "a", backbone)
    assert load_adapter(tmp_path / "a", backbone, foreign=True) is None
    assert torch.equal(predict(backbone), ours)


def test_a_foreign_adapter_for_other_widths_is_refused(backbone: FluxFill, tmp_path: Path) -> None:
    tensors = {
        "transformer.x_embedder.lora_A.weight": torch.zeros(4, 64),
        "transformer.x_embedder.lora_B.weight": torch.zeros(32, 4),
    }
    save_file(tensors, tmp_path / "dev")
    with pytest.raises(UserError, match=r"does not fit this base: x_embedder is 384 -> 32, .*\(4, 64\)"):
        load_adapter(tmp_path / "dev", backbone, foreign=True)


def test_a_passport_from_another_version_is_refused(backbone: FluxFill, tmp_path: Path) -> None:
    passport = save_random_adapter(backbone, tmp_path / "a")
    assert Passport.from_json(passport.to_json()) == passport
    entries = {**json.loads(passport.to_json()), "smell": "roses"}
    edit(tmp_path / "a", header={"anyrefill": json.dumps(entries)})
    with pytest.raises(UserError, match=r"its passport cannot be read .*smell"):
        load_adapter(tmp_path / "a", backbone)


@pytest.mark.parametrize(
    ("name", "value"),
    [("rank", "4"), ("targets", "attn.to_q"), ("targets", [1]), ("steps_paint", 1.5), ("temperature_paint", "hot")],
)
def test_a_forged_passport_is_refused(backbone: FluxFill, tmp_path: Path, name: str, value: object) -> None:
    passport = save_random_adapter(backbone, tmp_path / "a")
    edit(tmp_path / "a", header={"anyrefill": json.dumps({**json.loads(passport.to_json()), name: value})})
    with pytest.raises(UserError, match=f"its passport cannot be read .*{name} cannot be"):
        load_adapter(tmp_path / "a", backbone)


def test_a_passport_too_deep_is_refused(backbone: FluxFill, tmp_path: Path) -> None:
    save_random_adapter(backbone, tmp_path / "a")
    edit(tmp_path / "a", header={"anyrefill": "[" * 99_999})
    with pytest.raises(UserError, match="its passport cannot be read"):
        load_adapter(tmp_path / "a", backbone)


def test_a_passport_that_lies_is_not_saved(backbone: FluxFill, tmp_path: Path) -> None:
    passport = save_random_adapter(backbone, tmp_path / "a")
    load_adapter(tmp_path / "a", backbone)
    for lie in ({"rank": 5}, {"alpha": 1.0}, {"targets": ("attn.to_q",)}, {"fingerprint": "0" * 64}):
        with pytest.raises(UserError):
            save_adapter(tmp_path / "b", backbone, replace(passport, **lie))
    with pytest.raises(UserError, match="no adapter 'other' to save"):
        save_adapter(tmp_path / "b", backbone, passport, name="other")
    assert not (tmp_path / "b").exists()


def test_wrong_settings_are_one_sentence(backbone: FluxFill, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rank is at least 1, not 0"):
        add_lora(backbone, rank=0)
    with pytest.raises(UserError, match="no list of LoRA targets 'papre'; there are all, attention, paper"):
        add_lora(backbone, rank=1, targets="papre")
    with pytest.raises(UserError, match=r"no layer that ends in 'attn.to_z'"):
        add_lora(backbone, rank=1, targets=("attn.to_z",))
    add_lora(backbone, rank=1)
    with pytest.raises(UserError, match="there is an adapter 'default' already"):
        add_lora(backbone, rank=1)
    save_random_adapter(backbone, tmp_path / "a")
    with pytest.raises(UserError, match="there is an adapter 'default' already"):
        load_adapter(tmp_path / "a", backbone)


def test_an_interrupted_save_leaves_the_old_file(
    backbone: FluxFill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passport = save_random_adapter(backbone, tmp_path / "a")
    old = (tmp_path / "a").read_bytes()
    load_adapter(tmp_path / "a", backbone)

    def fail(_descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(UserError, match="disk full"):
        save_adapter(tmp_path / "a", backbone, replace(passport, steps=9))
    assert (tmp_path / "a").read_bytes() == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
