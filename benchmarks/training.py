"""Time training and its peak memory: ours beside a plain loop as in diffusers' examples, in one run, in turns.

    python -m benchmarks.training                          # 16 samples a step, one thread, micro
    python -m benchmarks.training --dtype float32 --rounds 3

Every run is a process of its own, which loads the base, trains a LoRA on the bundled photographs and tells of its
steps and of the most memory that it ever held. The plain loop is that of diffusers' LoRA examples: both autoencoder
passes and both text encoders in every step, activation checkpointing, diffusers' own forward pass. With full attention
all runs see the same weights, pictures, prompts, noise and noise levels, and the losses of their first steps agree.
Times are CPU seconds of one thread, and hold on a busy machine. Ours encodes once, before the first step.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from itertools import count, islice
from pathlib import Path
from statistics import median
from time import process_time
from types import MappingProxyType
from typing import Any

import torch
from torch import Generator, Tensor, nn

from anyrefill import flow, images, tasks
from anyrefill.backbone.adapters.lora import PAPER
from anyrefill.backbone.embedded import find_base
from anyrefill.backbone.precision import dtype_name, fast_dtype
from anyrefill.canvas import Canvas
from anyrefill.pairs import Pair, PairFolder, Photo, write_pairs
from anyrefill.train import Step, TrainConfig, training

PLAIN = "plain: diffusers' loop, checkpointing"
WAYS = MappingProxyType(
    {
        PLAIN: {},
        "full attention": {"region": "whole"},
        "full attention, --accumulate 4": {"region": "whole", "accumulate": 4},
        "full attention, --accumulate 8": {"region": "whole", "accumulate": 8},
        "clean_ref_text, --draws 4": {"attention": "clean_ref_text", "draws": 4},
        "clean_ref_text, --draws 4 --accumulate 2": {"attention": "clean_ref_text", "draws": 4, "accumulate": 2},
        "clean_ref_text, --draws 4 --accumulate 4": {"attention": "clean_ref_text", "draws": 4, "accumulate": 4},
    }
)
"""What each run is told beyond the rest."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one process tells of its run.

    Attributes:
        seconds: CPU time of each step but the first.
        loss: of the first step.
        peak: the most memory that the process ever held, in bytes.
        floor: what it held after the imports.
        first: CPU seconds until the first step was done: loading, encoding, one step.
    """

    seconds: list[float]
    loss: float
    peak: int
    floor: int
    first: float


def main() -> None:
    """Run one way, or all of them in turns, and print a table."""
    options = _options()
    torch.set_num_threads(1)
    if options.way:
        print(json.dumps(asdict(run(options.way, _config(options), _held()))))
        return
    with tempfile.TemporaryDirectory() as folder:
        pairs = options.pairs or write_photographs(Path(folder) / "pairs")
        told = dict[str, list[Told]]()
        for number in range(options.rounds):
            for place, way in enumerate(WAYS):
                words = ["--way", way, "--pairs", str(pairs), "--out", f"{folder}/{number}-{place}"]
                told.setdefault(way, []).append(_in_a_process([*words, *_passed_on(options)]))
    print("\n".join(_lines(told)))


def run(way: str, config: TrainConfig, floor: int) -> Told:
    """Train in one way and tell of it."""
    config = replace(config, **WAYS[way])
    steps = plain(config) if way == PLAIN else ours(config)
    losses, seconds, began = list[float](), list[float](), process_time()
    for loss in islice(steps, config.steps):
        losses.append(loss)
        seconds.append(process_time() - began)
        began = process_time()
    return Told(seconds=seconds[1:], first=seconds[0], loss=losses[0], peak=_peak(), floor=floor)


def ours(config: TrainConfig) -> Iterator[float]:
    """Yield the loss of every step of `anyrefill train`."""
    for record in training(replace(config, steps=(config.steps or 0) + 1)):  # the last step saves: not timed
        if isinstance(record, Step):
            yield record.loss


def plain(config: TrainConfig) -> Iterator[float]:
    """Yield the loss of every step of a plain loop.

    Source: diffusers, examples/dreambooth/train_dreambooth_lora_flux.py, with FluxFillPipeline's condition.
    """
    from diffusers import FluxFillPipeline  # ours needs no pipeline in memory
    from peft import LoraConfig

    dtype: torch.dtype = getattr(torch, config.dtype)
    pipe: Any = FluxFillPipeline.from_pretrained(find_base(config.backbone), torch_dtype=dtype)
    task, pairs = tasks.get(config.task), PairFolder(config.pairs, (128, 128))
    for part in (pipe.vae, pipe.text_encoder, pipe.text_encoder_2, pipe.transformer):
        part.requires_grad_(False)
    pipe.transformer.add_adapter(
        LoraConfig(r=config.rank, lora_alpha=config.rank, init_lora_weights="gaussian", target_modules=list(PAPER))
    )
    pipe.transformer.enable_gradient_checkpointing()
    trained = [weight for weight in pipe.transformer.parameters() if weight.requires_grad]
    for weight in trained:
        weight.data = weight.data.float()
    optimizer = torch.optim.AdamW(trained, config.lr, weight_decay=0.0)
    for step in count():
        batch = [pairs[row] for row in _rows(len(pairs), config, step)]
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = _plain_loss(pipe, batch, [task.fill_prompt(pair.caption) for pair in batch], config, step)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, config.clip)
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


def _plain_loss(pipe: Any, batch: Sequence[Pair], prompts: list[str], config: TrainConfig, step: int) -> Tensor:  # noqa: ANN401
    """Encode a batch, draw its noise as our trainer draws it, and return the mean squared error of the velocity."""
    canvases = [Canvas.stitch(pair.reference, pair.target, torch.ones_like(pair.target[:1])) for pair in batch]
    size, height, width = len(batch), canvases[0].height, canvases[0].width
    with torch.no_grad():
        embeds, pooled, text_ids = pipe.encode_prompt(prompts, prompts, max_sequence_length=24)
        clean = _encoded(pipe, torch.stack([canvas.pixels for canvas in canvases]))
        masked = torch.stack([canvas.masked for canvas in canvases])
        mask = torch.stack([canvas.mask for canvas in canvases])
        mask, known = pipe.prepare_mask_latents(
            mask, masked.to(pipe.vae.dtype), size, 16, 1, height, width, pipe.vae.dtype, "cpu", None
        )
    packed = pipe._pack_latents(clean, *clean.shape)
    sigma, noise = _chance(packed, config, step)
    ids = pipe._prepare_latent_image_ids(size, height // 16, width // 16, "cpu", pipe.vae.dtype)
    level = sigma.view(-1, 1, 1)
    noisy = torch.cat([(1 - level) * packed + level * noise, known, mask], -1).to(pipe.transformer.dtype)
    guess = pipe.transformer(
        hidden_states=noisy,
        timestep=sigma,
        guidance=torch.full_like(sigma, config.guidance),
        pooled_projections=pooled,
        encoder_hidden_states=embeds,
        txt_ids=text_ids,
        img_ids=ids,
        return_dict=False,
    )[0]
    return (guess.float() - (noise - packed)).pow(2).mean()


def _encoded(pipe: Any, pixels: Tensor) -> Tensor:  # noqa: ANN401
    """Return the scaled latents of whole canvases, in float32."""
    latents = pipe.vae.encode(pixels.to(pipe.vae.dtype)).latent_dist.mode().float()
    return (latents - pipe.vae.config.shift_factor) * pipe.vae.config.scaling_factor


def _chance(packed: Tensor, config: TrainConfig, step: int) -> tuple[Tensor, Tensor]:
    """Draw noise levels and noise as `anyrefill.train.data.draw` does."""
    generator = Generator().manual_seed(config.seed * 1_000_003 + step)
    torch.rand(config.batch, generator=generator)  # which captions are dropped: none
    shift = flow.resolution_shift(packed.shape[1])
    sigma = flow.sample_sigma(
        config.batch, config.density, generator,
        shift=shift, logit_mean=config.logit_mean, logit_std=config.logit_std,
    )  # fmt: skip
    return sigma, torch.randn(packed.shape, generator=generator)


def _rows(pairs: int, config: TrainConfig, step: int) -> list[int]:
    """Return the pairs of a step: those that our trainer draws, where there are as many as in a batch."""
    order = torch.randperm(pairs, generator=Generator().manual_seed((config.seed + 1) * 7_368_787 + step))
    return order[: config.batch].tolist()


def write_photographs(folder: Path, number: int = 16) -> Path:
    """Write pairs of the task deblur, made of the bundled photographs."""
    make = tasks.get("deblur").make
    assert make is not None
    photos = sorted((Path(str(files("anyrefill"))) / "assets" / "photos").glob("*.jpg"))

    def pairs() -> Iterator[Pair]:
        for index in range(number):
            pixels = images.to_panel(photos[index % len(photos)], (128, 128))
            pair = make(Photo(pixels=pixels), Generator().manual_seed(index))
            assert pair is not None
            yield pair

    write_pairs(pairs(), folder)
    return folder


def _lines(told: dict[str, list[Told]]) -> Iterator[str]:
    """Yield the table."""
    plain_seconds = median(second for one in told[PLAIN] for second in one.seconds)
    plain_peak = median(one.peak for one in told[PLAIN])
    heads = ("way", "s CPU a step (spread)", "times as fast", "peak MB", "of plain's", "without imports", "first loss")
    yield f"| {' | '.join(heads)} | until step 1 |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for way, ones in told.items():
        seconds = [second for one in ones for second in one.seconds]
        peak, floor = median(one.peak for one in ones), median(one.floor for one in ones)
        plain_own = plain_peak - median(one.floor for one in told[PLAIN])
        yield (
            f"| {way} | {median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) "
            f"| {plain_seconds / median(seconds):.2f} | {peak / 1e6:.0f} | {peak / plain_peak:.2f} "
            f"| {(peak - floor) / plain_own:.2f} | {ones[0].loss:.4f} | {median(one.first for one in ones):.1f} s |"
        )


def _in_a_process(words: Sequence[str]) -> Told:
    """Run this module once more and read what it tells."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return Told(**json.loads(done.stdout.splitlines()[-1]))


