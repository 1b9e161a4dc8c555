"""The safetensors file around an adapter: its tensors, and what its header says of them."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from anyrefill.backbone.adapters.convert import PeftSettings
from anyrefill.backbone.adapters.layouts import module_key
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.errors import UserError
from anyrefill.files import whole

__all__ = [
    "PASSPORT_KEY",
    "PEFT_KEY",
    "PREFIX",
    "Header",
    "passport_in",
    "peft_settings_in",
    "read_passport",
    "read_tensors",
    "write_tensors",
]

Header = Mapping[str, str]
PASSPORT_KEY = "anyrefill"
PREFIX = module_key("", "diffusers")
PEFT_KEY = "lora_adapter_metadata"
"""Where diffusers looks for rank and alpha. Source: diffusers, loaders/lora_base.py."""


def read_passport(path: str | Path) -> Passport:
    """Read what an adapter file says about itself, without its weights.

    Raises:
        UserError: no such file, no safetensors file, or one without a passport.
    """
    with _opened(Path(path)) as file:
        header = file.metadata() or {}
    if PASSPORT_KEY not in header:
        raise UserError(
            f"{path} has no anyrefill passport, so nothing says which base it fits; from Python it can be "
            "loaded all the same, with foreign=True"
        )
    return passport_in(Path(path), header)


def passport_in(path: Path, header: Header) -> Passport:
    """Return the passport in a header.

    Raises:
        UserError: it is damaged or from another version.
    """
    try:
        return Passport.from_json(header[PASSPORT_KEY])
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def peft_settings_in(path: Path, header: Header) -> PeftSettings | None:
    """Return rank, alpha and layers where a header states them in peft's words.

    Raises:
        UserError: they are no JSON, or no object of it.
    """
    try:
        settings: Any = json.loads(header[PEFT_KEY]) if PEFT_KEY in header else None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} has a damaged header: its {PEFT_KEY} is not valid JSON") from error
    if settings is None:
        return None
    if not isinstance(settings, dict):
        raise UserError(f"{path} has a damaged header: its {PEFT_KEY} is no object of JSON")
    return {key.removeprefix(PREFIX): value for key, value in cast("dict[str, Any]", settings).items()}


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Header]:
    """Return an adapter's tensors and its header.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    with _opened(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118 (not a dict)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Header) -> None:
    """Write a safetensors file; it appears whole or not at all.

    Raises:
        UserError: the path cannot be written.
    """
    with whole(path) as part:
        part.write_bytes(save(dict(tensors), metadata={"format": "pt", **header}))


@contextmanager
def _opened(path: Path) -> Generator[safe_open, None, None]:
    """Open a safetensors file, or say in a sentence why it cannot be."""
    if not path.is_file():
        raise UserError(f"there is no adapter file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise UserError(f"{path} is not a whole safetensors file: {error}") from error
