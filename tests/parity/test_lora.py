"""Our adapter files load into diffusers' FluxFillPipeline and do there what they do here."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FluxFillPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Generator, Tensor

from anyrefill import Canvas
from anyrefill.backbone.adapters.files import load_adapter, save_adapter
from anyrefill.backbone.adapters.lora import PAPER, add_lora, merge, weigh_adapters
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.fill import FluxFill
from anyrefill.sample import sampling

BOUND = 2e-5
"""Of latents of deviation about 1 after 4 steps, merged or not; measured 4e-6."""
STEPS, PROMPT, SEED = 4, "a red kite", 7
Load = Callable[[Path], FluxFillPipeline]


def save_random_adapter(path: Path, folder: Path, *, seed: int, rank: int = 4, alpha: float = 6.0) -> Path:
    """Save a LoRA that changes what is painted, with alpha unlike its rank."""
    backbone = FluxFill.load(folder)
    parameters = add_lora(backbone, rank=rank, alpha=alpha, seed=seed)
    generator = Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in parameters:
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    passport = Passport(
        task="test", base=backbone.name, fingerprint=backbone.fingerprint(), rank=rank, alpha=alpha, targets=PAPER
    )
    save_adapter(path, backbone, passport)
    return path


@pytest.fixture(scope="module")
def adapters(guided: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return [
        save_random_adapter(folder / "one.safetensors", guided, seed=1),
        save_random_adapter(folder / "two.safetensors", guided, seed=2, rank=3),
    ]


@pytest.fixture(autouse=True)
def mean_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, _generator: self.mode())


@torch.no_grad()
def ours(backbone: FluxFill, canvas: Canvas) -> Tensor:
    *_, last = sampling(backbone, [canvas], [PROMPT], seeds=[SEED], steps=STEPS, guidance=3.5)
    return last.latents


def theirs(pipeline: FluxFillPipeline, canvas: Canvas) -> Tensor:
    noise = torch.randn(1, 16, 8, 16, generator=Generator().manual_seed(SEED))
    return pipeline(
        prompt=PROMPT,
        image=(canvas.pixels[None] + 1) / 2,
        mask_image=canvas.mask[None],
        height=64,
        width=128,
        num_inference_steps=STEPS,
        guidance_scale=3.5,
        latents=FluxFillPipeline._pack_latents(noise, 1, 16, 8, 16),
        max_sequence_length=24,
        output_type="latent",
    ).images


def test_a_saved_adapter_paints_the_same_in_diffusers(
    guided: Path, pipeline_of: Load, canvases: list[Canvas], adapters: list[Path]
) -> None:
    pipeline, backbone = pipeline_of(guided), FluxFill.load(guided)
    plain = ours(backbone, canvases[0])
    pipeline.load_lora_weights(str(adapters[0].parent), weight_name=adapters[0].name)
    expected = theirs(pipeline, canvases[0])
    load_adapter(adapters[0], backbone)
    unmerged = ours(backbone, canvases[0])
    assert (expected - plain).abs().max() > 0.1, "the adapter must matter for this to prove anything"
    torch.testing.assert_close(unmerged, expected, atol=BOUND, rtol=0)
    merged = merge(backbone)
    torch.testing.assert_close(ours(backbone, canvases[0]), expected, atol=BOUND, rtol=0)
    merged.eject()
    assert torch.equal(ours(backbone, canvases[0]), unmerged)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
def test_two_adapters_together_paint_the_same_in_diffusers(
    guided: Path, pipeline_of: Load, canvases: list[Canvas], adapters: list[Path]
) -> None:
    pipeline, backbone = pipeline_of(guided), FluxFill.load(guided)
    for name, path in zip(("one", "two"), adapters, strict=True):
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=name)
        load_adapter(path, backbone, name=name)
    pipeline.set_adapters(["one", "two"], [0.7, 0.4])
    weigh_adapters(backbone, {"one": 0.7, "two": 0.4})
    expected = theirs(pipeline, canvases[0])
    torch.testing.assert_close(ours(backbone, canvases[0]), expected, atol=BOUND, rtol=0)
    merge(backbone)
    torch.testing.assert_close(ours(backbone, canvases[0]), expected, atol=BOUND, rtol=0)
