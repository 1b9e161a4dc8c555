"""Train tasks with full attention and with clean prefixes, alike in all else: docs/tasks/clean-prefix.md tells.

    python -m recipes.clean_prefix                                   # what is missing; a quarter of an hour a task
    python -m recipes.clean_prefix --task colorization --steps 800 --seeds 5 --modes full clean_ref clean_ref_text
    python -m recipes.clean_prefix --task colorization --go-on --steps 300 --seeds 1 --pairs 1600 --skip 64

Every mode sees the same pairs, noisy samples and noise levels, and starts from the same LoRA, with --go-on from the
one that ships; the blocks of full attention are compiled, which those of a prefix cannot be. The held-out loss is that
of `anyrefill train --validate`: the same noise on the same held-out pairs in every mode. Pictures are painted in 20
calls of ab2, with --go-on as the shipped adapters ask for, in bfloat16 where that is fast. Times are CPU time of one
picture in this process, the modes in turns.
Runs go on where they were stopped; what is measured goes to docs/results/clean-prefix.json, by task.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import torch

from anyrefill.backbone import ATTENTIONS, Attention
from anyrefill.backbone.precision import dtype_name, fast_dtype
from anyrefill.bench.timing import Run, interleaved
from anyrefill.evaluate import evaluate, held_out_pairs, heldout
from anyrefill.evaluate.report import table
from anyrefill.files import write_text
from anyrefill.painter import Painter, load
from anyrefill.train import TrainConfig, train
from recipes.micro.adapters import SETTINGS, config_of, painter_of, pairs_of, subset
from recipes.stored import DOCS, store_by_task, stored_by_task

SCORES = DOCS / "results" / "clean-prefix.json"
CALLS = 20
HEAD = """# Clean prefixes, trained

Adapters from nothing, rank 16, 16 noisy samples a step (4 pairs x 4 draws), alike in all but who attends to whom, and
painted in {calls} calls of `ab2`, whatever the shipped adapters ask for. Means over seeds (standard deviation in
brackets); the loss is that of the same noise on the same held-out pairs. The base was pretrained with full attention,
so a clean prefix has more to learn. "Trained on" begins with an adapter that was trained with `full`, and paints as
the shipped adapter asks for. [The guide](../guides/speed.md) says what a clean prefix is. Made by
`python -m recipes.clean_prefix`.
"""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What one run reached.

    Attributes:
        attention: that it was trained with.
        seed: of its noise.
        loss: on held-out pairs.
        scores: means over held-out pairs, by metric with its arrow.
        paint_seconds: of CPU time for one picture.
    """

    attention: Attention
    seed: int
    loss: float
    scores: dict[str, float]
    paint_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Compared:
    """All runs of one task.

    Attributes:
        steps: of each run.
        pairs: held out, that were painted.
        runs: every mode with every seed.
        dtype: that pictures were painted in.
    """

    steps: int
    pairs: int
    runs: tuple[Trained, ...]
    dtype: str = "bfloat16"


def compare(name: str, options: argparse.Namespace) -> Compared:
    """Train, evaluate and time every mode of one task with every seed."""
    shipped, runs, first = load(name), list[Trained](), list[Painter]()
    pairs = held_out_pairs(shipped.task, shipped.size, limit=options.skip + options.limit)[options.skip :]
    for seed in range(options.seeds):
        for mode in options.modes:
            config = settings(name, mode, seed, options)
            for step in train(config):
                if step.step % 25 == 0:
                    print(f"{config.out.name} {step.step}/{step.steps} {step.seconds:.2f} s", flush=True)
            adapter = config.out / "adapter.safetensors"
            painter = painter_of(name, adapter) if options.go_on else in_many_calls(name, adapter)
            report = evaluate(painter, pairs, baselines=False)
            scores = {score.heading: score.mean for score in report.rows[0].scores}
            runs.append(logged(config, scores))
            first += [painter] if seed == 0 else []
    one_picture = [Run(name=one.attention, call=partial(one.batch, pairs[:1])) for one in first]
    taken = {timing.name: timing.cpu for timing in interleaved(one_picture, options.rounds)}
    done = tuple(replace(run, paint_seconds=taken[run.attention]) for run in runs)
    return Compared(steps=options.steps, pairs=len(pairs), runs=done, dtype=dtype_name(fast_dtype()))


