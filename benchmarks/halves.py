"""Whether a canvas can be encoded and decoded by halves: what the autoencoder's norms carry from panel to panel.

    python -m benchmarks.halves                             # the embedded autoencoder, the bundled photographs

GroupNorm takes its mean and deviation over the whole canvas, and FLUX's autoencoder attends over it in the middle, so a
panel encoded alone is not the panel encoded beside another. Printed: how far, and how much time it would save.
"""

import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from anyrefill import images
from anyrefill.backbone.embedded import EMBEDDED, find_base
from anyrefill.backbone.fill import FluxFill
from anyrefill.bench.timing import Run, interleaved


@torch.no_grad()
def main() -> None:
    """Print the distances and the times."""
    torch.set_num_threads(1)
    backbone = FluxFill.load(find_base("micro"), parts=("vae",))
    side = backbone.settings.panel
    photos = sorted((EMBEDDED.parent / "photos").glob("*.jpg"))
    panels = [images.fit(path, (side, side)).panel[None] for path in photos]
    canvases = [torch.cat([panel, torch.zeros_like(panel)], -1) for panel in panels]
    grey = backbone.encode(torch.zeros_like(panels[0]))
    apart = [torch.cat([backbone.encode(panel), grey], -1) for panel in panels]
    print(f"latents, halves encoded apart: {_distance(apart, [backbone.encode(canvas) for canvas in canvases])}")
    both = [torch.cat([one, two], -1) for one, two in zip(panels, panels[1:] + panels[:1], strict=True)]
    latents = [backbone.encode(canvas) for canvas in both]
    whole = [backbone.decode(latent)[..., side:] for latent in latents]
    right = [backbone.decode(latent.chunk(2, -1)[1]) for latent in latents]
    print(f"pixels of the target, decoded alone: {_distance(right, whole)}, {_psnr(right, whole)}")
    runs = {
        "encode, whole": lambda: backbone.encode(canvases[0]),
        "encode, half": lambda: backbone.encode(panels[0]),
        "decode, whole": lambda: backbone.decode(latents[0]),
        "decode, half": lambda: backbone.decode(latents[0][..., : side // 8]),
    }
    _time(runs)


def _distance(found: list[Tensor], wanted: list[Tensor]) -> str:
    """Return the relative distance, median and most."""
    values = [float((one - two).norm() / two.norm()) for one, two in zip(found, wanted, strict=True)]
    return f"relative distance {statistics.median(values):.3g} (at most {max(values):.3g})"


def _psnr(found: list[Tensor], wanted: list[Tensor]) -> str:
    """Return the peak signal to noise ratio of pixels in [-1, 1], median and least."""
    values = [float(10 * (4 / (one - two).square().mean()).log10()) for one, two in zip(found, wanted, strict=True)]
    return f"PSNR {statistics.median(values):.1f} dB (at least {min(values):.1f})"


def _time(runs: dict[str, Callable[[], object]]) -> None:
    """Print how long each takes, in turns."""
    for timing in interleaved([Run(name=name, call=call) for name, call in runs.items()], 5):
        print(f"{timing.name}: {1000 * timing.cpu:.1f} ms CPU ({1000 * timing.low:.1f} to {1000 * timing.high:.1f})")


if __name__ == "__main__":
    main()
