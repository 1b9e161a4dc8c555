"""What `anyrefill train` can be told: one flat record."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from anyrefill.flow import Density

__all__ = ["Region", "TrainConfig"]

Region = Literal["whole", "painted"]
"""Where the loss counts: on all tokens (arXiv 2502.11158, eq. 3) or on painted ones."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train one task's LoRA on a folder of pairs."""

    task: Positional[str]
    """A name from `anyrefill tasks`, or a .py file that defines one."""
    pairs: Positional[Path]
    """The folder of pairs: metadata.jsonl and pictures."""
    out: Path
    """Where checkpoint and adapter go; a run that lies there is gone on with."""
    backbone: str = "micro"
    """The base: `micro`, a folder, or a hub id."""
    steps: int = 600
    """Optimizer steps."""
    batch: int = 16
    """Noisy samples a step."""
    rank: int = 16
    """Rank of the LoRA; the paper's is 128."""
    alpha: float | None = None
    """The LoRA adds alpha / rank * B A; alpha = rank if not given."""
    targets: str = "paper"
    """Which layers: attention, paper, paper+mlp or all."""
    lr: float = 1e-3
    """Peak learning rate of AdamW; the paper's on FLUX.1-Fill is 1e-4."""
    warmup: int = 30
    """Steps of linear warm-up; afterwards the rate falls along a cosine to a twentieth."""
    clip: float = 1.0
    """Largest norm of all gradients together."""
    guidance: float = 1.0
    """Distilled guidance fed in training."""
    caption_dropout: float = 0.1
    """Share of samples trained with an empty prompt."""
    density: Density = "logit-normal"
    """Of the noise levels."""
    region: Region = "painted"
    """Loss on the whole canvas (eq. 3), or on painted tokens alone."""
    seed: int = 0
    """Of the LoRA's start, the order of pairs, noise and noise levels."""
    save_every: int = 100
    """Steps between checkpoints."""
    device: str = "cpu"
    """Where to train."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the frozen base; the LoRA itself is float32."""
