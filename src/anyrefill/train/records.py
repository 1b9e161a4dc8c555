"""What a training run yields beside `Cached`."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Note", "Step"]


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something to tell the user once.

    Attributes:
        text: one sentence.
    """

    text: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where a training run stands.

    Attributes:
        step: optimizer steps done, all sessions together.
        steps: of the whole run.
        loss: of this step's batch.
        seconds: that this step took.
        adapter: the finished file, at the last step.
        validation: loss on the held-out pairs, where they were looked at after this step.
    """

    step: int
    steps: int
    loss: float
    seconds: float
    adapter: Path | None = None
    validation: float | None = None
