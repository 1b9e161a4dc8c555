"""Prompt tuning: a few trained tokens in front of what CLIP reads; everything else is frozen.

Source: LeftRefill's way (arXiv 2502.11158, section III-B) on FLUX, where CLIP only feeds the pooled vector (figure 17).
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, final

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from anyrefill.backbone.adapters.files import check_base
from anyrefill.backbone.adapters.header import PASSPORT_KEY, read_passport, read_tensors, write_tensors
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.fingerprint import digest_of
from anyrefill.backbone.reader import Reader
from anyrefill.errors import UserError
from anyrefill.types import Pooled

__all__ = [
    "LENGTH",
    "TENSOR",
    "TOKENS",
    "PromptTokens",
    "inject_prompt",
    "load_prompt",
    "room_for",
    "room_in",
    "save_prompt",
]

log = logging.getLogger(__name__)

TENSOR = "clip.prompt_tokens"
"""The one tensor of a prompt's file."""

TOKENS, LENGTH = 50, 77
"""LeftRefill's trained tokens, and the places of the CLIP that it puts them into."""

CLIP_KEY = "clip"


@final
class PromptedClip(nn.Module):
    """CLIP's text encoder with trained tokens between the start token and the words.

    Attributes:
        clip: CLIPTextModel, frozen.
        vectors: the trained embeddings, (tokens, width), float32.
    """

    def __init__(self, clip: nn.Module, vectors: Tensor, end: int) -> None:
        """Take CLIP as it is; `end` is the id of its end token."""
        super().__init__()
        self.clip = clip
        self.vectors = nn.Parameter(vectors.float())
        self.end = end

    def forward(self, ids: Tensor, **options: bool) -> ModelOutput:
        """Read padded ids; words that the trained tokens push out at the end are not read."""
        with self._inserted():
            return self.clip(self.widened(ids), **options)

    def widened(self, ids: Tensor) -> Tensor:
        """Return ids of the same length with room for the trained tokens after the first, and an end token."""
        count, length = len(self.vectors), ids.shape[1]
        room = ids[:, :1].expand(-1, count)
        wide = torch.cat([ids[:, :1], room, ids[:, 1 : length - count]], dim=1)
        cut = (ids == self.end).int().argmax(dim=1) + count >= length
        if bool(cut.any()):
            log.warning("CLIP reads only the first %d tokens of a prompt beside %d trained ones", length - count, count)
        wide[cut, -1] = self.end
        return wide

    @contextmanager
    def _inserted(self) -> Generator[None, None, None]:
        """Put the trained embeddings into the room made for them."""
        handle = _embedding(self.clip).register_forward_hook(self._insert)
        try:
            yield
        finally:
            handle.remove()

    def _insert(self, _module: nn.Module, _ids: tuple[Tensor, ...], embedded: Tensor) -> Tensor:
        count = len(self.vectors)
        trained = self.vectors.to(embedded).expand(len(embedded), -1, -1)
        return torch.cat([embedded[:, :1], trained, embedded[:, 1 + count :]], dim=1)


@final
class PromptTokens:
    """The trained tokens in a backbone, and the way back.

    Attributes:
        backbone: that reads them.
    """

    def __init__(self, backbone: FluxFill, vectors: Tensor) -> None:
        """Let a backbone read these vectors, (tokens, width), before every prompt.

        Raises:
            UserError: it reads trained tokens already, or CLIP has no room for that many or another width.
        """
        self.backbone = backbone
        self._plain = _plain_clip(backbone)
        _check_room(self._plain, vectors)
        vectors = vectors.to(_embedding(self._plain.encoder).weight.device)
        self._encoder = PromptedClip(self._plain.encoder, vectors, int(cast(Any, self._plain.tokenizer).eos_token_id))
        self._reader = replace(self._plain, encoder=self._encoder)
        backbone.clip = self._reader

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Return all that trains."""
        return [self._encoder.vectors]

    def pooled(self, prompts: list[str]) -> Pooled:
        """Return CLIP's pooled embedding of prompts, gradients flowing back to the trained tokens where they are on.

        It works on after the backbone has freed its text encoders.
        """
        return self._reader(prompts, self._encoder.vectors.device)["pooler_output"]

    def clip_fingerprint(self) -> str:
        """Identify CLIP's weights: the backbone's fingerprint leaves them out."""
        return _clip_fingerprint(self._plain.encoder)

    def eject(self) -> None:
        """Let the backbone read as it did before."""
        self.backbone.clip = self._plain


def room_for(backbone: FluxFill) -> int:
    """Return how many tokens to train by default in a backbone's CLIP."""
    return room_in(_plain_clip(backbone).length)


