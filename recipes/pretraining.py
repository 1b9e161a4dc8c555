"""What more pretraining pays: the bare backbone on held-out pairs by the canvases it has seen; writes the plots.

    python -m recipes.pretraining --canvases 245000                         # measure the shipped weights: 3 minutes
    python -m recipes.pretraining --canvases 33400 --revision 293e3b2       # those of an older commit
    python -m recipes.pretraining --canvases 300000 --transformer FOLDER    # another transformer of its layout
    python -m recipes.pretraining                                           # only draw

The decoder is today's in all of them, so that nothing but the transformer differs. The numbers stand in
docs/results/pretraining.json, the plots in docs/images/pretraining-*.svg.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from anyrefill.backbone.precision import fast_dtype
from anyrefill.evaluate import base
from anyrefill.files import write_text
from anyrefill.painter import load
from recipes.plots import Point, plot
from recipes.results import ended
from recipes.stored import stored

ROOT = Path(__file__).parents[1]
SCORES = ROOT / "docs" / "results" / "pretraining.json"
MICRO = Path("src/anyrefill/assets/micro")
SHOWN = {
    "backbone-copying psnr": "copying a named tone from the reference, PSNR in dB",
    "backbone-inpainting lpips_hole": "a hole of one panel, LPIPS in the hole (lower is better)",
}
"""Score -> what its plot says."""

Scores = dict[str, tuple[float, float, float]]
"""Score -> mean and its interval."""


def measure(backbone: str | Path, limit: int) -> Scores:
    """Return the scores of a bare backbone."""
    painter = load(base.COPYING, backbone=backbone, adapter="none", dtype=fast_dtype())
    found: Scores = {}
    for run in base.runs(painter, limit=limit, steps=None, guidance=None, seed=0, batch_size=16):
        report = ended(run, "backbone")
        for score in () if report.task == base.AUTOENCODER else report.rows[0].scores:
            found[f"{report.task} {score.metric}"] = (score.mean, score.low, score.high)
    return found


def measure_other(revision: str, transformer: Path | None, limit: int) -> Scores:
    """Return the scores of the weights that a commit holds, or of another transformer among them."""
    with TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", revision, MICRO], cwd=ROOT, check=True, capture_output=True)
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        whole = Path(folder) / MICRO
        for part, source in (("vae", ROOT / MICRO / "vae"), ("transformer", transformer)):
            if source is not None:
                shutil.rmtree(whole / part)
                shutil.copytree(source, whole / part)
        return measure(whole, limit)


def main() -> None:
    """Measure one backbone, if asked to, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--canvases", type=int, help="that the weights have seen")
    parser.add_argument("--revision", help="of the weights; by default those in the tree")
    parser.add_argument("--transformer", type=Path, help="a folder of other weights than the tree's")
    parser.add_argument("--limit", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Scores] = stored(SCORES, {})
    if args.canvases:
        if args.revision or args.transformer:
            scores = measure_other(args.revision or "HEAD", args.transformer, args.limit)
        else:
            scores = measure("micro", args.limit)
        found[str(args.canvases)] = scores
        write_text(SCORES, json.dumps(dict(sorted(found.items(), key=lambda item: int(item[0]))), indent=1) + "\n")
        print(args.canvases, scores)
    for name, label in SHOWN.items():
        points = [Point(x=int(seen), y=y[name][0], low=y[name][1], high=y[name][2]) for seen, y in found.items()]
        svg = plot(sorted(points, key=lambda point: point.x), label, unit="canvases")
        write_text(ROOT / "docs" / "images" / f"pretraining-{name.split()[0].split('-')[1]}.svg", svg)


if __name__ == "__main__":
    main()
