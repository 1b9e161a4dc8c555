"""A look at held-out pairs while training: a loss that can be compared between steps, and painted pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from PIL.Image import Image
from torch import Generator, Tensor

from anyrefill import flow, images
from anyrefill.backbone import Condition, MaskRule, Text
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.latents import pack
from anyrefill.canvas import Canvas
from anyrefill.pairs import PairFolder, means, mirrored
from anyrefill.sample import sample
from anyrefill.tasks import Task
from anyrefill.train.config import TrainConfig
from anyrefill.train.data import Batch, Cache
from anyrefill.train.loss import Predictor, flow_loss, weight_of
from anyrefill.types import Latents, Panel, Sheets, Sigma, Tokens

__all__ = ["LEVELS", "sample_sheet", "shared_pictures", "sigma_at", "validation_loss"]

LEVELS = (0.125, 0.375, 0.625, 0.875)
"""Quantiles of the training density: the noise levels that held-out pairs are looked at."""

STEPS = 20
"""Backbone calls a painted canvas where the adapter asks for no other number."""


@torch.no_grad()
def validation_loss(
    caches: Sequence[Cache], config: TrainConfig, predict: Predictor, channels: Tensor, at_once: int = 8
) -> float:
    """Return the mean loss of held-out pairs, each at every level, always under the same noise.

    The same pairs without noise weigh in it as much as samples without noise do in training.
    """
    looks = [(level, 1.0, 1 - config.quiet) for level in LEVELS] + [(1.0, 0.0, config.quiet * len(LEVELS))]
    total = weight = 0.0
    for cache, (level, temperature, share) in product(caches, [look for look in looks if look[2] > 0]):
        for start in range(0, len(cache), at_once):
            batch = _fixed(cache, config, range(start, min(start + at_once, len(cache))), level, temperature)
            weighs = weight_of(batch, config.region)
            total += share * float(flow_loss(predict, batch, config.region, weighs, channels)) * float(weighs)
            weight += share * float(weighs)
    return total / weight


def shared_pictures(caches: Sequence[Cache], looks: Sequence[Cache]) -> int:
    """Return how many held-out pairs have a picture, byte for byte, that is trained on."""
    trained = frozenset[str]().union(*(panels for cache in caches for panels in cache.panels))
    return sum(not trained.isdisjoint(panels) for look in looks for panels in look.panels)


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
    """Paint the first held-out pairs as the adapter asks for, always from the same noise; return a contact sheet.

    A mirror image is painted under the same words, since no text encoder is there any more.
    """
    rows, more = list[list[Panel]](), ["further reference"] * (cache.references - 1)
    for index in range(min(config.samples, len(pairs))):
        pair = pairs[index]
        model = _InTraining(
            backbone=backbone, predict=predict, batch=_fixed(cache, config, range(index, index + 1), 1.0)
        )
        painted = [
            sample(
                model,
                [Canvas.stitch(view.references, view.target, task.mask(view))],
                [""],
                seeds=[index],
                steps=config.steps_paint or STEPS,
                guidance=backbone.settings.guidance,
                temperature=config.temperature_paint,
                reference_guidance=config.reference_guidance_paint,
            )[0]
            for view in ([pair, mirrored(pair)] if config.mirrored_paint else [pair])
        ]
        rows.append([*pair.references[::-1], *means(painted, 1), pair.target])
    return images.contact_sheet(rows, (*more, "reference", "painted", "target"))


@dataclass(frozen=True, kw_only=True)
class _InTraining:
    """A `Backbone` in the middle of its training.

    Attributes:
        backbone: encodes and decodes.
        predict: the way of its training through the transformer.
        batch: of one pair, under whose prompt everything is painted.
    """

    backbone: FluxFill
    predict: Predictor
    batch: Batch

    @property
    def mask_rule(self) -> MaskRule:
        """What becomes of a grey mask."""
        return self.backbone.mask_rule

    def encode_text(self, prompts: list[str]) -> Text:
        """Return the encoded prompt of the pair, whatever is asked for."""
        return self.batch.text

    def encode(self, pixels: Sheets, generators: list[Generator] | None = None) -> Latents:
        """Encode pixels."""
        return self.backbone.encode(pixels, generators)

    def decode(self, latents: Latents) -> Sheets:
        """Decode latents."""
        return self.backbone.decode(latents)

    def velocity(self, latents: Tokens, sigma: Sigma, condition: Condition, guidance: float) -> Tokens:
        """Predict d latents / d sigma, as everything is predicted that is learnt from."""
        batch = replace(self.batch, fill=condition.fill)
        return self.predict.guided(guidance)(latents, sigma, batch).to(latents)


def _fixed(cache: Cache, config: TrainConfig, rows: range, level: float, temperature: float = 1.0) -> Batch:
    """Return held-out pairs at one level; the noise of a pair depends on nothing but the pair and the level."""
    sigma = torch.full((len(rows),), sigma_at(level, config, cache.tokens))
    batch = cache.batch(rows, [False] * len(rows), sigma, Generator())
    noise = torch.stack([_noise(cache, row, level) for row in rows])
    return replace(batch, noise=temperature * noise)


def _noise(cache: Cache, row: int, level: float) -> Tensor:
    """Draw a pair's noise, laid out as sampling draws it."""
    generator = Generator().manual_seed(1000 * row + int(8 * level))
    return pack(torch.randn(1, 16, cache.height // 8, cache.width // 8, generator=generator))[0]
