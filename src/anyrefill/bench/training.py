"""The table of training steps: ours beside the loop of diffusers' examples."""

import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Generator as Random

from anyrefill import images, tasks
from anyrefill.backbone.embedded import find_base
from anyrefill.backbone.folder import Folder
from anyrefill.bench.plain_training import plain_training
from anyrefill.bench.rows import Row, rows_of
from anyrefill.bench.timing import Run, interleaved
from anyrefill.pairs import Pair, Photo, write_pairs
from anyrefill.train import Step, TrainConfig, training

__all__ = ["TRAIN_TABLE", "ours", "training_steps", "write_photographs"]

SAMPLES, RANK = 16, 32
TRAIN_TABLE = f"one step of adapter training, {SAMPLES} noisy samples, rank {RANK}"

PLAIN_WAYS = MappingProxyType({"plain {dtype}": False, "plain {dtype}, encoded once": True})
"""Whether diffusers' loop keeps what the encoders give; its examples ask them in every step, unless told otherwise."""

OUR_WAYS: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {
        "full {dtype}": {"region": "whole"},
        "clean_ref_text {dtype}, 4 draws a pair": {"attention": "clean_ref_text", "draws": 4},
    }
)
"""What `anyrefill train` is told beyond the rest. It encodes before its first step, which is not timed."""


def training_steps(dtypes: Sequence[str], rounds: int, samples: int = SAMPLES) -> list[Row]:
    """Time training steps of deblur on the bundled photographs.

    Args:
        dtypes: of the frozen base, the first one float32.
        rounds: how often each way is timed, in turns.
        samples: noisy samples a step, of four draws each where a prefix is shared.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            task="deblur", pairs=write_photographs(Path(folder) / "pairs", samples), out=Path(folder) / "run",
            cache=Path(folder) / "cache", steps=rounds + 1, batch=samples, rank=RANK, caption_dropout=0.0,
            save_every=10**6,
        )  # fmt: skip
        ways = {name: steps for dtype in dtypes for name, steps in _ways(config, dtype)}
        timings = interleaved([Run(name=name, call=partial(next, steps)) for name, steps in ways.items()], rounds)
        for steps in ways.values():
            steps.close()
    return rows_of(TRAIN_TABLE, timings, 1.0, "s CPU")


def _ways(config: TrainConfig, dtype: Any) -> Iterator[tuple[str, Generator[float, None, None]]]:  # noqa: ANN401
    """Yield the name and the steps of every way in one type."""
    config = replace(config, dtype=dtype)
    for name, kept in PLAIN_WAYS.items():
        yield name.format(dtype=dtype), plain_training(config, encode_once=kept)
    for name, told in OUR_WAYS.items():
        own = replace(config, **told, out=config.out / name.format(dtype=dtype))
        yield name.format(dtype=dtype), ours(own)


def ours(config: TrainConfig) -> Generator[float, None, None]:
    """Yield the loss of every step of `anyrefill train`, of which the last one also saves."""
    with closing(training(replace(config, steps=(config.steps or 0) + 1))) as records:
        for record in records:
            if isinstance(record, Step):
                yield record.loss


def write_photographs(folder: Path, number: int = SAMPLES) -> Path:
    """Write pairs of the task deblur, made of the bundled photographs, and return their folder."""
    make, side = tasks.get("deblur").make, Folder.find(find_base("micro")).settings.panel
    assert make is not None
    photos = sorted((Path(str(files("anyrefill"))) / "assets" / "photos").glob("*.jpg"))

    def pairs() -> Iterator[Pair]:
        for index in range(number):
            pixels = images.to_panel(photos[index % len(photos)], (side, side))
            pair = make(Photo(pixels=pixels), Random().manual_seed(index))
            assert pair is not None
            yield pair

    write_pairs(pairs(), folder)
    return folder
