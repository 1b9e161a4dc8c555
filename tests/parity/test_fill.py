"""FluxFill and its sampling equal diffusers' FluxFillPipeline on the same checkpoint, to float32 rounding."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxFillPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.pipelines.flux.pipeline_flux_fill import calculate_shift
from torch import Generator, Tensor

from anyrefill import Canvas, flow
from anyrefill.backbone import Condition
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.latents import image_ids, pack, pack_mask, unpack
from anyrefill.sample import sample, sampling

BOUND = 2e-5
"""Of latents of deviation about 1 after 8 steps; measured 5e-6."""
STEPS, GUIDANCE, PROMPTS, SEEDS = 8, 3.5, ["a red kite", "the same room at night"], [11, 12]
Load = Callable[[Path], FluxFillPipeline]


def drawn_noise(seeds: list[int]) -> Tensor:
    """The noise ``sampling`` draws where the autoencoder has drawn from the same generators before it."""
    noises = []
    for seed in seeds:
        generator = Generator().manual_seed(seed)
        torch.randn(1, 16, 8, 16, generator=generator)
        noises.append(torch.randn(16, 8, 16, generator=generator))
    return torch.stack(noises)


def run_diffusers(pipeline: FluxFillPipeline, canvases: list[Canvas], noise: Tensor, output: str) -> Tensor:
    pixels = torch.stack([canvas.pixels for canvas in canvases])
    return pipeline(
        prompt=PROMPTS[: len(canvases)],
        image=(pixels + 1) / 2,
        mask_image=torch.stack([canvas.mask for canvas in canvases]),
        height=64,
        width=128,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=[Generator().manual_seed(seed) for seed in SEEDS[: len(canvases)]],
        latents=FluxFillPipeline._pack_latents(noise, len(canvases), 16, 8, 16),
        max_sequence_length=24,
        output_type=output,
    ).images


def test_rearrangements_are_those_of_diffusers_bit_for_bit() -> None:
    latents, mask = torch.randn(2, 16, 8, 16), torch.rand(2, 1, 64, 128)
    tokens = FluxFillPipeline._pack_latents(latents, 2, 16, 8, 16)
    assert torch.equal(pack(latents), tokens)
    assert torch.equal(unpack(tokens, 64, 128), FluxFillPipeline._unpack_latents(tokens, 64, 128, 8))
    ids = FluxFillPipeline._prepare_latent_image_ids(2, 4, 8, torch.device("cpu"), torch.float32)
    assert torch.equal(image_ids(64, 128), ids)
    assert pack_mask(mask).shape == (2, 32, 256)


@torch.no_grad()
def test_text_is_encoded_as_diffusers_does(checkpoint: Path, pipeline_of: Load) -> None:
    prompts = [*PROMPTS, "", "a prompt that is much longer than the twenty four tokens it may have"]
    embeds, pooled, _ = pipeline_of(checkpoint).encode_prompt(prompts, max_sequence_length=24)
    text = FluxFill.load(checkpoint).encode_text(prompts)
    assert torch.equal(text.embeds, embeds)
    assert torch.equal(text.pooled, pooled)


@torch.no_grad()
def test_condition_is_that_of_diffusers(guided: Path, pipeline_of: Load, canvases: list[Canvas]) -> None:
    backbone, pipeline = FluxFill.load(guided, vae_rule="sample"), pipeline_of(guided)
    condition = Condition.of(
        canvases, backbone.encode_text(PROMPTS), backbone, generators=[Generator().manual_seed(s) for s in SEEDS]
    )
    masks = torch.stack([canvas.mask for canvas in canvases])
    mask, masked = pipeline.prepare_mask_latents(
        masks, torch.stack([canvas.pixels for canvas in canvases]) * (1 - masks), 2, 16, 1, 64, 128,
        torch.float32, torch.device("cpu"), [Generator().manual_seed(seed) for seed in SEEDS],
    )  # fmt: skip
    assert torch.equal(condition.fill[..., -256:], mask)
    torch.testing.assert_close(condition.fill[..., :-256], masked, atol=1e-5, rtol=0)  # products round by alignment


@pytest.mark.parametrize("tokens", [32, 256, 2048, 8192])
def test_schedule_is_that_of_diffusers(guided: Path, pipeline_of: Load, tokens: int) -> None:
    scheduler = pipeline_of(guided).scheduler
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / 50, 50), mu=calculate_shift(tokens, 256, 4096, 0.5, 1.15))
    ours = torch.tensor(flow.schedule(50, tokens), dtype=torch.float32)
    torch.testing.assert_close(ours, scheduler.sigmas, atol=2e-7, rtol=0)


@torch.no_grad()
def test_a_whole_run_is_that_of_diffusers(checkpoint: Path, pipeline_of: Load, canvases: list[Canvas]) -> None:
    backbone, pipeline = FluxFill.load(checkpoint, vae_rule="sample"), pipeline_of(checkpoint)
    *_, last = sampling(backbone, canvases, PROMPTS, seeds=SEEDS, steps=STEPS, guidance=GUIDANCE)
    expected = run_diffusers(pipeline, canvases, drawn_noise(SEEDS), "latent")
    assert expected.std() > 0.5
    torch.testing.assert_close(last.latents, expected, atol=BOUND, rtol=0)


@torch.no_grad()
def test_painted_pixels_are_those_of_diffusers(
    checkpoint: Path, pipeline_of: Load, canvases: list[Canvas], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the posterior's mean on both sides."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, _generator: self.mode())
    noise = torch.stack([torch.randn(16, 8, 16, generator=Generator().manual_seed(seed)) for seed in SEEDS])
    expected = 2 * run_diffusers(pipeline_of(checkpoint), canvases, noise, "pt") - 1
    painted = sample(FluxFill.load(checkpoint), canvases, PROMPTS, seeds=SEEDS, steps=STEPS, guidance=GUIDANCE)
    for canvas, panel, sheet in zip(canvases, painted, expected, strict=True):
        assert sheet.std() > 0.1
        torch.testing.assert_close(panel, canvas.paste(sheet), atol=BOUND, rtol=0)
        kept = canvas.panel(canvas.mask) == 0
        assert torch.equal(panel * kept, canvas.panel(canvas.pixels) * kept)


@torch.no_grad()
@pytest.mark.parametrize("vae_rule", ["mean", "sample"])
def test_a_canvas_is_painted_alone_as_in_company(guided: Path, canvases: list[Canvas], vae_rule: str) -> None:
    backbone = FluxFill.load(guided, vae_rule=vae_rule)
    together = sample(backbone, canvases, PROMPTS, seeds=SEEDS, steps=STEPS)
    for i, panel in enumerate(together):
        [alone] = sample(backbone, canvases[i : i + 1], PROMPTS[i : i + 1], seeds=SEEDS[i : i + 1], steps=STEPS)
        torch.testing.assert_close(alone, panel, atol=BOUND, rtol=0)
