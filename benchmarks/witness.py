"""Whether the error of the repainted reference ranks samples: a score without ground truth, or not.

    python -m benchmarks.witness                             # 8 canvases, 8 seeds, every task painted from noise
    python -m benchmarks.witness --tasks deblur --canvases 16 --publish

In full attention the model repaints the reference beside the target. Its distance to the reference that it was given,
in latents and in LPIPS, is laid beside the painted target's LPIPS and RMSE to the truth of held-out pairs. "Over seeds"
is Spearman's rank correlation over the seeds of one canvas, the mean over canvases; "over canvases" that of canvases,
each the mean over its seeds; both with 95 % bootstrap intervals over canvases. "Picked" is the LPIPS of the seed that
the witness picks, beside that of any seed and of the best. Paintings are made as the adapter asks for, before the
task's finish. What was painted already is read from the JSON file.

--publish writes beside each shipped adapter, where `paint --best-of` looks for it, which of the two scores ranks LPIPS
over seeds more surely, and how well, with a 97.5 % interval since two were tried; and the table to
docs/tasks/witness.md. The record holds for the adapter's present file alone.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from anyrefill.backbone.adapters.header import read_passport
from anyrefill.backbone.embedded import adapter_of, shipped
from anyrefill.canvas import Canvas
from anyrefill.evaluate import held_out_pairs
from anyrefill.evaluate.report import interval, table
from anyrefill.files import write_text
from anyrefill.metrics import lpips_alex
from anyrefill.painter import Painter, load
from anyrefill.painter.witness import Witness, WitnessScore, reference_errors
from anyrefill.pairs import Pair
from anyrefill.sample import sampling, sheets

RESAMPLES = 1000
SCORES: dict[str, WitnessScore] = {"latents": "latents", "left": "lpips"}
"""What a painting's record calls the two errors of its repainted reference."""
PAGE = Path(__file__).parents[1] / "docs" / "tasks" / "witness.md"
HEAD = """# Does the repainted reference tell?

In full attention the model repaints the reference that it was given. Its error (`latents`: relative distance of
latents; `left`: LPIPS) is a score without ground truth, if it ranks paintings as their distance to the truth does.
Spearman's correlation over {seeds} seeds of a canvas, mean of {canvases} held-out canvases; over canvases, each the
mean of its seeds; 95 % intervals by bootstrap. "Picked" is the judge's mean for the seed that the witness picks, beside
that of any seed and of the best. `paint --best-of` takes the score that ranks LPIPS over seeds more surely, and is
refused where its interval, of 97.5 % since two were tried, is not above 0. Made by
`python -m benchmarks.witness --publish`.
"""


@dataclass(frozen=True, kw_only=True)
class Painted:
    """One painting: what the witness says, and how far it is from the truth.

    Attributes:
        task: whose adapter painted.
        canvas: number of the held-out pair.
        seed: of the noise.
        latents: ||x - z|| / ||z|| of the reference's tokens.
        left: LPIPS of the repainted reference to the one that the autoencoder gives back.
        lpips: of the painted target to the truth.
        rmse: of the painted target to the truth, of the range [0, 1].
    """

    task: str
    canvas: int
    seed: int
    latents: float
    left: float
    lpips: float
    rmse: float


