"""LoRAs that change what is painted, and what a tiny backbone then predicts."""

from pathlib import Path

import torch
from torch import Generator, Tensor

from anyrefill import Canvas
from anyrefill.backbone import Condition
from anyrefill.backbone.adapters.files import save_adapter
from anyrefill.backbone.adapters.lora import PAPER, add_lora, unload_adapter
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.fill import FluxFill


def save_random_adapter(
    backbone: FluxFill,
    path: Path,
    *,
    rank: int = 4,
    alpha: float = 6.0,
    seed: int = 1,
    targets: tuple[str, ...] = PAPER,
    **entries: object,
) -> Passport:
    """Save a LoRA with random factors, alpha unlike its rank, take it out again, and return its passport."""
    parameters = add_lora(backbone, rank=rank, alpha=alpha, seed=seed, targets=targets, name="temporary")
    generator = Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in parameters:
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    passport = Passport(
        **{
            "task": "image-to-depth",
            "base": backbone.name,
            "fingerprint": backbone.fingerprint(),
            "rank": rank,
            "alpha": alpha,
            "targets": targets,
            "prompt": "the depth of {caption}",
            "versions": ("torch 2",),
            **entries,
        }
    )
    save_adapter(path, backbone, passport, name="temporary")
    unload_adapter(backbone, "temporary")
    return passport


def predict(backbone: FluxFill, prompt: str = "a") -> Tensor:
    """Return the velocity of one fixed canvas and noise."""
    generator = Generator().manual_seed(5)
    pixels = 2 * torch.rand(3, 32, 64, generator=generator) - 1
    canvas = Canvas.stitch(*pixels.chunk(2, dim=-1), mask=torch.ones(1, 32, 32))
    condition = Condition.of(canvas, backbone.encode_text([prompt]), backbone)
    noise = torch.randn(1, 8, 64, generator=generator)
    with torch.no_grad():
        return backbone.velocity(noise, torch.tensor([0.7]), condition, 1.0)
