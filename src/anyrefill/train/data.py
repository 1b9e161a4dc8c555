"""Pairs as the transformer trains on them: encoded, on disk, drawn many times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from anyrefill import flow
from anyrefill.backbone import Text
from anyrefill.backbone.flux import FLUX_TRANSFORMER
from anyrefill.errors import UserError
from anyrefill.pairs import PairFolder
from anyrefill.tasks import Task
from anyrefill.train.buckets import Bucket, buckets_of, place_of, turn_of
from anyrefill.train.config import TrainConfig
from anyrefill.train.store import Store
from anyrefill.types import Fill, Ids, Sigma, Tokens

__all__ = ["SMALL_STEPS", "Batch", "Cache", "default_steps", "draw", "split", "steps_of"]

SMALL_STEPS = 600
"""Steps of a run that was given none, on a base smaller than FLUX."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some samples of one step.

    Attributes:
        rows: which pairs.
        clean: packed latents x_0.
        noise: eps.
        sigma: noise levels.
        fill: packed condition.
        img_ids: the tokens' places.
        text: the encoded prompts.
        words: the prompts.
        draws: how many samples that follow each other are of one pair.
    """

    rows: tuple[int, ...]
    clean: Tokens
    noise: Tokens
    sigma: Sigma
    fill: Fill
    img_ids: Ids
    text: Text
    words: tuple[str, ...]
    draws: int = 1

    def __len__(self) -> int:
        """Return how many samples there are."""
        return len(self.rows)

    def part(self, index: slice) -> "Batch":
        """Return some of the samples."""
        text = Text(embeds=self.text.embeds[index], pooled=self.text.pooled[index])
        return Batch(
            rows=self.rows[index], clean=self.clean[index], noise=self.noise[index], sigma=self.sigma[index],
            fill=self.fill[index], img_ids=self.img_ids, text=text, words=self.words[index], draws=self.draws,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Canvases of one size, encoded and on disk.

    Attributes:
        store: where they are.
        pictures: the key of each pair's canvas.
        prompts: the key of each pair's prompt.
        words: each pair's prompt.
        empty: the key of the empty prompt.
        img_ids: the tokens' places.
        height: of the canvases, in pixels.
        width: of the canvases, all panels, in pixels.
        references: panels beside the target.
        lines: the pairs' places in their folder.
        panels: the sha256 of each pair's pictures, its mask aside.
        manifest: sha256 of all captions and pictures, in order.
        content: sha256 of all prompts and masks, and of the parts of the base that encode; the keys tell of the device
            and the version of torch, too, this does not.
    """

    store: Store
    pictures: tuple[str, ...]
    prompts: tuple[str, ...]
    words: tuple[str, ...]
    empty: str
    img_ids: Ids
    height: int
    width: int
    references: int
    lines: tuple[int, ...]
    panels: tuple[frozenset[str], ...]
    manifest: str
    content: str

    def __len__(self) -> int:
        """Return how many pairs there are."""
        return len(self.pictures)

    @property
    def tokens(self) -> int:
        """How many packed latents a canvas has."""
        return len(self.img_ids)

    def batch(self, rows: Sequence[int], dropped: Sequence[bool], sigma: Sigma, generator: Generator) -> Batch:
        """Read some pairs, without their captions where those are dropped, and draw their noise."""
        pictures = [self.store[self.pictures[row]] for row in rows]
        texts = [self.store[self.empty if gone else self.prompts[row]] for row, gone in zip(rows, dropped, strict=True)]
        clean = torch.stack([picture["clean"] for picture in pictures])
        fill = [torch.cat([picture["masked"], picture["mask"].to(picture["masked"])], -1) for picture in pictures]
        return Batch(
            rows=tuple(self.lines[row] for row in rows),
            clean=clean,
            noise=torch.randn(clean.shape, generator=generator),
            sigma=sigma,
            fill=torch.stack(fill),
            img_ids=self.img_ids,
            text=Text(
                embeds=torch.stack([text["embeds"] for text in texts]),
                pooled=torch.stack([text["pooled"] for text in texts]),
            ),
            words=tuple("" if gone else self.words[row] for row, gone in zip(rows, dropped, strict=True)),
        )


