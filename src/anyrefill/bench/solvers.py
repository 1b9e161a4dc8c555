"""The tables of solvers: how far each is from 500 Euler steps, by the number of calls of the backbone."""

from collections.abc import Sequence

from anyrefill import flow
from anyrefill.backbone import Attention
from anyrefill.bench.rows import Row
from anyrefill.bench.scene import Scene
from anyrefill.flow import SOLVERS, Solver
from anyrefill.types import Tokens

__all__ = ["OWN", "solver_table", "solvers"]

EXACT, CALLS = 500, (10, 14, 20, 50)
OWN = "euler, the adapter's own"


def solver_table(attention: Attention) -> str:
    """Return the name of the table of a mode."""
    return f"distance to {EXACT} Euler steps, {attention}"


def solvers(scene: Scene, attention: Attention, calls: Sequence[int] = CALLS, exact: int = EXACT) -> list[Row]:
    """Return the distances, as ||x - x_exact|| / ||x_exact|| of painted tokens; the same mode and noise, float32.

    Args:
        scene: what is painted.
        attention: who attends to whom. An adapter that was trained with another one paints worse so, but its distance
            to its own steps is as good a measure of a solver.
        calls: how often the backbone is called.
        exact: Euler steps of what all are compared with.

    In `full` attention stands the adapter's own number of steps too, without guidance by the reference.
    """
    limit = _painted(scene, attention, "euler", exact)
    runs: list[tuple[str, Solver, int]] = [
        (f"{solver}, {number} calls", solver, number) for solver in SOLVERS for number in calls
    ]
    if attention == "full":
        runs.append((f"{OWN} {scene.painter.steps} calls", "euler", scene.painter.steps))
    return [
        Row(
            table=solver_table(attention),
            name=name,
            value=float((_painted(scene, attention, solver, number) - limit).norm() / limit.norm()),
            unit="relative",
        )
        for name, solver, number in runs
    ]


def _painted(scene: Scene, attention: Attention, solver: Solver, steps: int) -> Tokens:
    """Return the painted tokens of a run."""
    condition = scene.condition()
    sigmas = flow.schedule(steps, scene.canvases[0].tokens)
    velocity = scene.backbone.field(condition, 1.0, sigmas, attention)
    *_, last = SOLVERS[solver](velocity, scene.noise(condition), sigmas)
    return last[:, condition.fill[0, :, -256:].amax(-1) > 0]
