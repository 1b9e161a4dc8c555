"""What `anyrefill train` can be told: one flat record."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from anyrefill.backbone import Attention
from anyrefill.errors import UserError
from anyrefill.flow import Density

__all__ = ["Optimizer", "Region", "TrainConfig", "TrainOptions"]

Region = Literal["whole", "painted"]
"""Where the loss counts: on all tokens (arXiv 2502.11158, eq. 3) or on painted ones."""

Optimizer = Literal["adamw", "adamw8bit"]
"""AdamW with float32 moments, or bitsandbytes' with 8-bit ones."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train one task's LoRA on a folder of pairs."""

    task: Positional[str]
    """A name from `anyrefill tasks`, or a .py file that defines one."""
    pairs: Positional[Path]
    """The folder of pairs: metadata.jsonl and pictures."""
    out: Path
    """Where checkpoints, log and adapter go; a run that lies there is gone on with."""
    backbone: str = "micro"
    """The base: `micro`, a folder, or a hub id."""
    steps: int = 600
    """Optimizer steps."""
    min_epochs: float = 0.0
    """Go on after `steps` until every pair was seen that often."""
    batch: int = 16
    """Noisy samples a step, all processes and parts together."""
    accumulate: int = 1
    """Parts that each process takes its share of a batch in: less memory, the same result but for rounding."""
    rank: int = 16
    """Rank of the LoRA; the paper's is 128."""
    alpha: float | None = None
    """The LoRA adds alpha / rank * B A; alpha = rank if not given."""
    targets: str = "paper"
    """Which layers: attention, paper, paper+mlp or all."""
    optimizer: Optimizer = "adamw"
    """AdamW, or bitsandbytes' with 8-bit moments."""
    lr: float = 1e-3
    """Peak learning rate of AdamW; the paper's on FLUX.1-Fill is 1e-4."""
    warmup: int = 30
    """Steps of linear warm-up; afterwards the rate falls along a cosine to a twentieth."""
    clip: float = 1.0
    """Largest norm of all gradients together."""
    ema: float = 0.0
    """Decay of a moving average of the weights, e.g. 0.999; the adapter is then the average."""
    guidance: float = 1.0
    """Distilled guidance fed in training."""
    caption_dropout: float = 0.1
    """Share of samples trained with an empty prompt."""
    density: Density = "logit-normal"
    """Of the noise levels."""
    logit_mean: float = 1.5
    """Of the logit-normal density; FLUX's usual is 0, but copying from the reference is learnt near pure noise."""
    logit_std: float = 1.5
    """Of the logit-normal density; FLUX's usual is 1."""
    attention: Attention = "full"
    """Who attends to whom; with a clean prefix (clean_ref, clean_ref_text) painting is faster, and so are `draws`."""
    draws: int = 1
    """Noisy samples of each drawn pair; a batch has batch / draws pairs, and with a clean prefix each passes once."""
    region: Region = "painted"
    """Loss on the whole canvas (eq. 3), or on painted tokens alone."""
    checkpointing: bool = False
    """Compute each block's activations twice instead of keeping them."""
    seed: int = 0
    """Of the LoRA's start, the order of pairs, noise and noise levels."""
    validate: str | None = None
    """Held-out pairs: another folder, or how many of the last ones of this folder."""
    validate_every: int = 100
    """Steps between validations."""
    samples: int = 4
    """Held-out canvases to paint at every validation; 0 for none."""
    save_every: int = 100
    """Steps between checkpoints."""
    keep: int = 2
    """How many checkpoints to keep."""
    cache: Path = Path("~/.cache/anyrefill/latents")
    """Where encoded pictures and prompts are kept, for any number of runs."""
    tensorboard: bool = False
    """Write events for TensorBoard too."""
    device: str = "cpu"
    """Where to train."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the frozen base; the LoRA itself is float32."""

    def check(self) -> None:
        """Refuse numbers that cannot be trained with.

        Raises:
            UserError: one of them is out of its range.
        """
        for name in ("steps", "batch", "accumulate", "draws", "rank", "validate_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}.")
        for name in ("lr", "clip", "logit_std"):
            if not getattr(self, name) > 0:
                raise UserError(f"--{name.replace('_', '-')} must be above 0, not {getattr(self, name)}.")
        for name in ("ema", "caption_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(
                    f"--{name.replace('_', '-')} must be at least 0 and below 1, not {getattr(self, name)}."
                )
        self._check_together()

    def _check_together(self) -> None:
        """Refuse settings that do not go together."""
        if self.batch % self.draws:
            raise UserError(f"--batch {self.batch} must be a multiple of --draws {self.draws}.")
        if self.attention != "full" and self.region == "whole":
            raise UserError(
                f"--attention {self.attention} predicts nothing for known tokens: it needs --region painted."
            )
        if self.attention != "full" and self.checkpointing:
            raise UserError(f"--checkpointing works with --attention full alone, not with {self.attention}.")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainConfig):
    """Train one task's LoRA on a folder of pairs."""

    plan: bool = False
    """Only print what memory and time the run would take, here and on GPUs of 24, 48 and 80 GB."""
