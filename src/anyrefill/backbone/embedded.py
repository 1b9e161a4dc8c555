"""The backbone that ships with the package, called ``micro``, and its adapters: where they lie."""

from importlib.resources import files
from pathlib import Path

from anyrefill.errors import UserError

__all__ = ["EMBEDDED", "MIXES", "adapter_of", "find_base", "mixes", "shipped"]

EMBEDDED = Path(str(files("anyrefill"))) / "assets" / "micro"
"""Its folder, in diffusers' layout."""


def find_base(name: str | Path) -> str | Path:
    """Return the embedded backbone's folder for its name, any other folder or hub id as it is.

    Raises:
        UserError: the embedded backbone is asked for, but this installation lacks it.
    """
    if str(name) != "micro":
        return name
    if not (EMBEDDED / "transformer").is_dir():
        raise UserError(f"The embedded backbone is not in this installation: {EMBEDDED} has no transformer.")
    return EMBEDDED


def shipped() -> list[str]:
    """Return the tasks whose adapters ship with the embedded backbone, sorted."""
    return sorted(path.stem for path in (EMBEDDED / "adapters").glob("*.safetensors"))


MIXES = ("age+gender",)
"""Several adapters in one picture, as the demonstration and the table of results show them."""


def mixes() -> list[str]:
    """Return those of `MIXES` whose adapters all ship."""
    return [mix for mix in MIXES if set(mix.split("+")) <= set(shipped())]


def adapter_of(task: str) -> Path:
    """Return the file of the adapter of a task that ships with the embedded backbone.

    Raises:
        UserError: there is none.
    """
    if task not in shipped():
        known = f", only for {', '.join(shipped())}" if shipped() else ""
        raise UserError(f"The embedded backbone has no adapter for {task}{known}: train one and give it, or give none.")
    return EMBEDDED / "adapters" / f"{task}.safetensors"
