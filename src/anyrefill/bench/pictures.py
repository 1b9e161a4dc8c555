"""Whole pictures, from photograph to painted panel: how long, and how near to diffusers' and to those in company."""

import os
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Generator

from anyrefill.backbone import Attention
from anyrefill.bench.pipeline import pipeline_of
from anyrefill.bench.rows import Row, by_clock, rows_of
from anyrefill.bench.scene import DTYPES, Scene
from anyrefill.bench.timing import Run, interleaved, on_threads
from anyrefill.flow import Solver
from anyrefill.sample import condition_of, draw_noise, sample, sampling
from anyrefill.types import Tokens

__all__ = ["FAST", "FASTER", "PICTURE_TABLE", "SAME_TABLE", "company", "every_core", "parity", "pictures"]

STEPS, FAST, FASTER, SEEDS = 50, 20, 14, 4
PICTURE_TABLE = f"one picture, plain with {STEPS} steps"
SAME_TABLE = "the same picture"

WAYS: tuple[tuple[str, Solver, Attention, int], ...] = (
    ("full {dtype}", "euler", "full", STEPS),
    ("full {dtype}, {steps} x ab2", "ab2", "full", FAST),
    ("clean_ref_text {dtype}, {steps} x ab2", "ab2", "clean_ref_text", FAST),
    ("clean_ref_text {dtype}, {steps} x ab2", "ab2", "clean_ref_text", FASTER),
)


def pictures(scenes: Sequence[Scene], rounds: int) -> list[Row]:
    """Time whole pictures: plain and ours in 50 steps, with fewer calls of a higher order, and as the adapter asks.

    One way paints several seeds of a canvas at once; its times are of one of them. The scenes hold one canvas each; the
    first is in float32.
    """
    runs = [Run(name=f"plain {scene.dtype}", call=_pipeline(scene, STEPS)) for scene in scenes]
    for scene in scenes:
        for name, solver, attention, steps in WAYS:
            call = _paint(scene, solver, attention, steps)
            runs.append(Run(name=name.format(dtype=scene.dtype, steps=steps), call=call))
        several = _paint(scene, "ab2", "clean_ref_text", FAST, seeds=SEEDS)
        name = f"clean_ref_text {scene.dtype}, {FAST} x ab2, one of {SEEDS} seeds"
        runs.append(Run(name=name, call=several, parts=SEEDS))
        own, strength = scene.painter.steps, scene.painter.reference_guidance
        call = _paint(scene, "euler", "full", own, strength)
        runs.append(Run(name=f"full {scene.dtype}, the adapter's {own} steps", call=call))
    return rows_of(PICTURE_TABLE, interleaved(runs, rounds), 1.0, "s CPU")


def every_core(scenes: Sequence[Scene], rounds: int, steps: int = FAST) -> list[Row]:
    """Time a picture of Euler steps, plain and ours, on all cores by the clock.

    The scenes hold one canvas each; the first is in float32.
    """
    cores = os.cpu_count() or 1
    runs = [Run(name=f"plain {scene.dtype}", call=_pipeline(scene, steps)) for scene in scenes]
    runs += [Run(name=f"full {scene.dtype}", call=_paint(scene, "euler", "full", steps)) for scene in scenes]
    with on_threads(cores):
        timings = interleaved(runs, rounds)
    return by_clock(f"one picture, {steps} Euler steps, {cores} threads, by the clock", timings)


def parity(scene: Scene, steps: int = STEPS) -> Row:
    """Return how far our latents of one picture are from those of diffusers' pipeline, its adapter unmerged.

    Both draw the masked picture's latents from the autoencoder's posterior, as diffusers does, by the same generator.
    """
    scene = scene.first(1)
    backbone, rule = scene.backbone, scene.backbone.vae_rule
    backbone.vae_rule = "sample"
    try:
        generators = [Generator().manual_seed(0)]
        condition = condition_of(backbone, scene.canvases, scene.prompts, generators)
        noise = draw_noise(condition, scene.canvases[0], generators)
        theirs = cast(Tokens, _pipeline(scene, steps, noise, output="latent")())
        *_, ours = sampling(backbone, scene.canvases, scene.prompts, seeds=[0], steps=steps, guidance=1.0)
    finally:
        backbone.vae_rule = rule
    value = float((ours.latents - theirs).abs().max())
    return Row(table=SAME_TABLE, name=f"latents, {steps} Euler steps, ours against diffusers'", value=value, unit="max")


def company(scene: Scene, steps: int = 4) -> Row:
    """Return how far the latents of canvases painted together are from those painted alone."""
    batch = len(scene.canvases)
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
    return Row(table=SAME_TABLE, name=f"latents, alone against in a batch of {batch}", value=apart, unit="max")


def _paint(
    scene: Scene, solver: Solver, attention: Attention, steps: int, reference_guidance: float = 1.0, seeds: int = 1
) -> Callable[[], object]:
    """Return a call that paints one picture our way, from one seed or several."""
    return lambda: sample(
        scene.backbone, scene.canvases, scene.prompts, seeds=range(seeds), steps=steps, guidance=1.0,
        solver=solver, attention=attention, reference_guidance=reference_guidance,
    )  # fmt: skip


def _pipeline(scene: Scene, steps: int, noise: Tokens | None = None, output: str = "pt") -> Callable[[], object]:
    """Return a call of diffusers' pipeline on the same canvas and noise, its adapter unmerged."""
    pipeline, canvas = pipeline_of(scene.backbone, scene.plain.transformer), scene.canvases[0]
    latents = (scene.noise(scene.condition()) if noise is None else noise).to(DTYPES[scene.dtype])
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
            latents=latents,
            generator=[Generator().manual_seed(0)],
            output_type=output,
        ).images

    return call
