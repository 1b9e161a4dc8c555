"""`anyrefill convert`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from anyrefill.cli.common import check_writable
from anyrefill.errors import UserError

__all__ = ["Convert", "convert"]


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Write a LoRA again in the layout of another program."""

    adapter: Positional[Annotated[str, arg(metavar="ADAPTER")]]
    """A file in any of the layouts, the folder of a training run, or the task of an adapter that ships with micro."""
    to: Literal["kohya", "bfl", "diffusers"]
    """kohya: sd-scripts and WebUIs; bfl: ComfyUI; diffusers: diffusers, peft and anyrefill."""
    out: Annotated[Path, arg(metavar="FILE")]
    """Where the new file goes."""


def convert(options: Convert) -> None:
    """Convert one file and print where it is."""
    check_writable(options.out)
    from anyrefill.backbone.adapters.files import convert_adapter
    from anyrefill.backbone.adapters.find import find_adapter

    path = find_adapter(options.adapter)
    if path.resolve() == options.out.resolve():
        raise UserError(f"Cannot write {options.out}: it is the adapter to read.")
    if convert_adapter(path, options.out, options.to) is None:
        print(f"note: {path} has no passport, so nothing says which base it fits.", file=sys.stderr)
    print(options.out)
