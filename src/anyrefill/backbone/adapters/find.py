"""Where the adapters are that somebody names."""

from collections.abc import Sequence
from math import log2
from pathlib import Path

from anyrefill.backbone.adapters.header import read_passport
from anyrefill.backbone.adapters.mix import Part, parts
from anyrefill.backbone.embedded import adapter_of, shipped
from anyrefill.errors import UserError

__all__ = ["at_once", "find_adapter", "find_adapters"]


SHARE = 0.65
"""Weight of each of two LoRAs. Of the seven in docs/tasks/mixing.md it leaves the least error over three pairs of edits
on pairs that the results do not use; more than two were not measured."""


def find_adapter(name: str | Path, *, embedded: bool = True) -> Path:
    """Return the file of an adapter.

    Args:
        name: a file, the folder of a training run, or the task of an adapter that ships.
        embedded: whether the shipped ones come into question: they fit the embedded backbone only.

    Raises:
        UserError: there is no such adapter, or the run has not been trained to its end.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise UserError(f"There is no adapter {name}: nobody here has that home folder.") from error
    if path.is_dir():
        path = path / "adapter.safetensors"
        if not path.is_file():
            raise UserError(f"The run {name} has no adapter.safetensors yet: train it to its end.")
    if path.is_file():
        return path
    if embedded and str(name) in shipped():
        return adapter_of(str(name))
    raise UserError(f"There is no adapter {name}: give a file, the folder of a training run, or none.")


def find_adapters(
    tasks: Sequence[Part], adapter: str | Path | None, *, embedded: bool
) -> list[tuple[Path, float | None]]:
    """Return the files of the adapters to paint with, and the weight of each where one was said.

    Args:
        tasks: to paint, with their weights.
        adapter: one or several joined by ``+``; ``none`` for none; by default the ones that ship with these tasks.
        embedded: whether the backbone is the embedded one, which alone has adapters that ship.

    Raises:
        UserError: there is no such adapter, or a weight for none.
    """
    if adapter is None and embedded:
        return [(adapter_of(task.name), task.weight) for task in tasks]
    if any(task.weight not in (None, 1) for task in tasks):
        raise UserError("A task's weight is that of the adapter it ships with: weigh others as in --adapter A:0.8+B.")
    if adapter is None or str(adapter) == "none":
        return []
    return [(find_adapter(part.name, embedded=embedded), part.weight) for part in parts(adapter)]


def at_once(found: Sequence[tuple[Path, float | None]]) -> list[tuple[Path, float]]:
    """Return adapters that are to act at once, each with the weight that was said, or else with an equal share.

    A LoRA whose weight was not said acts with `SHARE` beside another one, and with that much again for every doubling
    of their number, since what they add to a layer overlaps. A prompt has no weight.
    """
    prompts = [read_passport(path).kind == "prompt" for path, _ in found]
    share = SHARE ** log2(max(1, prompts.count(False)))
    unsaid = [1.0 if prompt else share for prompt in prompts]
    return [(path, one if weight is None else weight) for (path, weight), one in zip(found, unsaid, strict=True)]