def draw(caches: Sequence[Cache], config: TrainConfig, step: int) -> Batch:
    """Draw the whole batch of a step: its pairs, dropped captions, noise levels and noise.

    Everything comes from the seed and the step's number; there is no other state, so a run can be taken up anywhere.
    """
    generator = Generator().manual_seed(config.seed * 1_000_003 + step)
    pairs = config.batch // config.draws
    turn = turn_of([len(cache) for cache in caches], step)
    cache = caches[turn.bucket]
    rows = torch.tensor(_rows(len(cache), config.seed, turn.number * pairs, pairs)).repeat_interleave(config.draws)
    dropped = torch.rand(pairs, generator=generator).repeat_interleave(config.draws) < config.caption_dropout
    sigma = flow.sample_sigma(
        config.batch, config.density, generator,
        shift=flow.resolution_shift(cache.tokens), logit_mean=config.logit_mean, logit_std=config.logit_std,
    )  # fmt: skip
    batch = cache.batch(rows.tolist(), dropped.tolist(), sigma, generator)
    silent = torch.rand(config.batch, 1, 1, generator=generator) < config.quiet
    # below sigma 1 what is to be painted would shine through: (1 - sigma) x_0 tells all of it where no noise hides it
    sigma = torch.where(silent.flatten(), 1.0, sigma)
    return replace(batch, noise=batch.noise.masked_fill(silent, 0), sigma=sigma, draws=config.draws)


def split(config: TrainConfig, panel: int) -> tuple[list[Bucket], list[Bucket]]:
    """Return the pairs to train on and those held out, sorted by shape if that was asked for.

    Raises:
        UserError: a folder is wrong, or more pairs are held out than there are.
    """
    pairs, held_out = _split(config, panel)
    if config.buckets:
        return buckets_of(pairs, panel), [] if held_out is None else buckets_of(held_out, panel)
    return [_whole(pairs)], [] if held_out is None else [_whole(held_out)]


def _whole(pairs: PairFolder) -> Bucket:
    """Return all pairs of a folder in one bucket."""
    return Bucket(pairs=pairs, lines=tuple(range(len(pairs))))


def _split(config: TrainConfig, panel: int) -> tuple[PairFolder, PairFolder | None]:
    """Return the pairs to train on and those held out, all as squares."""
    pairs = PairFolder(config.pairs, (panel, panel))
    if config.validate is None:
        return pairs, None
    if not config.validate.isdecimal():
        held_out = PairFolder(Path(config.validate), (panel, panel))
        here, there = (len(folder.rows[0].references) for folder in (pairs, held_out))
        if here != there:
            raise UserError(f"{config.pairs} has {here} references a pair and {held_out.folder} has {there}.")
        return pairs, held_out
    count, held_out = int(config.validate), PairFolder(config.pairs, (panel, panel))
    if not 0 < count < len(pairs):
        raise UserError(f"--validate {count} is not possible: {config.pairs} lists {len(pairs)} pairs.")
    pairs.rows, held_out.rows = pairs.rows[:-count], pairs.rows[-count:]
    return pairs, held_out


def steps_of(config: TrainConfig, pairs: Sequence[int], default: int = SMALL_STEPS) -> int:
    """Return the steps of a run: those asked for or the default, more until every pair was drawn `min_epochs` times.

    Args:
        config: what was asked for.
        pairs: of each canvas size.
        default: if no number of steps was asked for.
    """
    asked, each = default if config.steps is None else config.steps, config.batch // config.draws
    turns = (ceil(config.min_epochs * count / each) for count in pairs)
    ends = (place_of(pairs, bucket, number - 1) + 1 for bucket, number in enumerate(turns))
    return max(asked, *ends)


def default_steps(task: Task, transformer: Mapping[str, Any]) -> int:
    """Return the steps of a run that was given none: the paper's on a base as wide and deep as FLUX, else far fewer.

    Args:
        task: that knows the paper's.
        transformer: its configuration.

    Source: arXiv 2502.11158, table I.
    """
    is_large = all(transformer[key] >= FLUX_TRANSFORMER[key] for key in ("num_attention_heads", "num_single_layers"))
    return task.steps if is_large else SMALL_STEPS


def _rows(pairs: int, seed: int, first: int, count: int) -> list[int]:
    """Return the pairs at some places of an endless list, which shuffles all of them anew for each epoch."""
    return [int(_order(pairs, seed, place // pairs)[place % pairs]) for place in range(first, first + count)]


@lru_cache(maxsize=2)
def _order(pairs: int, seed: int, epoch: int) -> Tensor:
    """Return an epoch's order of the pairs."""
    return torch.randperm(pairs, generator=Generator().manual_seed((seed + 1) * 7_368_787 + epoch))
