"""Which numbers a device multiplies fast: bfloat16 halves memory everywhere, but time only where it is built in."""

from typing import Any

import torch

__all__ = ["default_dtype", "dtype_name", "fast_dtype", "multiplies_bfloat16"]

INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16")
"""What a processor that multiplies bfloat16 knows, as torch calls it: two of Intel's and AMD's, one of Arm's."""


def multiplies_bfloat16() -> bool:
    """Return whether this machine's processor, and the torch that is installed, multiply bfloat16 themselves.

    Without such instructions torch's products and convolutions convert number by number: measured on an AMD EPYC
    with AVX2 alone, one core, a product is 70 times slower than in float32 and a convolution 270 times.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    ask: Any = getattr(torch.cpu, "get_capabilities", None)  # of torch 2.10 and newer
    if ask is None:
        return torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]
    found = ask()
    return any(found.get(name, False) for name in INSTRUCTIONS)


def fast_dtype(device: str | torch.device = "cpu") -> torch.dtype:
    """Return bfloat16 where the device multiplies it, else float32."""
    on_cpu = torch.device(device).type == "cpu"
    return torch.float32 if on_cpu and not multiplies_bfloat16() else torch.bfloat16


def default_dtype(device: str | torch.device) -> torch.dtype:
    """Return what a base paints in where nothing else is asked for: float32 on the CPU, bfloat16 elsewhere."""
    return torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16


def dtype_name(dtype: torch.dtype) -> str:
    """Return what a command line and a file call a type: "bfloat16"."""
    return str(dtype).removeprefix("torch.")
