"""Encode pairs once, before training: pictures by the autoencoder, prompts by the text encoders."""

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from anyrefill.backbone import Condition, Text
from anyrefill.backbone.fill import FluxFill, Part
from anyrefill.backbone.folder import Folder
from anyrefill.backbone.latents import image_ids, pack
from anyrefill.canvas import Canvas
from anyrefill.pairs import PairFolder
from anyrefill.tasks import Task, given_mask, whole_panel
from anyrefill.train.buckets import Bucket
from anyrefill.train.data import Cache
from anyrefill.train.parallel import World
from anyrefill.train.store import Store, file_digest, key_of, part_digest
from anyrefill.types import Size

__all__ = ["Cached", "Encoder", "encode"]

READERS = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
"""The folders of a base that decide how prompts are read."""

TEXT_ENCODERS: tuple[Part, ...] = ("text_encoder", "text_encoder_2")

Makers = dict[str, Callable[[], Mapping[str, Tensor]]]
"""What to encode, by its key."""


@dataclass(frozen=True, kw_only=True)
class Cached:
    """How far the encoding has come.

    Attributes:
        done: pictures and prompts that are encoded.
        total: of all that the run needs.
    """

    done: int
    total: int


class Encoder:
    """Encodes the pictures and prompts of one task, and names what comes out by what goes in.

    Every canvas and every prompt goes through alone, so what is stored does not depend on its neighbours.
    """

    def __init__(self, task: Task, backbone: FluxFill) -> None:
        """Identify the parts of the base."""
        self.task, self.backbone, self.side = task, backbone, backbone.settings.panel
        base = Folder.find(backbone.name).path
        number = f"{backbone.dtype} on {backbone.device.type}"
        vae, rules = part_digest(base / "vae"), f"{backbone.vae_rule} {backbone.mask_rule}"
        readers = [part_digest(base / part) for part in READERS]
        self.vae = f"{vae} {number} {rules}"
        self.readers = " ".join([*readers, number])
        self.parts = [vae, rules, *readers]

    def size_of(self, pairs: PairFolder) -> Size:
        """Return the height and width of a folder's panels."""
        return pairs.size or (self.side, self.side)

    def prompt_key(self, prompt: str) -> str:
        """Name the encoding of a prompt."""
        return key_of(prompt=prompt, readers=self.readers, length=self.backbone.settings.max_sequence_length)

    def mask_name(self, pairs: PairFolder, index: int) -> str:
        """Name what is painted of a pair: the two mask rules that ship by name; what any other paints is looked at."""
        rule = self.task.mask
        return rule.__name__ if rule in (whole_panel, given_mask) else _tensor_digest(rule(pairs[index]))

    def picture_key(self, pairs: PairFolder, files: Sequence[str], mask: str) -> str:
        """Name the encoding of a pair's canvas; `files` are the digests of its pictures, `mask` is its mask's name."""
        height, width = self.size_of(pairs)
        side = height if height == width else f"{height} x {width}"
        return key_of(files=" ".join(files), vae=self.vae, side=side, mask=mask)

    @torch.no_grad()
    def picture(self, pairs: PairFolder, index: int) -> Mapping[str, Tensor]:
        """Encode a pair's canvas, whole and masked; a mask of zeros and ones takes a byte a pixel."""
        pair = pairs[index]
        canvas = Canvas.stitch(pair.references, pair.target, self.task.mask(pair))
        nothing = Text(embeds=torch.zeros(1, 1, 1), pooled=torch.zeros(1, 1))
        fill = Condition.of(canvas, nothing, self.backbone).fill[0]
        mask = fill[:, -256:]
        clean = pack(self.backbone.encode(canvas.pixels[None]))[0]
        is_hard = bool(((mask == 0) | (mask == 1)).all())
        return {"clean": clean, "masked": fill[:, :-256], "mask": mask.to(torch.uint8) if is_hard else mask}

    def prompt(self, prompt: str) -> Mapping[str, Tensor]:
        """Encode a prompt."""
        text = self.backbone.encode_text([prompt])
        return {"embeds": text.embeds[0], "pooled": text.pooled[0]}


def encode(
    buckets: Sequence[Bucket], encoder: Encoder, store: Store, world: World
) -> Generator[Cached, None, list[Cache]]:
    """Encode buckets of pairs, as far as that was not done before, and return a cache of each.

    The text encoders are in memory while they read prompts, then the autoencoder while it encodes pictures; neither is
    loaded if there is nothing to do, and neither stays. Several processes share the work.

    Raises:
        UserError: a picture cannot be read, a caption is missing, or the cache cannot be written.
    """
    caches = [_plan(bucket, encoder, store) for bucket in buckets]
    prompts: Makers = {encoder.prompt_key(""): partial(encoder.prompt, "")}
    pictures: Makers = {}
    for bucket, cache in zip(buckets, caches, strict=True):
        for index, words in enumerate(cache.words):
            prompts[cache.prompts[index]] = partial(encoder.prompt, words)
            pictures[cache.pictures[index]] = partial(encoder.picture, bucket.pairs, index)
    done, total = 0, len(prompts) + len(pictures)
    stages: list[tuple[tuple[Part, ...], Makers]] = [(TEXT_ENCODERS, prompts), (("vae",), pictures)]
    for parts, makers in stages:
        mine = dict(list(makers.items())[world.rank :: world.size])
        if any(key not in store for key in mine):
            encoder.backbone.bring(*parts)
        for _ in store.fill(mine):
            done = min(done + world.size, total)
            yield Cached(done=done, total=total)
        encoder.backbone.free(*parts)
    world.wait()
    return caches


def _plan(bucket: Bucket, encoder: Encoder, store: Store) -> Cache:
    """Name everything that a bucket will need."""
    pairs, (height, width) = bucket.pairs, encoder.size_of(bucket.pairs)
    files, references = [[file_digest(path) for path in row.files] for row in pairs.rows], len(pairs.rows[0].references)
    captions = [row.caption for row in pairs.rows]
    words = tuple(encoder.task.fill_prompt(caption) for caption in captions)
    masks = [encoder.mask_name(pairs, index) for index in range(len(files))]
    manifest = hashlib.sha256(repr(list(zip(captions, files, strict=True))).encode())
    content = hashlib.sha256(repr([encoder.parts, words, masks]).encode())
    return Cache(
        store=store,
        pictures=tuple(encoder.picture_key(pairs, *named) for named in zip(files, masks, strict=True)),
        prompts=tuple(map(encoder.prompt_key, words)),
        words=words,
        empty=encoder.prompt_key(""),
        img_ids=image_ids(height, (references + 1) * width),
        height=height,
        width=(references + 1) * width,
        references=references,
        lines=bucket.lines,
        panels=tuple(frozenset((*named[:2], *named[3:])) for named in files),
        manifest=manifest.hexdigest(),
        content=content.hexdigest(),
    )


def _tensor_digest(tensor: Tensor) -> str:
    """Return the sha256 of a tensor's values."""
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()
