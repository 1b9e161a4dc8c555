"""What a run tells about itself while it goes: a line for each step, a curve, a report when it breaks."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from anyrefill import images
from anyrefill.files import write_text
from anyrefill.train.config import TrainConfig
from anyrefill.train.data import Batch
from anyrefill.train.tracking import tracker

__all__ = ["Entry", "Log", "curve", "write_report"]

SIZE, MARGIN = (720, 400), 46
"""Of the learning curve, in pixels."""

TRAINED, HELD_OUT, GREY = (90, 130, 200), (200, 80, 40), (150, 150, 150)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of `log.jsonl`.

    Attributes:
        step: optimizer steps done.
        loss: of the step's batch.
        norm: of its gradients, before clipping.
        rate: the learning rate it was taken with.
        seconds: that it took.
        validation: loss on the held-out pairs, where they were looked at after this step.
    """

    step: int
    loss: float
    norm: float
    rate: float
    seconds: float
    validation: float | None = None


class Log:
    """The file `log.jsonl` of a run, its picture `curve.png`, and what a tracker is told."""

    def __init__(self, config: TrainConfig) -> None:
        """Name the files; `begin` opens them."""
        self.config, self.path = config, config.out / "log.jsonl"
        self.entries, self.tracker = list[Entry](), None

    def begin(self, first: int) -> None:
        """Go on with the log of a run, without the lines of steps that will be taken again.

        Args:
            first: steps that are done.

        Raises:
            UserError: the folder cannot be written, or the tracker is not installed.
        """
        self.entries = [entry for entry in _read(self.path) if entry.step <= first]
        self.tracker = tracker(self.config) if self.config.track else None
        write_text(self.path, "".join(f"{json.dumps(asdict(entry))}\n" for entry in self.entries))

    def add(self, entry: Entry) -> None:
        """Write one line, and let it be seen."""
        self.entries.append(entry)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(asdict(entry))}\n")
        if self.tracker is not None:
            told = {name: value for name, value in asdict(entry).items() if name != "step" and value is not None}
            self.tracker.log(told, step=entry.step)

    def finish(self) -> None:
        """Let the tracker send what it still holds."""
        if self.tracker is not None:
            self.tracker.finish()

    def draw(self) -> None:
        """Draw the curve anew."""
        if self.entries:
            images.save(curve(self.entries), self.path.with_name("curve.png"))


def curve(entries: Sequence[Entry]) -> Image.Image:
    """Return the learning curve: dots for steps, a line for their running mean, a line for the held-out pairs."""
    width, height = SIZE
    picture = Image.new("RGB", SIZE, "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    smooth = list(_running_mean([entry.loss for entry in entries], window=max(1, len(entries) // 20)))
    held_out = [(entry.step, entry.validation) for entry in entries if entry.validation is not None]
    highest = 1.1 * max([*smooth, *(loss for _, loss in held_out)])
    last = max(entry.step for entry in entries)

    def place(step: int, loss: float) -> tuple[float, float]:
        across = MARGIN + (width - 2 * MARGIN) * step / last
        return across, height - MARGIN - (height - 2 * MARGIN) * min(1.0, loss / highest)

    for tick in range(5):
        level = highest * tick / 4
        draw.line([place(0, level), place(last, level)], fill=(230, 230, 230))
        draw.text((4, place(0, level)[1] - 7), f"{level:.3f}", fill=GREY, font=font)
    for entry in entries:
        draw.point(place(entry.step, entry.loss), fill=GREY)
    draw.line([place(entry.step, loss) for entry, loss in zip(entries, smooth, strict=True)], fill=TRAINED, width=2)
    for point in (places := [place(step, loss) for step, loss in held_out]):
        draw.circle(point, 3, fill=HELD_OUT)
    draw.line(places, fill=HELD_OUT, width=2)
    draw.text((MARGIN, 12), "loss: training, running mean", fill=TRAINED, font=font)
    draw.text((MARGIN + 220, 12), "held-out pairs" if held_out else "", fill=HELD_OUT, font=font)
    draw.text((width - MARGIN - 60, height - MARGIN + 8), f"step {last}", fill=GREY, font=font)
    return picture


def write_report(
    path: Path, step: int, seed: int, batch: Batch, loss: float, modules: Iterable[tuple[str, Tensor]]
) -> None:
    """Write down what a step was made of whose loss or gradients are not finite.

    Args:
        path: of the report, JSON; numbers that are not finite are written as NaN and Infinity.
        step: the one that failed, from 1.
        seed: of the run.
        batch: the whole batch.
        loss: what came out.
        modules: names and tensors, whose norms are wanted.
    """
    report = {
        "step": step,
        "seed": seed,
        "loss": loss,
        "rows": batch.rows,
        "sigma": batch.sigma.tolist(),
        "largest_latent": float(batch.clean.abs().max()),
        "norms": {name: float(tensor.detach().float().norm()) for name, tensor in modules},
    }
    write_text(path, json.dumps(report, indent=1) + "\n")


def _read(path: Path) -> Iterator[Entry]:
    """Yield the lines of a log that are whole; a kill may have torn the last."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield Entry(**json.loads(line))
        except (ValueError, TypeError):
            return


def _running_mean(values: Sequence[float], window: int) -> Iterator[float]:
    """Yield the mean of each value and those before it, as many as the window holds."""
    for end in range(1, len(values) + 1):
        some = values[max(0, end - window) : end]
        yield sum(some) / len(some)