def _options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="of all ways in turns")
    parser.add_argument("--steps", type=int, default=4, help="of each run; the first is not timed")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default=dtype_name(fast_dtype()))
    parser.add_argument("--pairs", type=Path, help="a folder of pairs; the bundled photographs if not given")
    parser.add_argument("--way", choices=[*WAYS], help="run this one alone, and print JSON")
    parser.add_argument("--out", type=Path, help="of that run")
    return parser.parse_args()


def _passed_on(options: argparse.Namespace) -> list[str]:
    """Return what every process is told."""
    names = ("steps", "batch", "rank", "dtype")
    return [word for name in names for word in (f"--{name}", str(getattr(options, name)))]


def _config(options: argparse.Namespace) -> TrainConfig:
    """Return what all ways have in common."""
    return TrainConfig(
        task="deblur", pairs=options.pairs, out=options.out, cache=options.out / "cache", steps=options.steps,
        batch=options.batch, rank=options.rank, dtype=options.dtype, caption_dropout=0.0, save_every=10**6,
    )  # fmt: skip


def _peak() -> int:
    """Return the most memory that this process ever held, in bytes."""
    return _status("VmHWM")


def _held() -> int:
    """Return the memory that this process holds, in bytes."""
    return _status("VmRSS")


def _status(name: str) -> int:
    """Return an entry of the kernel's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
