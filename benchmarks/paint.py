"""One picture, 20 steps, float32: ours beside plain diffusers on the same weights, in one process, interleaved.

python benchmarks/paint.py --rounds 7
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from diffusers import FluxFillPipeline
from PIL import Image

import anyrefill
from anyrefill.backbone.embedded import EMBEDDED

PHOTO = EMBEDDED.parent / "photos" / "chelsea.jpg"


def ours(task: str, steps: int) -> Callable[[], object]:
    """Return one warm paint of ours, adapter merged."""
    painter = anyrefill.load(task)
    return lambda: painter(PHOTO, steps=steps)


def plain(task: str, steps: int) -> Callable[[], object]:
    """Return one warm call of diffusers' pipeline, its LoRA unmerged, the canvas stitched by hand."""
    pipeline = FluxFillPipeline.from_pretrained(EMBEDDED, torch_dtype=torch.float32)
    pipeline.load_lora_weights(str(EMBEDDED / "adapters"), weight_name=f"{task}.safetensors")
    pipeline.set_progress_bar_config(disable=True)
    canvas, mask = Image.new("RGB", (256, 128), (128, 128, 128)), Image.new("L", (256, 128), 255)
    canvas.paste(Image.open(PHOTO).convert("RGB").resize((128, 128)), (0, 0))
    mask.paste(0, (0, 0, 128, 128))
    return lambda: pipeline(
        prompt=anyrefill.tasks.get(task).fill_prompt(),
        image=canvas,
        mask_image=mask,
        height=128,
        width=256,
        guidance_scale=1.0,
        num_inference_steps=steps,
        max_sequence_length=24,
    )


def main() -> None:
    """Print the median and spread of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", default="deblur")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    runs = {"anyrefill": ours(args.task, args.steps), "diffusers": plain(args.task, args.steps)}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(args.rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    for name, times in seconds.items():
        print(f"{name:10} median {statistics.median(times):.2f} s, from {min(times):.2f} to {max(times):.2f} s")
    print(f"ratio {statistics.median(seconds['diffusers']) / statistics.median(seconds['anyrefill']):.2f}")


if __name__ == "__main__":
    main()
