"""The free witness: how well the model repaints the reference it was given, where that tells good paintings from bad.

Whether it does was measured for an adapter on held-out pairs, or not: the record lies beside the adapter's file.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from anyrefill.backbone import Backbone
from anyrefill.backbone.latents import unpack
from anyrefill.canvas import Canvas
from anyrefill.errors import UserError
from anyrefill.files import sha256_of, write_text
from anyrefill.metrics import lpips_alex
from anyrefill.types import Tokens

__all__ = ["Witness", "WitnessScore", "reference_errors"]

WitnessScore = Literal["latents", "lpips"]
"""How far a repainted reference is from the given one: relative distance of latents, or LPIPS (AlexNet) of pictures."""


@dataclass(frozen=True, kw_only=True)
class Witness:
    """Whether the witness ranks one adapter's paintings of a canvas.

    Attributes:
        correlation: Spearman's, over the seeds of a canvas, between ``reference_errors`` and LPIPS to the truth; the
            mean over held-out canvases.
        low: lower end of its confidence interval.
        high: upper end of it.
        canvases: how many.
        seeds: of each.
        score: which of the reference's errors.
    """

    correlation: float
    low: float
    high: float
    canvases: int
    seeds: int
    score: WitnessScore = "latents"

    @property
    def ranks(self) -> bool:
        """Whether a better witness means a better painting, beyond chance."""
        return self.low > 0

    @classmethod
    def read(cls, adapter: Path) -> "Witness | None":
        """Return what was measured for an adapter's file as it is now, or None.

        Raises:
            UserError: the record is damaged.
        """
        path = _record(adapter)
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            digest = values.pop("adapter")
            witness = cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path} is damaged: {error}.") from error
        return witness if digest == sha256_of(adapter) else None

    def write(self, adapter: Path) -> Path:
        """Write the record beside an adapter's file and return its path."""
        path = _record(adapter)
        write_text(path, json.dumps({"adapter": sha256_of(adapter), **asdict(self)}) + "\n")
        return path

    def __str__(self) -> str:
        """Return the correlation with its interval."""
        return f"{self.correlation:.2f} [{self.low:.2f}, {self.high:.2f}], {self.canvases} canvases, {self.seeds} seeds"


@torch.no_grad()
def reference_errors(
    backbone: Backbone, canvas: Canvas, latents: Tokens, score: WitnessScore = "latents"
) -> list[float]:
    """Return how far the repainted references of each painting of one canvas are from what the autoencoder makes of it.

    Args:
        backbone: encodes what was given.
        canvas: that was painted.
        latents: packed, at the end of the run.
        score: ||x - z|| / ||z|| over the references' latents, or LPIPS between the decoded references.

    Raises:
        UserError: LPIPS is asked for, and its weights are missing.
    """
    given, painted = backbone.encode(canvas.masked[None]), unpack(latents, canvas.height, canvas.width)
    if score == "latents":
        known = canvas.beside(given)
        return ((canvas.beside(painted.to(given)) - known).flatten(1).norm(dim=1) / known.norm()).tolist()
    wanted, *repainted = (canvas.beside(backbone.decode(one[None])[0].cpu()) for one in (*given, *painted))
    return [lpips_alex(one, wanted) for one in repainted]


def _record(adapter: Path) -> Path:
    """Return where an adapter's record lies."""
    return adapter.with_suffix(".witness.json")
