"""The table of solvers: how far each is from 500 Euler steps, by the number of calls of the backbone."""

from collections.abc import Sequence

from anyrefill import flow
from anyrefill.bench.rows import Row
from anyrefill.bench.scene import Scene
from anyrefill.flow import SOLVERS, Solver
from anyrefill.types import Tokens

__all__ = ["SOLVER_TABLE", "solvers"]

EXACT = 500
SOLVER_TABLE = f"distance to {EXACT} Euler steps"


def solvers(scene: Scene, calls: Sequence[int] = (10, 14, 20, 50)) -> list[Row]:
    """Return the distances, as ||x - x_exact|| / ||x_exact|| of painted tokens; the same noise, float32."""
    exact = _painted(scene, "euler", EXACT)
    return [
        Row(
            table=SOLVER_TABLE,
            name=f"{solver}, {number} calls",
            value=float((_painted(scene, solver, number) - exact).norm() / exact.norm()),
            unit="relative",
        )
        for solver in SOLVERS
        for number in calls
    ]


def _painted(scene: Scene, solver: Solver, steps: int) -> Tokens:
    """Return the painted tokens of a run."""
    condition = scene.condition()
    sigmas = flow.schedule(steps, scene.canvases[0].tokens)
    velocity = scene.backbone.field(condition, 1.0, sigmas, "full")
    *_, last = SOLVERS[solver](velocity, scene.noise(condition), sigmas)
    return last[:, condition.fill[0, :, -256:].amax(-1) > 0]
