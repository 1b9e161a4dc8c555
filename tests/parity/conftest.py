"""Tiny checkpoints, ours and diffusers' own pipeline over the same files."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FluxFillPipeline

from anyrefill import Canvas
from tiny_checkpoint import save_tiny_checkpoint


@pytest.fixture(scope="session", params=[True, False], ids=["guided", "unguided"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_checkpoint(tmp_path_factory.mktemp("base") / "fill", guidance_embeds=request.param)


@pytest.fixture(scope="session")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_checkpoint(tmp_path_factory.mktemp("base") / "guided")


@pytest.fixture
def pipeline_of() -> Callable[[Path], FluxFillPipeline]:
    def load(folder: Path) -> FluxFillPipeline:
        pipeline = FluxFillPipeline.from_pretrained(folder)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return load


@pytest.fixture
def canvases() -> list[Canvas]:
    """Two canvases of 64 x 128 pixels with ragged holes, as 8-bit pictures would give them."""
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (2, 3, 64, 128), generator=generator).float() / 255
    holes = (torch.rand(2, 1, 64, 64, generator=generator) > 0.4).float()
    return [
        Canvas.stitch(*(2 * sheet - 1).chunk(2, dim=-1), mask=hole) for sheet, hole in zip(pixels, holes, strict=True)
    ]
