"""The table of whole pictures, from photograph to painted panel, and whether company changes them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from diffusers import FluxFillPipeline

from anyrefill.backbone.embedded import adapter_of, find_base
from anyrefill.bench.rows import PLAIN, PLAIN_BF16, Row, rows_of
from anyrefill.bench.scene import DTYPES, Scene
from anyrefill.bench.timing import Run, interleaved
from anyrefill.painter import Painter
from anyrefill.sample import sample, sampling

__all__ = ["company", "pictures"]


def pictures(task: str, steps: int, fast: int, rounds: int) -> list[Row]:
    """Time whole pictures: plain and ours at `steps`, and ours with fewer evaluations of a higher order."""
    exact, coarse = Scene.of(task, "float32", 1), Scene.of(task, "bfloat16", 1)
    runs = [
        Run(name=PLAIN, call=_pipeline(task, exact, steps)),
        Run(name=PLAIN_BF16, call=_pipeline(task, coarse, steps)),
    ]
    for scene in (exact, coarse):
        painter = scene.painter
        for name, used, count in (
            (f"full {scene.dtype}", painter, steps),
            (f"full {scene.dtype}, {fast} x ab2", replace(painter, solver="ab2"), fast),
            (
                f"clean_ref_text {scene.dtype}, {fast} x ab2",
                replace(painter, solver="ab2", attention="clean_ref_text"),
                fast,
            ),
        ):
            runs.append(Run(name=name, call=_paint(scene, used, count)))
    return rows_of(f"one picture, plain with {steps} steps", interleaved(runs, rounds), 1.0, "s CPU")


def company(task: str, batch: int, steps: int = 4) -> Row:
    """Return how far the latents of canvases painted together are from those painted alone."""
    scene = Scene.of(task, "float32", batch)
    *_, together = sampling(
        scene.backbone, scene.canvases, scene.prompts, seeds=list(range(batch)), steps=steps, guidance=1.0
    )
    apart = 0.0
    for index in (0, batch // 2, batch - 1):
        *_, alone = sampling(
            scene.backbone, scene.canvases[index : index + 1], scene.prompts[:1], seeds=[index], steps=steps,
            guidance=1.0,
        )  # fmt: skip
        apart = max(apart, float((alone.latents[0] - together.latents[index]).abs().max()))
    return Row(
        table="batch", name=f"latents alone against in a batch of {batch}", value=apart, unit="largest difference"
    )


def _paint(scene: Scene, painter: Painter, steps: int) -> Callable[[], object]:
    """Return a call that paints one picture our way."""
    return lambda: sample(
        scene.backbone, scene.canvases, scene.prompts, seeds=[0], steps=steps, guidance=1.0,
        solver=painter.solver, attention=painter.attention,
    )  # fmt: skip


def _pipeline(task: str, scene: Scene, steps: int) -> Callable[[], object]:
    """Return a call of diffusers' pipeline on the same canvas and noise, its adapter unmerged."""
    pipeline: Any = FluxFillPipeline.from_pretrained(find_base("micro"), torch_dtype=DTYPES[scene.dtype])
    file = adapter_of(task)
    pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
    pipeline.set_progress_bar_config(disable=True)
    canvas = scene.canvases[0]
    noise = scene.noise(scene.condition()).to(DTYPES[scene.dtype])
    length = scene.backbone.settings.max_sequence_length

    @torch.no_grad()
    def call() -> object:
        return pipeline(
            prompt=scene.prompts,
            image=(canvas.pixels[None] + 1) / 2,
            mask_image=canvas.mask[None],
            height=canvas.height,
            width=canvas.width,
            guidance_scale=1.0,
            num_inference_steps=steps,
            max_sequence_length=length,
            latents=noise,
            output_type="pt",
        ).images

    return call
