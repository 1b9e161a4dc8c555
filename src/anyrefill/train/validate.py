"""A look at held-out pairs while training: a loss that can be compared between steps, and painted pictures."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import torch
from PIL.Image import Image
from torch import Generator, Tensor

from anyrefill import flow, images
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.latents import pack, unpack
from anyrefill.canvas import Canvas
from anyrefill.pairs import PairFolder
from anyrefill.tasks import Task
from anyrefill.train.config import TrainConfig
from anyrefill.train.data import Batch, Cache
from anyrefill.train.loss import Predictor, flow_loss, weight_of
from anyrefill.types import Panel, Tokens

__all__ = ["LEVELS", "sample_sheet", "sigma_at", "validation_loss"]

LEVELS = (0.125, 0.375, 0.625, 0.875)
"""Quantiles of the training density: the noise levels that held-out pairs are looked at."""

STEPS = 20
"""Backbone calls a painted canvas."""


@torch.no_grad()
def validation_loss(
    caches: Sequence[Cache], config: TrainConfig, predict: Predictor, channels: Tensor, at_once: int = 8
) -> float:
    """Return the mean loss of held-out pairs, each at every level, always under the same noise."""
    total = weight = 0.0
    for cache, level in product(caches, LEVELS):
        for start in range(0, len(cache), at_once):
            batch = _fixed(cache, config, range(start, min(start + at_once, len(cache))), level)
            weighs = weight_of(batch, config.region)
            total += float(flow_loss(predict, batch, config.region, weighs, channels)) * float(weighs)
            weight += float(weighs)
    return total / weight


def sigma_at(share: float, config: TrainConfig, tokens: int) -> float:
    """Return the noise level below which that share of the training density lies."""
    if config.density == "uniform":
        return share
    if config.density == "shifted":
        return flow.shifted(share, flow.resolution_shift(tokens))
    normal = torch.special.ndtri(torch.tensor(share, dtype=torch.float64))
    return float((normal * config.logit_std + config.logit_mean).sigmoid())


@torch.no_grad()
def sample_sheet(
    pairs: PairFolder, cache: Cache, task: Task, backbone: FluxFill, config: TrainConfig, predict: Predictor
) -> Image:
    """Paint the first held-out pairs, always from the same noise, and return a contact sheet."""
    rows, more = list[list[Panel]](), ["further reference"] * (cache.references - 1)
    for index in range(min(config.samples, len(pairs))):
        pair = pairs[index]
        canvas = Canvas.stitch(pair.references, pair.target, task.mask(pair))
        batch = _fixed(cache, config, range(index, index + 1), 1.0)
        latents = _painted(batch, predict)
        sheet = backbone.decode(unpack(latents, canvas.height, canvas.width)).to("cpu", torch.float32)[0]
        rows.append([*pair.references[::-1], canvas.paste(sheet), pair.target])
    return images.contact_sheet(rows, (*more, "reference", "painted", "target"))


def _painted(batch: Batch, predict: Predictor) -> Tokens:
    """Return the latents at the end of the path from the batch's noise."""

    def model(latents: Tokens, sigma: float) -> Tokens:
        return predict(latents, latents.new_full((len(latents),), sigma), batch)

    *_, last = flow.euler(model, batch.noise, flow.schedule(STEPS, batch.clean.shape[1]))
    return last


def _fixed(cache: Cache, config: TrainConfig, rows: range, level: float) -> Batch:
    """Return held-out pairs at one level; the noise of a pair depends on nothing but the pair and the level."""
    sigma = torch.full((len(rows),), sigma_at(level, config, cache.tokens))
    batch = cache.batch(rows, [False] * len(rows), sigma, Generator())
    noise = torch.stack([_noise(cache, row, level) for row in rows])
    return replace(batch, noise=noise)


def _noise(cache: Cache, row: int, level: float) -> Tensor:
    """Draw a pair's noise, laid out as sampling draws it."""
    generator = Generator().manual_seed(1000 * row + int(8 * level))
    return pack(torch.randn(1, 16, cache.height // 8, cache.width // 8, generator=generator))[0]