def settings(name: str, mode: Attention, seed: int, options: argparse.Namespace) -> TrainConfig:
    """Return a run's settings: the shipped adapter's, but for its beginning."""
    pairs, start = subset(pairs_of(name), options.pairs), "-on" if options.go_on else ""
    return replace(
        config_of(name, pairs, f"{name}-{mode}-{options.steps}{start}-{seed}", options.steps), seed=seed,
        attention=mode, draws=4, compile=mode == "full", start_from=name if options.go_on else None,
        validate=str(heldout(name)), validate_every=options.steps, samples=0,
    )  # fmt: skip


def in_many_calls(name: str, adapter: Path) -> Painter:
    """Return who paints with an adapter in 20 calls of a higher-order solver."""
    return replace(load(name, adapter=adapter, solver="ab2", dtype=fast_dtype()), steps=CALLS)


def logged(config: TrainConfig, scores: dict[str, float]) -> Trained:
    """Return what a finished run's log says of it, with its scores."""
    lines = [json.loads(line) for line in (config.out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return Trained(
        attention=config.attention,
        seed=config.seed,
        loss=next(line["validation"] for line in reversed(lines) if line["validation"] is not None),
        scores=scores,
    )


def page(found: Mapping[str, Compared]) -> str:
    """Return docs/tasks/clean-prefix.md."""
    parts = [HEAD.format(calls=CALLS)]
    for name, compared in found.items():
        seeds = len({run.seed for run in compared.runs})
        drawn = f"{compared.steps} steps, {seeds} seed{'s' if seeds > 1 else ''}"
        parts.append(f"## {name}\n\n{drawn}, {compared.pairs} held-out pairs, {compared.dtype}.\n")
        parts.append(table(lines(compared)) + "\n")
    return "\n".join(parts)


def lines(compared: Compared) -> list[list[str]]:
    """Return a line for each mode: means over its seeds."""
    modes = [mode for mode in ATTENTIONS if any(run.attention == mode for run in compared.runs)]
    by_mode = {mode: [run for run in compared.runs if run.attention == mode] for mode in modes}
    metrics = list(compared.runs[0].scores)
    whole = by_mode["full"]
    rows = [["attention", "held-out loss", *metrics, "CPU time of a picture"]]
    for mode, runs in by_mode.items():
        rows.append(
            [
                mode,
                spread([run.loss for run in runs]),
                *(spread([run.scores[metric] for run in runs]) for metric in metrics),
                times(whole, runs),
            ]
        )
    return rows


def spread(values: Sequence[float]) -> str:
    """Return a mean with its standard deviation."""
    return f"{mean(values):.4g}" + (f" ({stdev(values):.2g})" if len(values) > 1 else "")


def times(whole: Sequence[Trained], runs: Sequence[Trained]) -> str:
    """Return the seconds that a picture took, and how many times faster than with full attention."""
    full, own = (mean(run.paint_seconds for run in some) for some in (whole, runs))
    return f"{own:.2f} s" + (f", {full / own:.2f} x" if own != full else "")


def known() -> dict[str, Compared]:
    """Return what was measured, by task."""
    return stored_by_task(SCORES, Compared, runs=Trained)


def main() -> None:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", nargs="*", choices=list(SETTINGS), help="measure these, even again")
    parser.add_argument("--modes", nargs="+", choices=ATTENTIONS, default=["full", "clean_ref_text"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=400, help="to learn from")
    parser.add_argument("--limit", type=int, default=32, help="held-out pairs to paint")
    parser.add_argument("--skip", type=int, default=0, help="held-out pairs to leave to docs/results.md")
    parser.add_argument("--go-on", action="store_true", help="begin with the adapter that ships, and paint as it does")
    parser.add_argument("--rounds", type=int, default=3, help="of timing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.task or [name for name in SETTINGS if name not in known()]:
        store_by_task(SCORES, f"{name}, trained on" if options.go_on else name, compare(name, options))
    write_text(DOCS / "tasks" / "clean-prefix.md", page(known()))


if __name__ == "__main__":
    main()
