"""Frozen weights in 8 or 4 bits, through diffusers: an optional package each."""

from importlib.util import find_spec
from typing import Any, Literal

import torch

from anyrefill.errors import UserError

__all__ = ["BYTES", "Quantize", "quantization"]

Quantize = Literal["int8", "nf4"]
"""Of the transformer's linear layers: torchao's 8-bit integers, or bitsandbytes' 4-bit normal floats on a GPU."""

BYTES = {"int8": 1.0, "nf4": 0.5 + 4 / 64}
"""A weight's, with the scales: int8 has one a row, which is next to nothing, nf4 a float32 for every 64 weights."""

PACKAGES = {"int8": "torchao", "nf4": "bitsandbytes"}


def quantization(how: Quantize | None, device: torch.device, dtype: torch.dtype) -> Any:  # noqa: ANN401 - diffusers'
    """Return diffusers' settings for it, or None.

    Args:
        how: which.
        device: where the weights go.
        dtype: that products are computed in.

    Raises:
        UserError: the package is not installed, or the device cannot do it.
    """
    if how is None:
        return None
    if how == "nf4" and device.type != "cuda":
        raise UserError("Weights in nf4 need a GPU: give --device cuda, or int8, which a CPU has too.")
    if find_spec(PACKAGES[how]) is None:
        raise UserError(f"Weights in {how} need {PACKAGES[how]}: pip install {PACKAGES[how]}.")
    if how == "nf4":
        from diffusers import BitsAndBytesConfig

        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    from diffusers import TorchAoConfig
    from torchao.quantization import Int8WeightOnlyConfig  # pyright: ignore[reportMissingImports]  # optional

    return TorchAoConfig(Int8WeightOnlyConfig())
