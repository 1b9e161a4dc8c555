"""Train a task with full attention and with clean prefixes, alike in all else, and print quality and speed together.

    python -m recipes.clean_prefix                                     # deblur, 3 x 150 steps: an indication
    python -m recipes.clean_prefix --task colorization --steps 800 --seeds 3 --limit 128
    python -m recipes.clean_prefix --run clean_ref_text=~/runs/deblur-clean --run full=~/runs/deblur    # trained before

Every mode sees the same pairs, noisy samples and noise levels, and starts from the same LoRA. The held-out loss is that
of `anyrefill train --validate`: the same noise on the same held-out pairs in every mode. A mode whose run is finished
is not trained again. Times are CPU time of a picture in this process, the modes in turns.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import torch

from anyrefill.backbone import ATTENTIONS, Attention, known_attention
from anyrefill.bench.timing import Run, interleaved
from anyrefill.evaluate import PAINTED, evaluate, held_out_pairs, heldout
from anyrefill.evaluate.report import Report, table
from anyrefill.painter import load
from anyrefill.train import TrainConfig, train
from recipes.world.fetch import WORLD


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One finished run.

    Attributes:
        attention: that it was trained with.
        seed: of its noise.
        folder: where it is.
    """

    attention: Attention
    seed: int
    folder: Path

    @property
    def loss(self) -> float | None:
        """Return the last held-out loss in the run's log, if it was validated."""
        log = self.folder / "log.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        losses = [value for line in lines if (value := json.loads(line)["validation"]) is not None]
        return losses[-1] if losses else None


def main() -> None:
    """Train what is missing, evaluate, time, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", default="deblur")
    parser.add_argument("--pairs", type=Path, help="to learn from; ~/.cache/anyrefill/pairs/TASK-train if not given")
    parser.add_argument("--held-out", type=Path, help="to judge by; ~/.cache/anyrefill/heldout/TASK if not given")
    parser.add_argument("--modes", nargs="+", choices=ATTENTIONS, default=ATTENTIONS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--draws", type=int, default=4, help="noisy samples of each drawn pair, in every mode")
    parser.add_argument("--limit", type=int, default=32, help="held-out pairs to paint")
    parser.add_argument("--calls", type=int, default=20, help="of the backbone for each picture, by ab2")
    parser.add_argument("--rounds", type=int, default=3, help="of timing")
    parser.add_argument("--out", type=Path, default=WORLD.parent / "runs")
    parser.add_argument("--run", action="append", default=[], metavar="MODE=FOLDER", help="a finished run; no training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = [_given(words) for words in options.run] or list(_trained(options))
    painters = [load(options.task, adapter=run.folder, attention=run.attention, solver="ab2") for run in found]
    pairs = held_out_pairs(painters[0].task, painters[0].size, options.held_out, options.limit)
    reports = [evaluate(painter, pairs, baselines=False, steps=options.calls) for painter in painters]
    runs = [
        Run(name=str(index), call=partial(painter.batch, pairs[:1], steps=options.calls))
        for index, painter in enumerate(painters)
    ]
    seconds = [timing.cpu for timing in interleaved(runs, options.rounds)]
    print(rows(found, reports, seconds))


def rows(found: Sequence[Trained], reports: Sequence[Report], seconds: Sequence[float]) -> str:
    """Return the table: a line for each run, and what the modes lose against full attention on average."""
    metrics = [score.metric for score in reports[0].rows[0].scores]
    head = ["attention", "seed", "held-out loss", *metrics, "s CPU a picture"]
    lines = [
        [
            run.attention,
            str(run.seed),
            "-" if run.loss is None else f"{run.loss:.4f}",
            *(str(report.score(PAINTED, metric)) for metric in metrics),
            f"{taken:.2f}",
        ]
        for run, report, taken in zip(found, reports, seconds, strict=True)
    ]
    return "\n".join([table([head, *lines]), "", *_against_full(found, seconds)])


def _against_full(found: Sequence[Trained], seconds: Sequence[float]) -> Iterator[str]:
    """Yield a sentence for each clean mode."""
    times = list(zip(found, seconds, strict=True))
    full = [taken for run, taken in times if run.attention == "full"]
    for mode in ATTENTIONS[1:]:
        own = [taken for run, taken in times if run.attention == mode]
        if not own or not full:
            continue
        gain = f"{mode}: {mean(full) / mean(own):.2f} times faster than full"
        losses, whole = _losses(found, mode), _losses(found, "full")
        yield f"{gain}, held-out loss {mean(losses) / mean(whole) - 1:+.1%}" if losses and whole else gain


def _losses(found: Sequence[Trained], mode: Attention) -> list[float]:
    """Return the held-out losses of a mode's runs."""
    return [run.loss for run in found if run.attention == mode and run.loss is not None]


def _trained(options: argparse.Namespace) -> Iterator[Trained]:
    """Train every mode with every seed, and yield the runs."""
    for seed in range(options.seeds):
        for mode in options.modes:
            folder = options.out / f"{options.task}-{mode}-{options.steps}-{seed}"
            config = TrainConfig(
                task=options.task,
                pairs=options.pairs or WORLD.parent / "pairs" / f"{options.task}-train",
                out=folder,
                steps=options.steps,
                seed=seed,
                attention=mode,
                draws=options.draws,
                validate=str(options.held_out or heldout(options.task)),
                validate_every=options.steps,
                samples=0,
            )
            for step in train(config):
                if step.step % 25 == 0:
                    print(
                        f"{folder.name} {step.step}/{step.steps} loss {step.loss:.4f} {step.seconds:.2f} s", flush=True
                    )
            yield Trained(attention=mode, seed=seed, folder=folder)


def _given(words: str) -> Trained:
    """Read MODE=FOLDER."""
    mode, _, folder = words.partition("=")
    return Trained(attention=known_attention(mode), seed=0, folder=Path(folder).expanduser())


if __name__ == "__main__":
    main()