def main() -> None:
    """Paint what is missing, write it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=[name for name in shipped() if _noisy(name)])
    parser.add_argument("--canvases", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--json", type=Path, default=Path("out/witness.json"))
    parser.add_argument("--publish", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = read(options.json)
    painters = [load(task) for task in options.tasks]  # at once: adapters may be replaced meanwhile
    for number in range(options.canvases):
        for painter in painters:
            name = painter.task.name
            if (name, number) not in {(row.task, row.canvas) for row in rows}:
                pair = held_out_pairs(painter.task, painter.size, limit=number + 1)[number]
                rows += painted(painter, pair, number, options.seeds)
                write_text(options.json, json.dumps([asdict(row) for row in rows]) + "\n")
                print(f"{name}, canvas {number}", flush=True)
    print(summary(rows))
    if options.publish:
        for task in options.tasks:
            print(published([row for row in rows if row.task == task]).write(adapter_of(task)))
        seeds, canvases = (len({getattr(row, name) for row in rows}) for name in ("seed", "canvas"))
        write_text(PAGE, f"{HEAD.format(seeds=seeds, canvases=canvases)}\n{summary(rows)}\n")


def _noisy(name: str) -> bool:
    """Return whether an adapter is painted from noise: at temperature 0 all seeds paint the same."""
    return read_passport(adapter_of(name)).temperature_paint > 0


def read(path: Path) -> list[Painted]:
    """Return what an earlier run wrote."""
    return [Painted(**row) for row in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def painted(painter: Painter, pair: Pair, number: int, seeds: int) -> Iterator[Painted]:
    """Yield one canvas painted from several seeds."""
    canvas = Canvas.stitch(pair.reference, pair.target, painter.task.mask(pair))
    backbone, prompt = painter.backbone, painter.task.fill_prompt(pair.caption)
    run = sampling(
        backbone, [canvas], [prompt], seeds=list(range(seeds)), steps=painter.steps,
        guidance=painter.guidance, reference_guidance=painter.reference_guidance,
    )  # fmt: skip
    *_, last = run
    decoded = sheets(backbone, [canvas] * seeds, last.latents)
    errors, left = (reference_errors(backbone, canvas, last.latents, score) for score in SCORES.values())
    for seed, (error, far, sheet) in enumerate(zip(errors, left, decoded, strict=True)):
        target = canvas.paste(sheet).clamp(-1, 1)
        yield Painted(
            task=painter.task.name,
            canvas=number,
            seed=seed,
            latents=error,
            left=far,
            lpips=lpips_alex(target, pair.target),
            rmse=float((target - pair.target).pow(2).mean().sqrt() / 2),
        )


def published(rows: Sequence[Painted]) -> Witness:
    """Return what `paint --best-of` asks for: the score that ranks more surely, beyond the chance of two tries."""
    seeds, both = len({row.seed for row in rows}), list[Witness]()
    for witness, score in SCORES.items():
        within = over_seeds(rows, witness, "lpips")
        low, high = interval(within, level=1 - 0.05 / len(SCORES))
        found = sum(within) / len(within)
        both.append(Witness(correlation=found, low=low, high=high, canvases=len(within), seeds=seeds, score=score))
    return max(both, key=lambda one: one.low)


def over_seeds(rows: Sequence[Painted], witness: str, judge: str) -> list[float]:
    """Return each canvas's rank correlation over its seeds."""
    pairs = zip(grid(rows, witness), grid(rows, judge), strict=True)
    return [float(spearmanr(said, truth).statistic) for said, truth in pairs]


def summary(rows: Sequence[Painted]) -> str:
    """Return the table of correlations."""
    head = ["task", "witness", "judge", "over seeds", "over canvases", "picked", "any", "best"]
    body = [
        [task, witness, judge, *correlations([row for row in rows if row.task == task], witness, judge)]
        for task in dict.fromkeys(row.task for row in rows)
        for witness in SCORES
        for judge in ("lpips", "rmse")
    ]
    return table([head, *body])


def correlations(rows: Sequence[Painted], witness: str, judge: str) -> list[str]:
    """Return the cells of one line."""
    said, truth = grid(rows, witness), grid(rows, judge)
    within = over_seeds(rows, witness, judge)
    low, high = interval(within)
    between = spearmanr(said.mean(1), truth.mean(1)).statistic
    drawn = bootstrapped(said.mean(1), truth.mean(1), lambda one, other: float(spearmanr(one, other).statistic))
    picked = truth[np.arange(len(truth)), said.argmin(1)].mean()
    return [
        f"{np.mean(within):.2f} [{low:.2f}, {high:.2f}]",
        f"{between:.2f} [{drawn[0]:.2f}, {drawn[1]:.2f}]",
        *(f"{value:.4f}" for value in (picked, truth.mean(), truth.min(1).mean())),
    ]


def grid(rows: Sequence[Painted], name: str) -> np.ndarray:
    """Return one measure as (canvases, seeds)."""
    canvases = sorted({row.canvas for row in rows})
    return np.array([[getattr(row, name) for row in rows if row.canvas == canvas] for canvas in canvases])


def bootstrapped(
    one: np.ndarray, other: np.ndarray, score: Callable[[np.ndarray, np.ndarray], float]
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a score of paired values; draws of equal values do not count."""
    draws = np.random.default_rng(0).integers(0, len(one), (RESAMPLES, len(one)))
    scores = [score(one[draw], other[draw]) for draw in draws if len(set(draw.tolist())) > 2]
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()