def room_in(places: int) -> int:
    """Return how many tokens to train by default: LeftRefill's 50 of 77 places, in proportion where CLIP has fewer."""
    return min(TOKENS, TOKENS * places // LENGTH)


def inject_prompt(backbone: FluxFill, sentence: str, *, tokens: int = TOKENS) -> PromptTokens:
    """Add untrained tokens to a backbone, every one the mean embedding of a sentence that describes the task.

    They are float32 over a CLIP of any type, and all that is left trainable.

    Args:
        backbone: changed in place.
        sentence: what the task is about, in words.
        tokens: how many; LeftRefill's 50 leave 25 of CLIP's 77 places to the words. See ``room_for``.

    Raises:
        UserError: the sentence is empty, or CLIP has no room for so many.
    """
    reader = _plain_clip(backbone)
    marks = {getattr(reader.tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    ids = [index for index in reader.tokenizer(sentence)["input_ids"] if index not in marks]
    if not ids:
        raise UserError("prompt tuning begins with a sentence that describes the task, and this one is empty")
    mean = _embedding(reader.encoder).weight[torch.tensor(ids)].detach().float().mean(dim=0)
    backbone.transformer.requires_grad_(False)
    return PromptTokens(backbone, mean.repeat(tokens, 1))


def save_prompt(path: str | Path, prompt: PromptTokens, passport: Passport) -> None:
    """Write trained tokens and their passport; the file appears whole or not at all.

    Raises:
        UserError: the passport tells another story.
    """
    path, vectors = Path(path), prompt.parameters[0].detach().cpu().contiguous()
    check_base(path, passport, prompt.backbone)
    if passport.kind != "prompt" or passport.rank != len(vectors):
        raise UserError(f"{path} would say {passport.kind} of {passport.rank}, but it is a prompt of {len(vectors)}")
    header = {PASSPORT_KEY: passport.to_json(), CLIP_KEY: prompt.clip_fingerprint()}
    write_tensors(path, {TENSOR: vectors}, header)


def load_prompt(path: str | Path, backbone: FluxFill, *, trainable: bool = False) -> tuple[PromptTokens, Passport]:
    """Let a backbone read the trained tokens of a file.

    Args:
        path: a file by ``save_prompt``.
        backbone: changed in place.
        trainable: to go on training them.

    Raises:
        UserError: the file is damaged, no prompt, of another base or another CLIP, or CLIP has no room for it.
    """
    path, passport = Path(path), read_passport(path)
    if passport.kind != "prompt":
        raise UserError(f"{path} is an adapter of the kind {passport.kind!r}, not a prompt")
    check_base(path, passport, backbone)
    tensors, header = read_tensors(path)
    if list(tensors) != [TENSOR]:
        raise UserError(f"{path} is no prompt: it should hold {TENSOR} and nothing else")
    if tensors[TENSOR].ndim != 2 or len(tensors[TENSOR]) != passport.rank:
        shape = tuple(tensors[TENSOR].shape)
        raise UserError(f"{path} is damaged: {passport.rank} tokens are in its passport, and {TENSOR} is {shape}")
    prompt = PromptTokens(backbone, tensors[TENSOR])
    if header.get(CLIP_KEY) != prompt.clip_fingerprint():
        prompt.eject()
        raise UserError(f"{path} was trained with another CLIP than that of {backbone.name}")
    for weight in prompt.parameters:
        weight.requires_grad_(trainable)
    return prompt, passport


def _plain_clip(backbone: FluxFill) -> Reader:
    """Return CLIP as it came, and refuse one that reads trained tokens."""
    if isinstance(backbone.clip.encoder, PromptedClip):
        raise UserError("there are trained prompt tokens in CLIP already: eject them first")
    return backbone.clip


def _check_room(clip: Reader, vectors: Tensor) -> None:
    """Refuse tokens that leave no place for CLIP's start and end, or are of another width."""
    count, width = vectors.shape
    if not 1 <= count <= clip.length - 2:
        raise UserError(
            f"this base's CLIP reads {clip.length} tokens, so that 1 to {clip.length - 2} can be trained, not {count}"
        )
    if width != (expected := _embedding(clip.encoder).embedding_dim):
        raise UserError(f"the prompt's tokens have width {width}, this base's CLIP has {expected}")


def _embedding(clip: nn.Module) -> nn.Embedding:
    """Return CLIP's token embedding."""
    return cast(nn.Embedding, cast(Any, clip).get_input_embeddings())


def _clip_fingerprint(clip: nn.Module) -> str:
    """Return sha256 over a sample of CLIP's weights, rounded to bfloat16."""
    sampled = ("_embedding.weight", "fc2.weight")
    return digest_of(weight for name, weight in sorted(clip.named_parameters()) if name.endswith(sampled))
