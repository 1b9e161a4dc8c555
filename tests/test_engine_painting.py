"""The engine behind the painter: which attention paints, what is noted, what is refused, what stays as it was."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor

import anyrefill
from anyrefill import Canvas, UserError, cli, images
from anyrefill.backbone import Attention, Condition
from anyrefill.backbone.adapters.files import load_adapter
from anyrefill.backbone.adapters.lora import TARGETS, merge
from anyrefill.backbone.engine import forward
from anyrefill.backbone.engine.layers import Layers
from anyrefill.backbone.engine.passes import Prefix, prefilled
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.tiny import TinyFill
from anyrefill.sample import sample
from panels import random_panel
from random_adapter import save_random_adapter


@pytest.fixture(scope="module")
def clean_adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an adapter whose passport says that it was trained with a clean reference."""
    path = tmp_path_factory.mktemp("clean") / "adapter.safetensors"
    with safe_open(tiny / "adapters" / "colorization.safetensors", framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        header = file.metadata()
    header["anyrefill"] = json.dumps({**json.loads(header["anyrefill"]), "attention": "clean_ref"})
    save_file(tensors, path, metadata=header)
    return path


def canvas(*, known: bool = False) -> Canvas:
    mask = torch.ones(1, 64, 64)
    mask[:, :40] = not known
    return Canvas.stitch(random_panel(64, 64, 1), random_panel(64, 64, 2), mask)


def test_the_adapter_says_how_to_attend(tiny: Path, clean_adapter: Path) -> None:
    def load(adapter: Path, attention: str | None = None) -> anyrefill.Painter:
        return anyrefill.load("colorization", backbone=tiny, adapter=adapter, attention=attention)

    assert (load(clean_adapter).attention, load(clean_adapter).notes) == ("clean_ref", ())
    assert load(tiny / "adapters" / "colorization.safetensors").attention == "full", "files of before say nothing"
    other = load(clean_adapter, "full")
    assert other.attention == "full"
    assert other.notes == (
        "What paints was trained with clean_ref attention, not with full: expect worse pictures.",
    )  # fmt: skip
    with pytest.raises(UserError, match="no attention 'causal'; there are full"):
        load(clean_adapter, "causal")


@pytest.mark.parametrize("attention", ["full", "clean_ref_text"])
def test_the_condition_is_multiplied_once_beside_a_merged_adapter(
    tiny: Path, tmp_path: Path, attention: Attention
) -> None:
    """Five sixths of the embedder's channels do not change; an adapter on it must not bring them back into a step."""
    backbone = FluxFill.load(tiny)
    save_random_adapter(backbone, tmp_path / "all.safetensors", targets=TARGETS["all"])
    load_adapter(tmp_path / "all.safetensors", backbone)

    def painted() -> Tensor:
        return sample(backbone, [canvas()], ["a"], seeds=[0], steps=2, guidance=1.0, attention=attention)[0]

    beside, calls = painted(), list[int]()
    backbone.transformer.x_embedder.register_forward_hook(lambda *_: calls.append(1))
    merge(backbone)
    torch.testing.assert_close(painted(), beside, atol=1e-4, rtol=0)
    assert not calls


@torch.no_grad()
def test_the_field_is_the_velocity(tiny: Path) -> None:
    backbone, canvases = FluxFill.load(tiny), [canvas(), canvas(known=True)]
    condition = Condition.of(canvases, backbone.encode_text(["a", "b"]), backbone)
    x = torch.randn(2, 32, 64)
    field = backbone.field(condition, 1.0, [0.9, 0.3, 0.0], "full")
    for sigma in (0.9, 0.3):
        expected = backbone.velocity(x, torch.full((2,), sigma), condition, 1.0)
        torch.testing.assert_close(field(x, sigma), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("attention", ["clean_ref", "clean_ref_text"])
def test_an_adapter_beside_the_weights_paints_as_one_in_them(
    tiny: Path, clean_adapter: Path, attention: Attention
) -> None:
    merged = anyrefill.load("colorization", backbone=tiny, adapter=clean_adapter, attention=attention).backbone
    beside, bare = FluxFill.load(tiny), FluxFill.load(tiny)
    load_adapter(clean_adapter, beside)
    first, second, third = (
        sample(backbone, [canvas()], ["a"], seeds=[0], steps=3, guidance=1.0, attention=attention)[0]
        for backbone in (merged, beside, bare)
    )
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)
    assert (first - third).abs().max() > 0.01


@pytest.mark.parametrize("attention", ["full", "clean_ref", "clean_ref_text"])
def test_kept_pixels_stay_and_company_changes_nothing(tiny: Path, attention: Attention) -> None:
    backbone, canvases = FluxFill.load(tiny), [canvas(known=True), canvas()]
    together = sample(backbone, canvases, ["a", "b"], seeds=[3, 4], steps=3, attention=attention)
    kept = canvases[0].panel(canvases[0].mask) == 0
    assert torch.equal(together[0] * kept, canvases[0].panel(canvases[0].pixels) * kept)
    for index, prompt in enumerate("ab"):
        [alone] = sample(
            backbone, canvases[index : index + 1], [prompt], seeds=[3 + index], steps=3, attention=attention
        )
        torch.testing.assert_close(alone, together[index], atol=1e-4, rtol=0)


@pytest.mark.parametrize("strength", [{}, {"reference_guidance": 2.0, "caption_guidance": 2.0}])
@pytest.mark.parametrize("attention", ["full", "clean_ref", "clean_ref_text"])
def test_seeds_of_one_canvas_share_what_is_known(
    tiny: Path, attention: Attention, strength: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seeds of each of two canvases: the clean tokens of each pass once, and all paint as they do alone."""
    backbone, canvases, rows = FluxFill.load(tiny), [canvas(known=True), canvas()], list[int]()

    def counted(layers: Layers, image: Tensor, *others: *tuple[Any, ...]) -> Prefix:
        rows.append(len(image))
        return prefilled(layers, image, *others)

    monkeypatch.setattr(forward, "prefilled", counted)
    run = {"steps": 2, "attention": attention, **strength}
    together = sample(backbone, canvases, ["a", "b"], seeds=[3, 4, 5, 6], **run)
    assert rows == [] if attention == "full" else set(rows) == {2}
    for index, painted in enumerate(together):
        own = index // 2
        [alone] = sample(backbone, [canvases[own]], ["ab"[own]], seeds=[3 + index], **run)
        torch.testing.assert_close(painted, alone, atol=1e-4, rtol=0)
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("solver", ["ab2", "ab3", "unipc2"])
def test_solvers_paint(tiny: Path, solver: anyrefill.flow.Solver) -> None:
    """Towards the same picture: closer to many Euler steps than to other noise."""
    backbone = FluxFill.load(tiny)
    many, other = (sample(backbone, [canvas()], [""], seeds=[seed], steps=40)[0] for seed in (0, 1))
    few = sample(backbone, [canvas()], [""], seeds=[0], steps=10, solver=solver)[0]
    assert (few - many).norm() < 0.2 * (other - many).norm()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="TinyFill knows full attention only, not clean_ref"):
        sample(TinyFill(), [canvas()], [""], seeds=[0], attention="clean_ref")


def test_the_command_line_takes_both(
    as_micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    images.save(images.to_pil(random_panel(64, 64)), Path("photo.png"))
    asked = ["--solver", "ab2", "--attention", "clean_ref_text", "--steps", "2", "--out", "clean.png"]
    cli.main(["paint", "colorization", "photo.png", *asked])
    said = capsys.readouterr()
    assert said.out == "clean.png\n"
    assert "note: What paints was trained with full attention, not with clean_ref_text" in said.err
    cli.main(["paint", "colorization", "photo.png", "--steps", "2", "--out", "full.png"])
    assert Path("clean.png").read_bytes() != Path("full.png").read_bytes()
    with pytest.raises(SystemExit):
        cli.main(["paint", "colorization", "photo.png", "--solver", "rk4"])
    assert "Expected one of ('euler', 'ab2', 'ab3', 'unipc2')" in capsys.readouterr().err


def test_the_noise_is_the_same_in_every_mode(tiny: Path) -> None:
    """One step from pure noise: what is known already is there, bit for bit the masked latents' own."""
    backbone = FluxFill.load(tiny)
    condition = Condition.of([canvas()], backbone.encode_text([""]), backbone)
    x = torch.randn(1, 32, 64, generator=Generator().manual_seed(0))
    known = condition.fill[..., -256:].amax(-1) == 0
    arrived = x - backbone.field(condition, 1.0, [1.0], "clean_ref")(x, 1.0)
    torch.testing.assert_close(arrived[known], condition.fill[..., :64][known], atol=1e-5, rtol=0)
