"""A run's state on disk: written whole or not at all, checked when read, and only taken up by the run that wrote it.

All random numbers of a step come from the seed and the step's number, and so do the learning rate and the place in the
shuffled pairs: settings, step, weights, their average and the optimizer's moments are the whole state.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anyrefill.errors import UserError
from anyrefill.files import whole, write_text
from anyrefill.train.config import TrainConfig
from anyrefill.train.store import file_digest

__all__ = ["FOLDER", "Checkpoint", "State", "states", "write_state"]

FOLDER = "checkpoints"
"""Where the states lie in a run's folder."""

FREE = (
    "out", "pairs", "steps", "min_epochs", "save_every", "keep", "cache", "device",
    "validate_every", "samples", "track", "plan", "checkpointing", "steps_paint",
    "temperature_paint",
    "reference_guidance_paint", "mirrored_paint",
)  # fmt: skip
"""Settings that may change when a run goes on; where the pairs lie, too, since their manifest says what they are."""

CONTENT = "base, prompt or mask"
"""What a sentence calls them."""

TURNS = "order of shapes"
"""What a sentence calls the way in which `--buckets` take turns."""

DEFAULTS = {field.name: str(field.default) for field in fields(TrainConfig)} | {TURNS: "by batches"}
"""What an option was before it existed."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What a run needs to go on.

    Attributes:
        step: optimizer steps done.
        parameters: the float32 masters.
        average: their moving average, or nothing.
        optimizer: its own state, as torch writes it.
        processes: how many trained together.
        best: the lowest validation loss so far.
        steps_before: of training in the weights that the run began with; None where an earlier version did not say.
    """

    step: int
    parameters: list[Tensor]
    average: list[Tensor]
    optimizer: Mapping[str, Any] = field(repr=False)
    processes: int = 1
    best: float = float("inf")
    steps_before: int | None = None


class Checkpoint:
    """The files `state-STEP.pt` of a run's folder, each with its sha256 beside it."""

    def __init__(self, config: TrainConfig, manifest: str, content: str) -> None:
        """Name the run.

        Args:
            config: all settings that shape its weights.
            manifest: of its pairs.
            content: of its base's weights, its prompts and its masks.
        """
        self.folder, self.keep = config.out / FOLDER, config.keep
        self.run = {key: str(value) for key, value in asdict(config).items() if key not in FREE}
        self.run |= {"manifest": manifest, CONTENT: content}
        self.run |= {TURNS: "by pairs"} if config.buckets else {}

    def load(self) -> tuple[State | None, list[str]]:
        """Return the newest state that is whole, None where there is none, and sentences about damaged ones.

        Raises:
            UserError: the checkpoint is of another run, or all there are cannot be read.
        """
        notes = list[str]()
        for path in states(self.folder):
            if complaint := _complaint(path):
                notes.append(f"{path} {complaint}: going on from the one before.")
                continue
            entries: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
            self._refuse_another(path, json.loads(entries.pop("run")))
            return State(**entries), notes
        if notes:
            raise UserError(f"No checkpoint in {self.folder} can be read; remove the folder to start anew.")
        return None, notes

    def save(self, state: State) -> None:
        """Write under a temporary name, flush to the disk, rename; then drop the oldest.

        The sha256 is there before the state is, so a state without one is never whole.

        Raises:
            UserError: the folder cannot be written.
        """
        path = self.folder / f"state-{state.step:07}.pt"
        with whole(path) as part:
            write_state({"run": json.dumps(self.run), **vars(state)}, part)
            write_text(_sidecar(path), f"{file_digest(part)}  {path.name}\n")
        older = [other for other in states(self.folder) if other.name < path.name]  # a later one is a damaged one
        for old in older[self.keep - 1 :]:
            with suppress(FileNotFoundError):
                old.unlink()
                _sidecar(old).unlink()

    def _refuse_another(self, path: Path, run: Mapping[str, str]) -> None:
        """Refuse the state of a run with other settings, pairs, prompts, masks or weights of the base.

        What the state does not know, since an earlier version wrote it, is not compared.
        """
        changed = sorted(key for key, value in self.run.items() if run.get(key, DEFAULTS.get(key, value)) != value)
        if changed:
            raise UserError(f"{path} is of a run with another {', '.join(changed)}; give another --out.")


def states(folder: Path) -> list[Path]:
    """Return the states in a folder, whole or damaged, the newest first."""
    return sorted(folder.glob("state-*.pt"), reverse=True)


def write_state(content: Mapping[str, Any], path: Path) -> None:
    """Write by torch; what hinders it is raised as the system's own error, which torch hides behind one of its own."""
    try:
        with path.open("wb") as file:
            torch.save(dict(content), file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def _sidecar(path: Path) -> Path:
    """Return the name of the checksum, which `sha256sum --check` reads."""
    return path.with_name(f"{path.name}.sha256")


def _complaint(path: Path) -> str:
    """Return what is wrong with a file, or nothing."""
    try:
        promised = _sidecar(path).read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        return "has no checksum"
    return "" if file_digest(path) == promised else "is damaged (its sha256 is another)"
