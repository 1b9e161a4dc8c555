"""Which numbers a device multiplies fast: bfloat16 halves memory everywhere, but time only where it is built in."""

from typing import Any

import torch

from anyrefill.errors import UserError

__all__ = ["default_dtype", "dtype_name", "fast_dtype", "known_device", "multiplies_bfloat16", "present_device"]

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


def known_device(name: str | torch.device) -> torch.device:
    """Return the device of that name, whether it is here or not.

    Raises:
        UserError: torch knows none of that name.
    """
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UserError(f"there is no device {name!r}; there are cpu, cuda, cuda:1, mps and the like") from error


def present_device(name: str) -> torch.device:
    """Return the device of that name, which is here.

    Raises:
        UserError: torch knows none of that name, or there is none in this machine.
    """
    device = known_device(name)
    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device.type != "cpu" and (here is None or device.type != here.type):
        raise UserError(f"this machine has no {device.type} device, or its torch was built without it: take cpu")
    if device.type != "cpu" and (device.index or 0) >= torch.accelerator.device_count():
        raise UserError(f"this machine has {torch.accelerator.device_count()} {device.type} devices; {name} is none")
    return device


def fast_dtype(device: str | torch.device = "cpu") -> torch.dtype:
    """Return bfloat16 where the device multiplies it, else float32."""
    on_cpu = known_device(device).type == "cpu"
    return torch.float32 if on_cpu and not multiplies_bfloat16() else torch.bfloat16


def default_dtype(device: str | torch.device) -> torch.dtype:
    """Return what a base paints in where nothing else is asked for: float32 on the CPU, bfloat16 elsewhere."""
    return torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16


def dtype_name(dtype: torch.dtype) -> str:
    """Return what a command line and a file call a type: "bfloat16"."""
    return str(dtype).removeprefix("torch.")
