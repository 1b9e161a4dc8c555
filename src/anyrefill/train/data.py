"""Pairs as the transformer trains on them: encoded once, drawn many times."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from anyrefill import flow
from anyrefill.backbone import Condition, Text
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.latents import image_ids, pack
from anyrefill.canvas import Canvas
from anyrefill.pairs import PairFolder
from anyrefill.tasks import Task
from anyrefill.train.config import TrainConfig
from anyrefill.types import Fill, Ids, Sigma, Tokens

__all__ = ["Batch", "Cache", "draw"]


@dataclass(frozen=True, kw_only=True)
class Cache:
    """All canvases of a folder, encoded, on the CPU.

    Attributes:
        clean: packed latents of the whole canvases, (pairs, N, 64).
        fill: packed condition, (pairs, N, 320).
        text: the prompts that occur, and the empty one last.
        prompt: which of them belongs to each pair.
        img_ids: the tokens' places.
        height: of the canvases, in pixels.
        width: of the canvases, both panels, in pixels.
        manifest: sha256 of metadata and pictures.
    """

    clean: Tokens
    fill: Fill
    text: Text
    prompt: tuple[int, ...]
    img_ids: Ids
    height: int
    width: int
    manifest: str

    @classmethod
    def of(cls, folder: Path, task: Task, backbone: FluxFill, at_once: int = 8) -> "Cache":
        """Read and encode a folder of pairs at the backbone's panel size."""
        side = backbone.settings.panel
        pairs = PairFolder(folder, (side, side))
        prompts = [task.fill_prompt(row.caption) for row in pairs.rows]
        distinct = [*dict.fromkeys(prompts), ""]
        clean, fill = list[Tensor](), list[Tensor]()
        for start in range(0, len(pairs), at_once):
            canvases = [_canvas(pairs, index, task) for index in range(start, min(start + at_once, len(pairs)))]
            latents, condition = _encode(canvases, backbone)
            clean.append(latents)
            fill.append(condition.fill.cpu())
        return cls(
            clean=torch.cat(clean),
            fill=torch.cat(fill),
            text=_read(distinct, backbone),
            prompt=tuple(distinct.index(prompt) for prompt in prompts),
            img_ids=image_ids(side, 2 * side),
            height=side,
            width=2 * side,
            manifest=_digest(pairs),
        )

    def __len__(self) -> int:
        """Return how many pairs there are."""
        return len(self.clean)

    def condition(self, fill: Fill, prompts: Sequence[int]) -> Condition:
        """Return the condition of a batch, its text looked up."""
        rows = torch.tensor(prompts)
        text = Text(embeds=self.text.embeds[rows], pooled=self.text.pooled[rows])
        return Condition(fill=fill, img_ids=self.img_ids, text=text)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's samples.

    Attributes:
        clean: packed latents x_0.
        noise: eps.
        sigma: noise levels.
        fill: packed condition.
        prompts: rows of the cache's text.
    """

    clean: Tokens
    noise: Tokens
    sigma: Sigma
    fill: Fill
    prompts: tuple[int, ...]


def draw(cache: Cache, config: TrainConfig, generator: Generator) -> Batch:
    """Draw pairs, noise, noise levels and dropped captions, all from one generator."""
    rows = torch.randint(len(cache), (config.batch,), generator=generator)
    dropped = torch.rand(config.batch, generator=generator) < config.caption_dropout
    clean = cache.clean[rows]
    tokens = clean.shape[1]
    sigma = flow.sample_sigma(config.batch, config.density, generator, shift=flow.resolution_shift(tokens))
    noise = torch.randn(clean.shape, generator=generator)
    empty = len(cache.text.pooled) - 1
    prompts = tuple(empty if gone else cache.prompt[row] for row, gone in zip(rows.tolist(), dropped, strict=True))
    return Batch(clean=clean, noise=noise, sigma=sigma, fill=cache.fill[rows], prompts=prompts)


def _canvas(pairs: PairFolder, index: int, task: Task) -> Canvas:
    """Stitch one pair."""
    pair = pairs[index]
    return Canvas.stitch(pair.reference, pair.target, task.mask(pair))


@torch.no_grad()
def _encode(canvases: list[Canvas], backbone: FluxFill) -> tuple[Tensor, Condition]:
    """Encode canvases, whole and masked."""
    nothing = Text(embeds=torch.zeros(len(canvases), 1, 1), pooled=torch.zeros(len(canvases), 1))
    clean = pack(backbone.encode(torch.stack([canvas.pixels for canvas in canvases]))).cpu()
    return clean, Condition.of(canvases, nothing, backbone)


def _read(prompts: list[str], backbone: FluxFill, at_once: int = 32) -> Text:
    """Encode prompts in batches."""
    parts = [backbone.encode_text(prompts[start : start + at_once]) for start in range(0, len(prompts), at_once)]
    return Text(
        embeds=torch.cat([part.embeds.cpu() for part in parts]), pooled=torch.cat([part.pooled.cpu() for part in parts])
    )


def _digest(pairs: PairFolder) -> str:
    """Return the sha256 of every file and caption, in order."""
    digest = hashlib.sha256()
    for row in pairs.rows:
        digest.update(row.caption.encode())
        for path in (row.reference, row.target, row.mask):
            if path is not None:
                digest.update(path.read_bytes())
    return digest.hexdigest()
