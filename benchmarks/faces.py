"""How well faces tell people apart in small rendered pictures: what the doctor's limit and `--face-distance` cost.

    python -m recipes.heldout
    python -m benchmarks.faces                   # the held-out pairs of age, gender and relight; two minutes

Printed for each task: panels without a face and with several, how far apart the faces of true pairs are and those of
two people (any reference, any other person's target), how many are beyond dlib's limit and the doctor's. Last, for how
many panels the nearest other person in the folder is nearer than the same person in the pair's other panel, which is
why nothing looks for one person in training and test pairs.
"""

from dataclasses import dataclass

import torch
from recipes.heldout import OUT
from torch import Tensor

from anyrefill import PairFolder
from anyrefill.doctor.people import APART
from anyrefill.metrics import faces


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Panels of one task, references first: who is shown, how many faces, and their descriptions where there is one."""

    people: Tensor
    counts: Tensor
    descriptions: Tensor


def look(task: str, finder: faces.Faces) -> Seen:
    """Look at the held-out pairs of a task."""
    pairs = list(PairFolder(OUT["test"] / task))
    found = [finder.find(panel) for panel in (*(one.reference for one in pairs), *(one.target for one in pairs))]
    nobody = torch.full((128,), torch.nan)
    return Seen(
        people=torch.tensor([int(str(pair.extra["person"])) for pair in pairs] * 2),
        counts=torch.tensor([len(one) for one in found]),
        descriptions=torch.stack([one[0].description if len(one) == 1 else nobody for one in found]),
    )


def tell(task: str, seen: Seen) -> None:
    """Print the figures of a task."""
    half = len(seen.people) // 2
    apart = torch.linalg.vector_norm(seen.descriptions[:, None] - seen.descriptions[None], dim=2)
    others = seen.people[:, None] != seen.people[None]
    true = apart[:half, half:].diagonal()
    strangers = apart[:half, half:][others[:half, half:]]
    print(
        f"{task}: {(seen.counts == 0).sum()} of {len(seen.counts)} panels without a face,"
        f" {(seen.counts > 1).sum()} with several"
    )
    for name, distances in (("true pairs", true), ("two people", strangers)):
        known = distances[~distances.isnan()]
        beyond = ", ".join(f"{(known > one).sum()} beyond {one}" for one in (faces.APART, APART))
        print(f"  {name}: {len(known)}, mean {known.mean():.3f}, {beyond}")
    nearest = torch.where(others & ~apart.isnan(), apart, torch.inf).amin(dim=1)
    own = torch.cat([true, true])
    print(f"  another person nearer than the pair's other panel: {(nearest < own).sum()} of {(~own.isnan()).sum()}")


def main() -> None:
    """Print everything."""
    torch.set_num_threads(1)
    finder = faces.Faces()
    for task in ("age", "gender", "relight"):
        tell(task, look(task, finder))


if __name__ == "__main__":
    main()
