"""Diffusers' own pipeline, put together from parts that are loaded already."""

from pathlib import Path
from typing import Any, cast

from diffusers import FlowMatchEulerDiscreteScheduler, FluxFillPipeline, FluxTransformer2DModel
from transformers import T5Tokenizer

from anyrefill.backbone.embedded import find_base
from anyrefill.backbone.fill import FluxFill

__all__ = ["pipeline_of"]


def pipeline_of(backbone: FluxFill, transformer: FluxTransformer2DModel) -> Any:  # noqa: ANN401 - diffusers' pipeline
    """Return diffusers' pipeline of the backbone's parts, but with this transformer."""
    base = Path(find_base("micro"))
    _, vae, clip, t5 = backbone.loaded()
    pipeline: Any = FluxFillPipeline(
        scheduler=cast(Any, FlowMatchEulerDiscreteScheduler.from_pretrained(base / "scheduler")),
        transformer=transformer,
        vae=cast(Any, vae),
        text_encoder=cast(Any, clip),
        tokenizer=cast(Any, backbone.clip.tokenizer),
        text_encoder_2=cast(Any, t5),
        tokenizer_2=T5Tokenizer.from_pretrained(base / "tokenizer_2"),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
