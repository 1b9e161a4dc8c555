"""What `anyrefill train` can be told: one flat record."""

from dataclasses import dataclass
from importlib.util import find_spec
from math import inf, isfinite
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from anyrefill.backbone import Attention
from anyrefill.backbone.precision import dtype_name, fast_dtype
from anyrefill.backbone.quantized import Quantize
from anyrefill.errors import UserError
from anyrefill.flow import Density
from anyrefill.seeds import check_seed

__all__ = ["Kind", "Optimizer", "Region", "Track", "TrainConfig", "TrainOptions", "Weighing"]

Kind = Literal["lora", "prompt"]
"""What is trained: a LoRA in the transformer, or tokens in front of what CLIP reads."""

Region = Literal["whole", "painted"]
"""Where the loss counts: on all tokens (arXiv 2502.11158, eq. 3) or on painted ones."""

Weighing = Literal["even", "reach"]
"""What a latent channel's error counts: one, or the norm of the pixels' change when it changes (mean one)."""

COUNTS = (
    "steps", "batch", "accumulate", "draws", "rank", "tokens", "validate_every", "save_every", "keep", "steps_paint",
)  # fmt: skip
"""Options that count something, so that 0 makes no sense."""

Track = Literal["tensorboard", "wandb", "trackio"]
"""Events in the run's folder; a run at Weights & Biases; one of trackio, which stays on this machine."""

Optimizer = Literal["adamw", "adamw8bit"]
"""AdamW with float32 moments, or bitsandbytes' with 8-bit ones."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train one task's adapter on a folder of pairs."""

    task: Positional[str]
    """A name from `anyrefill tasks`, or a .py file that defines one."""
    pairs: Positional[Path]
    """The folder of pairs: metadata.jsonl and pictures."""
    out: Path
    """Where checkpoints, log and adapter go; a run that lies there is gone on with."""
    backbone: str = "micro"
    """The base: `micro`, a folder, or a hub id."""
    steps: int | None = None
    """Optimizer steps; if not given, the paper's for the task (table I) on a base as large as FLUX, 600 on others."""
    min_epochs: float = 0.0
    """Go on after `steps` until every pair was seen that often."""
    batch: int = 16
    """Noisy samples a step, all processes and parts together."""
    accumulate: int = 1
    """Parts that each process takes its share of a batch in: less memory, the same result but for rounding."""
    kind: Kind = "lora"
    """A LoRA in the transformer, or prompt tokens in CLIP and nothing else."""
    tokens: int | None = None
    """Prompt tokens to train: 50 where CLIP reads 77, in proportion where it reads fewer, if not given."""
    start_from: str | None = None
    """Begin with the weights of this adapter: a file, a run's folder or a shipped one; its base may be another."""
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
    steps_paint: int | None = None
    """Euler steps that the adapter asks to be painted with; 1 to 4 give softer pictures nearer to the target."""
    temperature_paint: float = 1.0
    """What the adapter asks the noise to be multiplied by when it paints; 0 where the reference tells the answer."""
    reference_guidance_paint: float = 1.0
    """How much more than in training the adapter asks the reference to count when it paints; 1.5 to 3 where much is
    left open, as from depth to a photograph."""
    mirrored_paint: bool = False
    """Whether the adapter asks for the mean with the mirror image's painting, which takes a temperature of 0."""
    quiet: float = 0.0
    """Share of samples trained from nothing, sigma 1 without noise, which is how painting begins at temperature 0."""
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
    weighing: Weighing = "even"
    """Of the latent channels in the loss: alike, or by how far each moves the decoded pixels."""
    checkpointing: bool = False
    """Compute each block's activations twice instead of keeping them."""
    compile: bool = False
    """Compile the transformer's blocks: a minute once, then faster steps."""
    buckets: bool = False
    """Let pairs keep about their shape, on canvases of a few sizes, instead of fitting all to squares."""
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
    track: Track | None = None
    """Tell TensorBoard, wandb or trackio too."""
    device: str = "cpu"
    """Where to train."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the frozen base; the LoRA itself is float32. auto is bfloat16 where the device multiplies it, else float32."""
    quantize: Quantize | None = None
    """Hold the frozen transformer in 8 bits (int8, needs torchao) or 4 (nf4, needs bitsandbytes and a GPU)."""

    def __post_init__(self) -> None:
        """Settle what is left to the device, so that what a run was made with is known afterwards."""
        if self.dtype == "auto":
            object.__setattr__(self, "dtype", dtype_name(fast_dtype(self.device)))

    def check(self) -> None:
        """Refuse numbers that cannot be trained with, and what needs a package that is not installed.

        Raises:
            UserError: a number is out of its range, or a package is missing.
        """
        for name in COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {value}.")
        self._check_ranges()
        self._check_together()
        self._check_packages()

    def _check_ranges(self) -> None:
        """Refuse numbers that are not counts and out of their range."""
        check_seed(self.seed)
        self._check_finite()
        for name in ("lr", "clip", "logit_std", "alpha"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"--{name.replace('_', '-')} must be above 0, not {value}.")
        for name, most in (("temperature_paint", 2), ("reference_guidance_paint", 10), ("quiet", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise UserError(
                    f"--{name.replace('_', '-')} must be at least 0 and at most {most}, not {getattr(self, name)}."
                )
        if self.mirrored_paint and self.temperature_paint != 0:
            raise UserError("--mirrored-paint takes --temperature-paint 0: guesses are not averaged.")
        for name in ("ema", "caption_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(
                    f"--{name.replace('_', '-')} must be at least 0 and below 1, not {getattr(self, name)}."
                )

    def _check_finite(self) -> None:
        """Refuse what is below 0, and numbers that are none or have no end."""
        for name in ("min_epochs", "warmup", "guidance", "samples"):
            if not 0 <= getattr(self, name) < inf:
                raise UserError(f"--{name.replace('_', '-')} must be 0 or more, not {getattr(self, name)}.")
        for name in ("lr", "alpha", "logit_mean", "logit_std"):
            value = getattr(self, name)
            if value is not None and not isfinite(value):
                raise UserError(f"--{name.replace('_', '-')} must be a finite number, not {value}.")

    def _check_packages(self) -> None:
        """Refuse what needs a package that is not there, before minutes of encoding."""
        needed = {"--optimizer adamw8bit": "bitsandbytes"} if self.optimizer == "adamw8bit" else {}
        needed |= {f"--track {self.track}": self.track} if self.track is not None else {}
        for option, package in needed.items():
            if find_spec(package) is None:
                raise UserError(f"{option} needs {package}: pip install {package}, or leave the option out.")

    def _check_together(self) -> None:
        """Refuse settings that do not go together."""
        if self.batch % self.draws:
            raise UserError(f"--batch {self.batch} must be a multiple of --draws {self.draws}.")
        if self.attention != "full" and self.region == "whole":
            raise UserError(
                f"--attention {self.attention} predicts nothing for known tokens: it needs --region painted."
            )
        for name in ("checkpointing", "compile"):
            if self.attention != "full" and getattr(self, name):
                raise UserError(f"--{name} works with --attention full alone, not with {self.attention}.")
        if self.kind == "lora" and self.tokens is not None:
            raise UserError("--tokens are those of --kind prompt; the size of a LoRA is its --rank.")


@dataclass(frozen=True, kw_only=True)
class TrainOptions(TrainConfig):
    """Train one task's adapter on a folder of pairs."""

    plan: bool = False
    """Only print what memory and time the run would take, here and on GPUs of 24, 48 and 80 GB."""
