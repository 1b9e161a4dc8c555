"""The seam and FluxFill: what a base must be, what it is fed, and how it is told apart."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor, nn

from anyrefill import Canvas, UserError
from anyrefill.backbone import Backbone, Condition
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.precision import fast_dtype, multiplies_bfloat16
from anyrefill.backbone.tiny import TinyFill
from tiny_checkpoint import save_tiny_checkpoint

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def copied(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "fill"))


def canvas(seed: int = 0, mask: Tensor | None = None) -> Canvas:
    pixels = 2 * torch.rand(3, 32, 64, generator=Generator().manual_seed(seed)) - 1
    return Canvas.stitch(*pixels.chunk(2, dim=-1), mask=torch.ones(1, 32, 32) if mask is None else mask)


def predict(backbone: FluxFill, guidance: float = 1.0, sigma: float = 0.7) -> Tensor:
    condition = Condition.of(canvas(), backbone.encode_text(["a"]), backbone)
    noise = torch.randn(1, 8, 64, generator=Generator().manual_seed(1))
    with torch.no_grad():
        return backbone.velocity(noise, torch.tensor([sigma]), condition, guidance)


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_both_backbones_are_backbones(backbone: FluxFill) -> None:
    assert isinstance(TinyFill(), Backbone)
    assert isinstance(backbone, Backbone)


def test_a_base_says_how_to_use_it(backbone: FluxFill, base: Path, copied: Path) -> None:
    assert (backbone.settings.max_sequence_length, backbone.settings.guidance, backbone.settings.panel) == (24, 1, 64)
    assert backbone.encode_text(["a", "b"]).embeds.shape == (2, 24, 32)
    assert FluxFill.load(base, max_sequence_length=7).encode_text(["a"]).embeds.shape == (1, 7, 32)
    (copied / "anyrefill.json").unlink()
    assert FluxFill.load(copied).settings.max_sequence_length == 512


def test_one_canvas_is_a_batch_of_one(backbone: FluxFill) -> None:
    text = backbone.encode_text(["a"])
    one, batch = Condition.of(canvas(), text, backbone), Condition.of([canvas()], text, backbone)
    assert torch.equal(one.fill, batch.fill)
    assert one.fill.shape == (1, 8, 320)
    assert one.img_ids.tolist()[-1] == [0, 1, 3]


def test_grey_masks_are_cut_or_kept(backbone: FluxFill) -> None:
    grey = torch.full((1, 32, 32), 0.25)
    grey[:, 16:] = 0.75
    text = backbone.encode_text(["a"])
    assert Condition.of(canvas(mask=grey), text, backbone).fill[..., 64:].unique().tolist() == [0, 1]
    backbone.mask_rule = "soft"
    soft = Condition.of(canvas(mask=grey), text, backbone)
    assert soft.fill[..., 64:].unique().tolist() == [0, 0.25, 0.75]
    pixels = canvas().pixels * (1 - canvas(mask=grey).mask)
    seen = Condition.of(replace(canvas(), pixels=pixels, mask=torch.zeros(1, 32, 64)), text, backbone)
    assert torch.equal(soft.fill[..., :64], seen.fill[..., :64])


def test_the_hole_hides_the_target(backbone: FluxFill) -> None:
    text, one = backbone.encode_text(["a"]), canvas()
    other = replace(one, pixels=torch.where(one.mask.bool(), torch.full_like(one.pixels, torch.nan), one.pixels))
    fills = [Condition.of(it, text, backbone).fill for it in (one, other)]
    assert torch.equal(*fills)


def test_the_posterior_is_its_mean_or_a_seeded_draw(backbone: FluxFill) -> None:
    pixels = canvas().pixels[None]
    mean = backbone.encode(pixels)
    assert torch.equal(mean, backbone.encode(pixels))
    backbone.vae_rule = "sample"
    drawn = [backbone.encode(pixels, [Generator().manual_seed(seed)]) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], mean)


def test_decode_stays_in_range(backbone: FluxFill) -> None:
    pixels = backbone.decode(100 * torch.randn(1, 16, 4, 8))
    assert pixels.shape == (1, 3, 32, 64)
    assert pixels.abs().max() == 1


def test_guidance_matters_where_the_base_has_it(backbone: FluxFill, tmp_path: Path) -> None:
    assert not torch.equal(predict(backbone, 1.0), predict(backbone, 30.0))
    unguided = FluxFill.load(save_tiny_checkpoint(tmp_path / "unguided", guidance_embeds=False))
    assert torch.equal(predict(unguided, 1.0), predict(unguided, 30.0))


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")  # torch, under autocast
@pytest.mark.parametrize("autocast", [False, True])
def test_time_reaches_its_embedding_in_float32(base: Path, autocast: bool) -> None:
    backbone = FluxFill.load(base, dtype=torch.float32 if autocast else torch.bfloat16)
    seen: list[Tensor] = []

    def note(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen.append(arguments[0])

    backbone.transformer.time_text_embed.time_proj.register_forward_pre_hook(note)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        predict(backbone, sigma=0.690687)
    assert seen[0].dtype == torch.float32
    assert seen[0].item() == pytest.approx(690.687, abs=1e-3)


def test_bfloat16_comes_back_as_float32(base: Path) -> None:
    backbone = FluxFill.load(base, dtype=torch.bfloat16)
    assert backbone.dtype == torch.bfloat16
    assert predict(backbone).dtype == backbone.encode(canvas().pixels[None]).dtype == torch.float32


def test_a_fingerprint_is_of_the_weights_not_of_their_dtype(base: Path, loaded: FluxFill, copied: Path) -> None:
    known = loaded.fingerprint()
    assert FluxFill.load(base, dtype=torch.bfloat16).fingerprint() == known
    weights = load_file(copied / "transformer" / WEIGHTS)
    weights["proj_out.weight"][0, 0] += 0.1
    save_file(weights, copied / "transformer" / WEIGHTS)
    assert FluxFill.load(copied).fingerprint() != known


def test_freed_parts_are_gone(backbone: FluxFill) -> None:
    condition = Condition.of(canvas(), backbone.encode_text(["a"]), backbone)
    backbone.free("text_encoder", "vae")
    with pytest.raises(RuntimeError, match="the text encoders were freed"):
        backbone.encode_text(["a"])
    with pytest.raises(RuntimeError, match="the autoencoder was freed"):
        backbone.encode(canvas().pixels[None])
    assert backbone.velocity(torch.randn(1, 8, 64), torch.tensor([0.5]), condition, 1.0).shape == (1, 8, 64)
    assert len(backbone.fingerprint()) == 64


def test_a_base_is_frozen(backbone: FluxFill) -> None:
    assert not any(weight.requires_grad for weight in backbone.transformer.parameters())
    assert not backbone.transformer.training


@pytest.mark.parametrize(
    ("part", "file"),
    [
        ("transformer", "config.json"),
        ("vae", "config.json"),
        ("text_encoder_2", "config.json"),
        ("tokenizer", "tokenizer_config.json"),
        ("scheduler", "scheduler_config.json"),
    ],
)
def test_a_missing_part_is_named(copied: Path, part: str, file: str) -> None:
    shutil.rmtree(copied / part)
    with pytest.raises(UserError, match=rf"is not a FLUX.1-Fill folder .* it has no {part}/{file}"):
        FluxFill.load(copied)


@pytest.mark.parametrize("part", ["tokenizer", "tokenizer_2"])
def test_a_tokenizer_without_words_is_refused(copied: Path, part: str) -> None:
    (copied / part / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=f"is incomplete: its {part} has no tokenizer.json or"):
        FluxFill.load(copied)


def test_plain_flux_is_no_fill_model(tmp_path: Path) -> None:
    folder = save_tiny_checkpoint(tmp_path / "dev", in_channels=64)
    with pytest.raises(UserError, match=r"dev is not a Fill model: .* reads 64 channels .* a Fill model reads 384"):
        FluxFill.load(folder)


def drop_weight(path: Path) -> None:
    weights = load_file(path)
    del weights["x_embedder.weight"]
    save_file(weights, path)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def widen(path: Path) -> None:
    weights = load_file(path)
    weights["x_embedder.weight"] = torch.zeros(32, 100)
    save_file(weights, path)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (Path.unlink, "cannot read the transformer of"),
        (halve, "cannot read the transformer of"),
        (widen, "cannot read the transformer of"),
        (drop_weight, r"the transformer of .* is incomplete: it lacks x_embedder.weight \(1 in all\)"),
    ],
)
def test_damaged_weights_are_refused(copied: Path, damage: Callable[[Path], None], sentence: str) -> None:
    damage(copied / "transformer" / WEIGHTS)
    with pytest.raises(UserError, match=sentence):
        FluxFill.load(copied)


@pytest.mark.parametrize("change", [{"use_dynamic_shifting": False}, {"max_shift": 1.3}, {"max_image_seq_len": 8192}])
def test_another_schedule_is_refused(copied: Path, change: dict[str, float]) -> None:
    FlowMatchEulerDiscreteScheduler(**{"use_dynamic_shifting": True, **change}).save_pretrained(copied / "scheduler")
    with pytest.raises(UserError, match=r"another noise schedule than FLUX.1-Fill"):
        FluxFill.load(copied)


def test_broken_settings_are_refused(copied: Path) -> None:
    (copied / "anyrefill.json").write_text("{")
    with pytest.raises(UserError, match=r"anyrefill.json is not valid JSON"):
        FluxFill.load(copied)
    (copied / "anyrefill.json").write_text("[]")
    with pytest.raises(UserError, match=r"anyrefill.json holds no JSON object"):
        FluxFill.load(copied)


@pytest.mark.parametrize(
    ("key", "value"), [("panel", "128"), ("guidance", "high"), ("squares_only", 1), ("panel", True)]
)
def test_settings_of_another_kind_are_refused(copied: Path, key: str, value: object) -> None:
    (copied / "anyrefill.json").write_text(json.dumps({key: value}))
    with pytest.raises(UserError, match=f"anyrefill.json is damaged: its {key} cannot be {value!r}"):
        FluxFill.load(copied)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("scheduler/scheduler_config.json", "cannot read the scheduler of"),
        ("tokenizer/tokenizer.json", "cannot read the tokenizer of"),
        ("tokenizer_2/tokenizer.json", "cannot read the tokenizer_2 of"),
    ],
)
def test_a_damaged_part_without_weights_is_refused(copied: Path, file: str, sentence: str) -> None:
    (copied / file).write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(UserError, match=sentence):
        FluxFill.load(copied)


def test_an_autoencoder_that_does_not_tell_its_latents_is_refused(copied: Path) -> None:
    path = copied / "vae" / "config.json"
    path.write_text(
        json.dumps({key: kept for key, kept in json.loads(path.read_text()).items() if key != "latent_channels"})
    )
    with pytest.raises(UserError, match=r"is damaged: its vae/config.json has no latent_channels"):
        FluxFill.load(copied)


@pytest.mark.parametrize("name", ["models/my--flux", "models/flux-"])
def test_a_name_that_the_hub_refuses_is_told(name: str) -> None:
    with pytest.raises(UserError, match=f"cannot fetch {name!r}, which is no folder here either"):
        FluxFill.load(name)


def test_latents_must_match_the_autoencoder(copied: Path) -> None:
    rewrite(copied / "transformer" / "config.json", out_channels=32)
    with pytest.raises(UserError, match="transformer and autoencoder differ in their latents"):
        FluxFill.load(copied)


def test_a_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no base model '/nowhere/at/all': it is neither a folder nor a hub id"):
        FluxFill.load("/nowhere/at/all")

    def offline(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no network and nothing cached")

    monkeypatch.setattr("anyrefill.backbone.folder.snapshot_download", offline)
    with pytest.raises(UserError, match=r"cannot fetch 'black-forest-labs/FLUX.1-Fill-dev', .* no network"):
        FluxFill.load("black-forest-labs/FLUX.1-Fill-dev")


def test_a_hub_id_is_fetched_part_by_part(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, list[str]] = {}

    def fetch(hub_id: str, allow_patterns: list[str]) -> str:
        asked[hub_id] = allow_patterns
        return str(base)

    monkeypatch.setattr("anyrefill.backbone.folder.snapshot_download", fetch)
    assert FluxFill.load("someone/fill").name == "someone/fill"
    assert "transformer/*" in asked["someone/fill"]
    assert not any(pattern.startswith("*") for pattern in asked["someone/fill"])


@pytest.mark.parametrize(
    ("found", "expected"),
    [({"avx2": True}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"bf16": True}, True)],
)
def test_bfloat16_is_taken_where_the_processor_multiplies_it(
    found: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert multiplies_bfloat16() == expected
    assert fast_dtype("cpu") == (torch.bfloat16 if expected else torch.float32)
    assert fast_dtype("cuda:1") == torch.bfloat16
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not multiplies_bfloat16(), "torch's own products convert number by number"
