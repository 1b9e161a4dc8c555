"""Captions by a vision-language model of ``transformers``.

The paper took CogVLM2 (arXiv 2502.11158, section IV), which ``transformers`` does not hold. Models that chat (Qwen-VL,
SmolVLM, ...) are asked; models that only caption (BLIP) are shown the picture.
"""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from anyrefill import images
from anyrefill.curate.annotators.hub import pretrained
from anyrefill.pairs import Photo

__all__ = ["Captioner"]

QUESTION = "Describe this photograph in one short sentence."
LONGEST = 48
"""Tokens of a caption."""


@final
class Captioner:
    """Says in a sentence what a photograph shows; never by chance, so the same photograph has the same caption.

    Args:
        model: hub id or folder of an image-to-text model.
        device: of torch.
        download: whether the hub may be asked.

    Raises:
        UserError: the model is not on this machine, or does not read pictures.
    """

    def __init__(self, model: str, device: str = "cpu", *, download: bool = False) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.name = model
        self._device = device
        self._prepare = pretrained(AutoProcessor, model, download=download, backend="pil")
        self._model = pretrained(AutoModelForImageTextToText, model, download=download).to(device).eval()

    @torch.inference_mode()
    def __call__(self, photos: Sequence[Photo]) -> list[str]:
        """Return one caption for each photograph, all in one batch."""
        inputs = self._inputs(photos).to(self._device)
        told: Tensor = self._model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False)
        if self._asks:  # what was asked comes before the answer
            told = told[:, inputs["input_ids"].shape[1] :]
        return [" ".join(text.split()) for text in self._prepare.batch_decode(told, skip_special_tokens=True)]

    @property
    def _asks(self) -> bool:
        """Whether the model answers questions."""
        return getattr(self._prepare, "chat_template", None) is not None

    def _inputs(self, photos: Sequence[Photo]) -> Any:  # noqa: ANN401 - a BatchFeature
        """Return what the model reads."""
        pictures = [images.to_pil(photo.pixels) for photo in photos]
        if not self._asks:
            return self._prepare(images=pictures, return_tensors="pt")
        content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
        question = self._prepare.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        self._prepare.tokenizer.padding_side = "left"
        return self._prepare(
            images=[[picture] for picture in pictures],
            text=[question] * len(pictures),
            padding=True,
            return_tensors="pt",
        )
