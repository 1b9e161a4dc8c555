"""What else than a solver saves calls of the backbone: block caches and stopping early, beside fewer steps.

    python -m benchmarks.shortcuts                          # 2 tasks, 4 photographs: 10 minutes on one thread

Each way is told by what it costs, in calls of the whole backbone, and by its distance to 500 Euler steps of the same
noise, ||x - x_500|| / ||x_500|| over painted tokens, mean over the photographs; float32, full attention. The block
cache is diffusers' own FirstBlockCache: where the first block's change is like the last step's, the other seven are
not run and their last change is added again; such a step costs an eighth of a call. Stopping early takes the last
velocity straight to sigma 0.
"""

import argparse
from collections.abc import Iterator
from statistics import mean

import torch
from diffusers.hooks import FirstBlockCacheConfig

from anyrefill import flow
from anyrefill.backbone import Condition, Field, call_by_call
from anyrefill.bench.scene import Scene
from anyrefill.evaluate.report import table
from anyrefill.flow import SOLVERS, Solver
from anyrefill.types import Tokens

EXACT, STEPS = 500, 20
CALLS = (3, 5, 7, 10, 14, 20)
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)
STOPS = (5, 7, 10, 14)


class Counted:
    """A diffusers transformer with its block cache, which counts what it runs."""

    def __init__(self, scene: Scene, threshold: float) -> None:
        """Switch the cache on; `close` switches it off."""
        self.model, self.first, self.last = scene.plain.transformer, 0, 0
        self.blocks = len(self.model.transformer_blocks) + len(self.model.single_transformer_blocks)
        self.handles = [
            self.model.transformer_blocks[0].norm1.register_forward_hook(self.saw_first),
            self.model.single_transformer_blocks[-1].norm.register_forward_hook(self.saw_last),
        ]
        self.model.enable_cache(FirstBlockCacheConfig(threshold=threshold))

    def saw_first(self, *_: object) -> None:
        """Count a step."""
        self.first += 1

    def saw_last(self, *_: object) -> None:
        """Count a step that ran every block."""
        self.last += 1

    def close(self) -> float:
        """Switch the cache off and return the cost in calls of the whole backbone."""
        self.model.disable_cache()
        for handle in self.handles:
            handle.remove()
        return self.last + (self.first - self.last) / self.blocks


def stopped(solver: Solver, field: Field, noise: Tokens, sigmas: list[float], calls: int) -> Tokens:
    """Return where a run of `calls` calls gets to whose last step goes straight to sigma 0."""
    *_, last = SOLVERS[solver](field, noise, [*sigmas[:calls], 0.0])
    return last


def ways(scene: Scene, condition: Condition, noise: Tokens) -> Iterator[tuple[str, float, Tokens]]:
    """Yield name, cost and final latents of every way."""
    sigmas = flow.schedule(STEPS, scene.canvases[0].tokens)
    field = call_by_call(scene.plain, condition, 1.0)
    for solver in ("euler", "ab2"):
        for calls in CALLS:
            levels = flow.schedule(calls, scene.canvases[0].tokens)
            yield f"{solver}, {calls} steps", calls, stopped(solver, field, noise, levels, calls)
        for calls in STOPS:
            yield f"{solver}, {STEPS} steps, stopped after {calls}", calls, stopped(solver, field, noise, sigmas, calls)
        for threshold in THRESHOLDS:
            counted = Counted(scene, threshold)
            with scene.plain.transformer.cache_context("one"):
                reached = stopped(solver, field, noise, sigmas, STEPS)
            yield f"{solver}, {STEPS} steps, cache {threshold:g}", counted.close(), reached


def measured(scene: Scene) -> Iterator[list[str]]:
    """Yield a row of each way: its name, mean cost and mean distance."""
    found: dict[str, list[tuple[float, float]]] = {}
    for index in range(len(scene.canvases)):
        one = Scene(**{**vars(scene), "canvases": scene.canvases[index : index + 1]})
        condition = one.condition()
        noise, painted = one.noise(condition), condition.fill[0, :, -256:].amax(-1) > 0
        levels = flow.schedule(EXACT, one.canvases[0].tokens)
        *_, limit = SOLVERS["euler"](one.backbone.field(condition, 1.0, levels, "full"), noise, levels)
        for name, cost, reached in ways(one, condition, noise):
            distance = float((reached - limit)[:, painted].norm() / limit[:, painted].norm())
            found.setdefault(name, []).append((cost, distance))
    for name, values in sorted(found.items(), key=lambda item: mean(cost for cost, _ in item[1])):
        costs, distances = zip(*values, strict=True)
        yield [name, f"{mean(costs):.1f}", f"{mean(distances):.4f}"]


def main() -> None:
    """Print a table of each task."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["deblur", "colorization"])
    parser.add_argument("--photos", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for task in args.tasks:
        scene = Scene.of(task, "float32", args.photos)
        with torch.no_grad():
            rows = [[task, "calls", "distance"], *measured(scene)]
        print(table(rows), flush=True)


if __name__ == "__main__":
    main()
