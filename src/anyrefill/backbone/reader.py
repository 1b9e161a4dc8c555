"""Text encoders with their tokenizers."""

import logging
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.utils import ModelOutput

__all__ = ["Reader"]

log = logging.getLogger(__name__)


@cache
def _tell_once(encoder: str, length: int) -> None:
    """Warn that prompts are cut, once in a process."""
    log.warning("%s reads only the first %d tokens of a prompt", encoder, length)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A text encoder with its tokenizer.

    Attributes:
        encoder: CLIPTextModel or T5EncoderModel.
        tokenizer: the one it was trained with.
        length: tokens a prompt is padded or cut to.
    """

    encoder: nn.Module
    tokenizer: PreTrainedTokenizerBase
    length: int

    def __call__(self, prompts: list[str], device: torch.device) -> ModelOutput:
        """Run the encoder on padded prompts; padding is attended to, as the base was trained.

        Source: diffusers, FluxFillPipeline._get_t5_prompt_embeds and _get_clip_prompt_embeds.
        """
        whole = self.tokenizer(prompts, verbose=False)["input_ids"]
        if max(len(ids) for ids in whole) > self.length:
            _tell_once(type(self.encoder).__name__, self.length)
        padded = self.tokenizer(
            prompts, padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )
        return self.encoder(padded["input_ids"].to(device), output_hidden_states=False)
