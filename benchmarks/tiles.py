"""Ways to paint a picture larger than the model's panel, by their error and by their seams.

    python -m benchmarks.tiles                               # 4 photographs, 2 tasks
    python -m benchmarks.tiles --photos 1 --tasks deblur

Bundled photographs, cropped to 192 x 256, 1.5 and 2 panels. "seam" is the mean squared step across the middles
of the tiles' overlaps over that across all other rows and columns, divided by the same of the true photograph: 1 is no
seam. deblur is asked with a blur that grows with the picture, as its training pairs have it, and with one that does
not ("fine"): the first is what a whole panel expects, the second what a tile expects. Ten ab2 calls, one seed.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from time import process_time

import torch

from anyrefill import images, tasks
from anyrefill.canvas import Canvas
from anyrefill.demo import PHOTOS
from anyrefill.evaluate.report import table
from anyrefill.metrics import lpips_alex, psnr
from anyrefill.painter import Painter, load
from anyrefill.pairs import Pair, Photo
from anyrefill.sample import Large, large_sheet, sampling, sampling_large, sheets
from anyrefill.tasks.deblur import add_noise, blur
from anyrefill.tiles import Tiles, seam_ratio
from anyrefill.types import Panel

STEPS, CROP = 10, (256, 192)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one way made of one photograph.

    Attributes:
        psnr: to the true photograph, in dB.
        lpips: to the true photograph.
        seam: of the painting over that of the true photograph.
        seconds: of CPU time.
    """

    psnr: float
    lpips: float
    seam: float
    seconds: float


def main() -> None:
    """Print a table for each task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=("deblur", "deblur-fine", "colorization"))
    parser.add_argument("--photos", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    painters = {name: load(name.removesuffix("-fine"), solver="ab2") for name in options.tasks}
    for name, painter in painters.items():
        pairs = [made(name, path) for path in sorted(PHOTOS.glob("*.jpg"))[: options.photos]]
        rows: list[list[str]] = []
        for way, paint in WAYS.items():
            rows.append([way, *line([judged(painter, pair, paint, seed) for seed, pair in enumerate(pairs)])])
            print(name, *rows[-1], flush=True)
        rows.append(["the reference itself", *line([scored(pair, pair.reference, 0.0) for pair in pairs])])
        head = [f"{name}, {len(pairs)} photographs", "PSNR", "LPIPS", "seam", "CPU s"]
        print(table([head, *rows]), end="\n\n", flush=True)


def made(name: str, path: object) -> Pair:
    """Return the pair of a photograph, larger than the panel."""
    whole = images.to_panel(str(path))
    photo = Photo(pixels=whole[:, : CROP[0], : CROP[1]])
    generator = torch.Generator().manual_seed(0)
    if name == "deblur-fine":
        return Pair(reference=add_noise(blur(photo.pixels, 1.5), 0.14, generator), target=photo.pixels)
    make = tasks.get(name).make
    pair = make(photo, generator) if make is not None else None
    if pair is None:
        raise RuntimeError(f"{name} makes no pair of {path}")
    return pair


def at_once(way: str) -> Callable[[Painter, Pair, int], Panel]:
    """Return how to paint the whole picture on one panel."""

    def paint(painter: Painter, pair: Pair, seed: int) -> Panel:
        painted = painter(images.to_pil(pair.reference), steps=STEPS, seed=seed, way=way)
        return images.to_panel(painted)

    return paint


def alone(hard: bool) -> Callable[[Painter, Pair, int], Panel]:
    """Return how to paint tiles that know nothing of each other: laid edge to edge, or feathered in pixels."""

    def paint(painter: Painter, pair: Pair, seed: int) -> Panel:
        large = tiled(painter, pair)
        canvases, prompts = large.canvases(), [painter.task.fill_prompt("")] * len(large.tiles)
        seeds = [100 * seed + index for index in range(len(canvases))]
        *_, last = sampling(
            painter.backbone, canvases, prompts, seeds=seeds, steps=STEPS, guidance=painter.guidance, solver="ab2"
        )
        decoded = sheets(painter.backbone, canvases, last.latents)
        if not hard:
            return large.canvas.paste(large.join(decoded))
        return laid(large.tiles.scaled(16), torch.stack([canvases[0].panel(sheet) for sheet in decoded]))

    return paint


def averaged(painter: Painter, pair: Pair, seed: int) -> Panel:
    """Paint tiles whose velocities are averaged at every step."""
    large = tiled(painter, pair)
    run = sampling_large(
        painter.backbone, large, painter.task.fill_prompt(""), seed=seed, steps=STEPS, guidance=painter.guidance,
        solver="ab2",
    )  # fmt: skip
    *_, last = run
    return large.canvas.paste(large_sheet(painter.backbone, large, last.latents))


WAYS = {
    "stretched to the panel": at_once("stretch"),
    "bucket": at_once("bucket"),
    "tiles alone, edge to edge": alone(hard=True),
    "tiles alone, feathered in pixels": alone(hard=False),
    "velocities averaged": averaged,
}


def tiled(painter: Painter, pair: Pair) -> Large:
    """Return the whole canvas and its tiles."""
    blank = replace(pair, target=torch.zeros_like(pair.target))
    canvas = Canvas.stitch(blank.reference, blank.target, painter.task.mask(blank))
    return Large.of(canvas, painter.size)


def laid(tiles: Tiles, parts: torch.Tensor) -> Panel:
    """Return tiles laid edge to edge: each pixel from the tile whose middle is nearest."""
    height, width = tiles.tile
    far = torch.maximum(*torch.meshgrid(off_middle(height), off_middle(width), indexing="ij"))
    best, whole = torch.full(tiles.grid, torch.inf), torch.zeros(3, *tiles.grid)
    for part, (top, left) in zip(parts, tiles.corners, strict=True):
        here = (slice(top, top + height), slice(left, left + width))
        nearer = far < best[here]
        whole[:, here[0], here[1]] = torch.where(nearer, part, whole[:, here[0], here[1]])
        best[here] = torch.minimum(far, best[here])
    return whole


def off_middle(length: int) -> torch.Tensor:
    """Return how far each place is from the middle, as a share."""
    return ((torch.arange(length) + 0.5) / length - 0.5).abs()


def judged(painter: Painter, pair: Pair, paint: Callable[[Painter, Pair, int], Panel], seed: int) -> Found:
    """Paint one photograph and score it."""
    began = process_time()
    painted = paint(painter, pair, seed)
    return scored(pair, painted.clamp(-1, 1), process_time() - began)


def scored(pair: Pair, painted: Panel, seconds: float) -> Found:
    """Score a picture."""
    tiles = Tiles.over(CROP, (128, 128), (32, 32))
    return Found(
        psnr=psnr(painted, pair.target),
        lpips=lpips_alex(painted, pair.target),
        seam=seam_ratio(painted, tiles) / seam_ratio(pair.target, tiles),
        seconds=seconds,
    )


def line(found: Sequence[Found]) -> list[str]:
    """Return the means."""
    return [
        f"{mean(one.psnr for one in found):.2f}",
        f"{mean(one.lpips for one in found):.3f}",
        f"{mean(one.seam for one in found):.3f}",
        f"{mean(one.seconds for one in found):.1f}",
    ]


if __name__ == "__main__":
    main()
