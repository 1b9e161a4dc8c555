"""The loop that adapters are trained with in diffusers' examples, as the anchor of what training costs.

Source: diffusers, examples/dreambooth/train_dreambooth_lora_flux.py, with FluxFillPipeline's condition.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor, nn

from anyrefill import flow, tasks
from anyrefill.backbone.adapters.lora import PAPER
from anyrefill.backbone.embedded import find_base
from anyrefill.backbone.fill import FluxFill
from anyrefill.bench.pipeline import pipeline_of
from anyrefill.canvas import Canvas
from anyrefill.pairs import Pair, PairFolder
from anyrefill.train import TrainConfig

__all__ = ["plain_training"]


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """Some canvases and prompts.

    Attributes:
        clean: packed latents, (B, N, 64), float32.
        fill: packed latents of what is known, and the mask.
        embeds: T5's.
        pooled: CLIP's.
        img_ids: the tokens' places.
        txt_ids: zeros.
    """

    clean: Tensor
    fill: Tensor
    embeds: Tensor
    pooled: Tensor
    img_ids: Tensor
    txt_ids: Tensor

    def at(self, rows: Sequence[int]) -> "_Encoded":
        """Return some of them."""
        return _Encoded(
            clean=self.clean[rows], fill=self.fill[rows], embeds=self.embeds[rows], pooled=self.pooled[rows],
            img_ids=self.img_ids, txt_ids=self.txt_ids,
        )  # fmt: skip


def plain_training(config: TrainConfig, *, encode_once: bool = False) -> Generator[float, None, None]:
    """Yield the loss of every step on micro: activation checkpointing, diffusers' own forward pass, the whole canvas.

    Weights, pairs, prompts, noise and noise levels are those of `anyrefill.train`, where the folder has as many pairs
    as a batch and no captions are dropped; so the first losses agree.

    Args:
        config: what `anyrefill train` is told, with micro as its base.
        encode_once: keep what the autoencoder and the text encoders give, instead of asking them in every step.
    """
    dtype: torch.dtype = getattr(torch, config.dtype)
    backbone = FluxFill.load(find_base("micro"), dtype=dtype)
    pipe, settings = pipeline_of(backbone, backbone.transformer), backbone.settings
    trained = _trained(pipe, config)
    optimizer = torch.optim.AdamW(trained, config.lr, weight_decay=0.0)
    task, pairs = tasks.get(config.task), PairFolder(config.pairs, (settings.panel, settings.panel))

    def encoded(rows: Sequence[int]) -> _Encoded:
        batch = [pairs[row] for row in rows]
        prompts = [task.fill_prompt(pair.caption) for pair in batch]
        return _encode(pipe, batch, prompts, settings.max_sequence_length)

    kept = encoded(range(len(pairs))) if encode_once else None
    for step in count():
        rows = _rows(len(pairs), config, step)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = _loss(pipe, encoded(rows) if kept is None else kept.at(rows), config, step)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, config.clip)
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


def _trained(pipe: Any, config: TrainConfig) -> list[nn.Parameter]:  # noqa: ANN401 - diffusers' pipeline
    """Give the frozen base a LoRA, and return its weights, in float32."""
    pipe.transformer.add_adapter(
        LoraConfig(r=config.rank, lora_alpha=config.rank, init_lora_weights="gaussian", target_modules=list(PAPER))
    )
    pipe.transformer.enable_gradient_checkpointing()
    trained = [weight for weight in pipe.transformer.parameters() if weight.requires_grad]
    for weight in trained:
        weight.data = weight.data.float()
    return trained


@torch.no_grad()
def _encode(pipe: Any, batch: Sequence[Pair], prompts: list[str], length: int) -> _Encoded:  # noqa: ANN401
    """Encode canvases whose target is to be painted, with both passes of the autoencoder, and prompts."""
    canvases = [Canvas.stitch(pair.reference, pair.target, torch.ones_like(pair.target[:1])) for pair in batch]
    size, height, width = len(batch), canvases[0].height, canvases[0].width
    vae, dtype = pipe.vae, pipe.vae.dtype
    embeds, pooled, txt_ids = pipe.encode_prompt(prompts, prompts, max_sequence_length=length)
    pixels = torch.stack([canvas.pixels for canvas in canvases])
    latents = vae.encode(pixels.to(dtype)).latent_dist.mode().float()
    latents = (latents - vae.config.shift_factor) * vae.config.scaling_factor
    masked = torch.stack([canvas.masked for canvas in canvases]).to(dtype)
    mask = torch.stack([canvas.mask for canvas in canvases])
    mask, known = pipe.prepare_mask_latents(mask, masked, size, 16, 1, height, width, dtype, "cpu", None)
    return _Encoded(
        clean=pipe._pack_latents(latents, *latents.shape),
        fill=torch.cat([known, mask], -1),
        embeds=embeds,
        pooled=pooled,
        img_ids=pipe._prepare_latent_image_ids(size, height // 16, width // 16, "cpu", dtype),
        txt_ids=txt_ids,
    )


def _loss(pipe: Any, batch: _Encoded, config: TrainConfig, step: int) -> Tensor:  # noqa: ANN401
    """Draw a batch's noise as our trainer draws it, and return the mean squared error of the velocity."""
    sigma, noise = _chance(batch.clean, config, step)
    level = sigma.view(-1, 1, 1)
    noisy = torch.cat([(1 - level) * batch.clean + level * noise, batch.fill], -1).to(pipe.transformer.dtype)
    guess = pipe.transformer(
        hidden_states=noisy,
        timestep=sigma,
        guidance=torch.full_like(sigma, config.guidance),
        pooled_projections=batch.pooled,
        encoder_hidden_states=batch.embeds,
        txt_ids=batch.txt_ids,
        img_ids=batch.img_ids,
        return_dict=False,
    )[0]
    return (guess.float() - (noise - batch.clean)).pow(2).mean()


def _chance(clean: Tensor, config: TrainConfig, step: int) -> tuple[Tensor, Tensor]:
    """Draw noise levels and noise as `anyrefill.train.data.draw` does."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    torch.rand(config.batch, generator=generator)  # which captions are dropped: none
    shift = flow.resolution_shift(clean.shape[1])
    sigma = flow.sample_sigma(
        config.batch, config.density, generator,
        shift=shift, logit_mean=config.logit_mean, logit_std=config.logit_std,
    )  # fmt: skip
    return sigma, torch.randn(clean.shape, generator=generator)


def _rows(pairs: int, config: TrainConfig, step: int) -> list[int]:
    """Return the pairs of a step: those that our trainer draws, where there are as many as in a batch."""
    generator = torch.Generator().manual_seed((config.seed + 1) * 7_368_787 + step)
    return torch.randperm(pairs, generator=generator)[: config.batch].tolist()
