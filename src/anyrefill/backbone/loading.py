"""Read one part of a base from its folder."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from anyrefill.backbone.folder import Folder
from anyrefill.backbone.quantized import Quantize, quantization
from anyrefill.errors import UserError

__all__ = ["load_part", "load_tokenizer"]

ModelT = TypeVar("ModelT", bound=nn.Module)
TokenizerT = TypeVar("TokenizerT", bound=PreTrainedTokenizerBase)


def load_part(
    kind: type[ModelT],
    folder: Folder,
    part: str,
    device: torch.device,
    dtype: torch.dtype,
    quantize: Quantize | None = None,
) -> ModelT:
    """Load one part, frozen, and refuse weights that are damaged or do not fill it.

    Args:
        kind: of model.
        folder: of the base.
        part: its folder in there.
        device: where it goes.
        dtype: of its weights.
        quantize: hold its linear layers in fewer bits.

    Raises:
        UserError: the part is damaged or incomplete, or cannot be quantised here.
    """
    loader, settings = cast(Any, kind), quantization(quantize, device, dtype)
    options = {} if settings is None else {"quantization_config": settings}
    try:
        with _no_bars():
            model, report = loader.from_pretrained(
                folder.path / part, dtype=dtype, output_loading_info=True, local_files_only=True, **options
            )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot read the {part} of {folder.name}: {reason}") from error
    if missing := sorted(report["missing_keys"]):
        raise UserError(f"the {part} of {folder.name} is incomplete: it lacks {missing[0]} ({len(missing)} in all)")
    return model.eval().requires_grad_(False).to(device)


def load_tokenizer(kind: type[TokenizerT], folder: Folder, part: str) -> TokenizerT:
    """Load a tokenizer.

    Args:
        kind: of tokenizer.
        folder: of the base.
        part: its folder in there.

    Raises:
        UserError: a file of it is damaged.
    """
    try:
        return cast(Any, kind).from_pretrained(folder.path / part, local_files_only=True)
    except Exception as error:  # the Rust library behind it raises that itself
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot read the {part} of {folder.name}: {reason}") from error


@contextmanager
def _no_bars() -> Generator[None, None, None]:
    """Keep transformers from drawing a progress bar for each part: drawing is for the callers."""
    was_on = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            transformers_logging.enable_progress_bar()
