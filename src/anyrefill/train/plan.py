"""What a training run would take, before it is started: memory and time, here and on GPUs of usual sizes.

Everything is counted on tensors without storage (`count`), except the speed of this machine, which is measured for a
second. Times are of matrix products alone, so they are lower bounds; speeds that nobody measured are not guessed.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from anyrefill import tasks
from anyrefill.backbone.adapters.prompt import LENGTH, room_in
from anyrefill.backbone.embedded import find_base
from anyrefill.backbone.flux import FLUX, FLUX_TRANSFORMER
from anyrefill.backbone.folder import Folder, Settings
from anyrefill.backbone.quantized import BYTES
from anyrefill.errors import UserError
from anyrefill.train.config import TrainConfig
from anyrefill.train.count import Counted, count, parameters_of
from anyrefill.train.data import default_steps, split, steps_of

__all__ = ["Plan", "plan"]

GPUS = (24, 48, 80)
"""GB, as written on the box."""

RATE = 100e12
"""Operations a second that times on a GPU are stated for; which GPU reaches that is left to the reader."""


@dataclass(frozen=True, kw_only=True)
class Encoders:
    """Parameters of the parts of a base that encode.

    Attributes:
        vae: the autoencoder.
        clip: the first text encoder.
        t5: the second.
        places: how many tokens CLIP reads.
    """

    vae: int
    clip: int
    t5: int
    places: int = LENGTH


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would take.

    Attributes:
        config: what was asked for.
        counted: one sample, with attention as on a GPU.
        here: one sample on this machine.
        steps: of the run.
        encoders: parameters of the parts that encode; each is in memory without the transformer.
        speed: operations a second of this machine's matrix products, measured.
        memory: bytes that this machine has.
    """

    config: TrainConfig
    counted: Counted
    here: Counted
    steps: int
    encoders: "Encoders"
    speed: float
    memory: int

    @property
    def itemsize(self) -> int:
        """Bytes of a number of the base."""
        return getattr(torch, self.config.dtype).itemsize

    @property
    def weights(self) -> int:
        """Bytes of the base."""
        how = self.config.quantize
        return int(self.counted.base * (self.itemsize if how is None else BYTES[how]))

    @property
    def adapter(self) -> int:
        """Bytes of what is trained: as it computes and its gradient, masters and theirs, moments, average."""
        moments = 8 if self.config.optimizer == "adamw" else 2
        return self.counted.trained * (2 * self.itemsize + 8 + moments + (4 if self.config.ema else 0))

    @property
    def operations(self) -> int:
        """Of one step."""
        again = self.counted.forward if self.config.checkpointing else 0
        return self.config.batch * (self.counted.operations + again)

    def at_once(self, memory: int, sample: Counted, *, checkpointing: bool) -> int:
        """Return how many samples fit beside the weights."""
        kept = sample.kept_checkpointed if checkpointing else sample.kept
        return max(0, int((memory - self.weights - self.adapter) // kept))

    def lines(self) -> Iterator[str]:
        """Yield the plan as Markdown."""
        config, counted = self.config, self.counted
        what = f"rank {config.rank}" if config.kind == "lora" else "prompt tokens"
        yield f"{config.task} on {config.backbone}: {self.steps} steps of {config.batch} samples, {what}"
        yield ""
        yield "| memory | counted from | GB |"
        yield "|---|---|---:|"
        type_ = config.quantize or config.dtype
        yield f"| frozen transformer, {type_} | {counted.base:,} parameters | {_gb(self.weights)} |"
        yield f"| what is trained, masters, gradients, moments | {counted.trained:,} parameters | {_gb(self.adapter)} |"
        for name, sample in (("on a GPU", counted), ("here", self.here)):
            yield f"| activations of one sample, {name} | kept for the way back | {_gb(sample.kept)} |"
            yield f"| the same with --checkpointing | inputs of blocks, one block | {_gb(sample.kept_checkpointed)} |"
        yield from self._stages()
        yield ""
        yield f"A step is {self.operations / 1e12:,.3f} TFLOP in matrix products, the run {self._total():,.3f} PFLOP."
        if config.attention != "full":
            yield f"All is counted with full attention; {config.attention} takes less."
        yield ""
        yield "| machine | samples at once | with --checkpointing | --accumulate for the batch | products of the run |"
        yield "|---|---:|---:|---:|---:|"
        here = f"{_time(self._total() * 1e15 / self.speed)} at its measured {self.speed / 1e9:,.0f} GFLOP/s"
        yield self._row("this one", self.memory, self.here, here)
        for size in GPUS:
            yield self._row(
                f"{size} GB GPU", size * 10**9, counted, f"{_time(self._total() * 1e15 / RATE)} at 100 TFLOP/s"
            )
        yield ""
        yield "Norms, softmax, reading of weights and the optimizer come on top of the products; nothing here was run."

    def _stages(self) -> Iterator[str]:
        """Yield what is in memory without the transformer, before the first step, and what stays beside it."""
        vae, clip, t5 = self.encoders.vae, self.encoders.clip, self.encoders.t5
        both = f"{clip + t5:,} parameters | {_gb(self.itemsize * (clip + t5))}"
        yield f"| before: CLIP and T5, while prompts are read | {both} |"
        yield f"| then: autoencoder, while pictures are encoded | {vae:,} parameters | {_gb(self.itemsize * vae)} |"
        if self.config.kind == "prompt":
            yield f"| CLIP, which stays | {clip:,} parameters | {_gb(self.itemsize * clip)} |"
        if self.config.validate is not None and self.config.samples > 0:
            yield f"| autoencoder, which stays for samples | {vae:,} parameters | {_gb(self.itemsize * vae)} |"

    def _total(self) -> float:
        """Return the operations of the run, in 10^15."""
        return self.steps * self.operations / 1e15

    def _row(self, name: str, memory: int, sample: Counted, time: str) -> str:
        """Return one machine's line."""
        plain, checkpointed = (self.at_once(memory, sample, checkpointing=it) for it in (False, True))
        if not checkpointed:
            return f"| {name} | does not fit | does not fit | - | - |"
        fits = checkpointed if self.config.checkpointing else plain
        parts = str(ceil(self.config.batch / fits)) if fits else "needs --checkpointing"
        return f"| {name} | {plain} | {checkpointed} | {parts} | {time} |"


def plan(config: TrainConfig) -> Plan:
    """Count and measure a run; no weights are needed for `FLUX`, and none are read for any base.

    Raises:
        UserError: there is no such base or folder of pairs, or a setting is out of its range.
    """
    config.check()
    settings, transformer, encoders = _base(config.backbone)
    dtype, (buckets, _) = getattr(torch, config.dtype), split(config, settings.panel)
    counts = [len(bucket.pairs) for bucket in buckets]
    sample = partial(
        count,
        transformer,
        rank=config.rank,
        targets=config.targets,
        panel=settings.panel,
        references=1 + len(buckets[0].pairs.rows[0].more),
        text=settings.max_sequence_length,
        dtype=dtype,
        tokens=(config.tokens or room_in(encoders.places)) if config.kind == "prompt" else 0,
    )
    counted = sample(fused=True)
    return Plan(
        config=config,
        counted=counted,
        here=sample(fused=False) if config.device == "cpu" else counted,
        steps=steps_of(config, counts, default_steps(tasks.get(config.task), transformer)),
        encoders=encoders,
        speed=_speed(config.device, dtype),
        memory=_memory(config.device),
    )


def _base(name: str) -> tuple[Settings, dict[str, Any], Encoders]:
    """Return a base's settings, its transformer's configuration, and the sizes of its encoders."""
    if name == FLUX and not Path(name).is_dir():
        return Settings(), FLUX_TRANSFORMER, _flux_encoders()
    folder = Folder.find(find_base(name))
    vae, clip, t5 = (_stored(folder.path / part) for part in ("vae", "text_encoder", "text_encoder_2"))
    places = int(folder.config("tokenizer").get("model_max_length", LENGTH))
    return folder.settings, folder.config("transformer"), Encoders(vae=vae, clip=clip, t5=t5, places=places)


def _flux_encoders() -> Encoders:
    """Count FLUX's autoencoder, CLIP-L and T5-XXL."""
    clip = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    t5 = T5Config(
        vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, feed_forward_proj="gated-gelu"
    )
    with torch.device("meta"):
        vae = cast(Any, AutoencoderKL)(
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=16,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            use_quant_conv=False, use_post_quant_conv=False,
        )  # fmt: skip
    return Encoders(
        vae=sum(weight.numel() for weight in vae.parameters()),
        clip=parameters_of(CLIPTextModel, clip),
        t5=parameters_of(T5EncoderModel, t5),
    )


def _stored(part: Path) -> int:
    """Return the parameters of one part by what its files' headers list."""
    from safetensors import safe_open

    total = 0
    for path in part.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            total += sum(torch.Size(file.get_slice(key).get_shape()).numel() for key in file.keys())  # noqa: SIM118
    return total


def _speed(device: str, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Return the operations a second of matrix products, measured that long."""
    try:
        left, right = (torch.randn(1024, 1024, device=device, dtype=dtype) for _ in range(2))
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device} is not there: {str(error).splitlines()[0]}") from error
    (left @ right).sum()  # the first is slow
    began, done = perf_counter(), 0
    while perf_counter() - began < seconds:
        float((left @ right)[0, 0])  # waits for a GPU
        done += 1
    return done * 2 * 1024**3 / (perf_counter() - began)


def _memory(device: str) -> int:
    """Return the bytes of memory that a device has."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _gb(count: int) -> str:
    """Return bytes in GB."""
    return f"{count / 1e9:,.2f}"


def _time(seconds: float) -> str:
    """Return a length of time."""
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.1f} min"
