"""Where the adapters are that somebody names."""

from collections.abc import Sequence
from pathlib import Path

from anyrefill.backbone.adapters.mix import Part, parts
from anyrefill.backbone.embedded import adapter_of, shipped
from anyrefill.errors import UserError

__all__ = ["find_adapter", "find_adapters"]


def find_adapter(name: str | Path, *, embedded: bool = True) -> Path:
    """Return the file of an adapter.

    Args:
        name: a file, the folder of a training run, or the task of an adapter that ships.
        embedded: whether the shipped ones come into question: they fit the embedded backbone only.

    Raises:
        UserError: there is no such adapter, or the run has not been trained to its end.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        path = path / "adapter.safetensors"
        if not path.is_file():
            raise UserError(f"The run {name} has no adapter.safetensors yet: train it to its end.")
    if path.is_file():
        return path
    if embedded and str(name) in shipped():
        return adapter_of(str(name))
    raise UserError(f"There is no adapter {name}: give a file, the folder of a training run, or none.")


def find_adapters(tasks: Sequence[Part], adapter: str | Path | None, *, embedded: bool) -> list[tuple[Path, float]]:
    """Return the files of the adapters to paint with, and how strongly each acts.

    Args:
        tasks: to paint, with their weights.
        adapter: one or several joined by ``+``; ``none`` for none; by default the ones that ship with these tasks.
        embedded: whether the backbone is the embedded one, which alone has adapters that ship.

    Raises:
        UserError: there is no such adapter, or a weight for none.
    """
    if adapter is None and embedded:
        return [(adapter_of(task.name), task.weight) for task in tasks]
    if any(task.weight != 1 for task in tasks):
        raise UserError("A task's weight is that of the adapter it ships with: weigh others as in --adapter A:0.8+B.")
    if adapter is None or str(adapter) == "none":
        return []
    return [(find_adapter(part.name, embedded=embedded), part.weight) for part in parts(adapter)]
