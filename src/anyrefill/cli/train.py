"""`anyrefill train`."""

import os
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import groupby
from types import FrameType
from typing import TYPE_CHECKING, Any

from anyrefill.cli.common import check_writable, with_bar

if TYPE_CHECKING:
    from anyrefill.train import Step, TrainOptions

__all__ = ["train", "train_options"]


def train(options: "TrainOptions") -> None:
    """Train, with a bar, or only plan to; the first Ctrl-C saves after the step at hand and says how to go on."""
    if options.plan:
        _print_plan(options)
        return
    check_writable(options.out / "adapter.safetensors")
    from anyrefill.train import Step, training

    run, last, adapter = training(options), None, None
    shown = _shown(run, options.task)
    with _stop_asked() as stop:
        for record in shown:
            if isinstance(record, Step):
                last, adapter = record, record.adapter
            if stop and adapter is None:
                run.close()
                shown.close()
                _leave(last)
    if adapter is not None and _is_first():
        print(adapter)


def train_options() -> type:
    """Import what `anyrefill train` can be told."""
    from anyrefill.train import TrainOptions

    return TrainOptions


def _print_plan(options: "TrainOptions") -> None:
    """Print what the run would take."""
    from anyrefill.train.plan import plan

    print("\n".join(plan(options).lines()))


@contextmanager
def _stop_asked() -> Generator[list[int], None, None]:
    """Lend a list that the first Ctrl-C puts its number into; the second stops at once."""
    asked, before = list[int](), signal.getsignal(signal.SIGINT)

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _shown(run: "Iterator[Any]", title: str) -> "Generator[Any, None, None]":
    """Pass a run's records on: a bar for the encoding, another for the steps, sentences on stderr."""
    from anyrefill.train import Cached, Note

    for kind, records in groupby(run, key=type):
        if not _is_first():
            yield from records
        elif kind is Note:
            for note in records:
                print(f"note: {note.text}", file=sys.stderr)
                yield note
        else:
            yield from with_bar(records, "encoding" if kind is Cached else title)


def _leave(last: "Step | None") -> None:
    """Say how to go on and leave with the code of an interrupted program."""
    where = f"after step {last.step} of {last.steps}, which is saved" if last else "before the first step"
    if _is_first():
        print(f"Stopped {where}: the same command goes on.", file=sys.stderr)
    sys.exit(130)


def _is_first() -> bool:
    """Whether this process speaks, where a launcher has started several."""
    return os.environ.get("RANK", "0") == "0"
