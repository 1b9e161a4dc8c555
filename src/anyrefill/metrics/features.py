"""How far two sets of pictures are apart in a network's features: a kernel distance, named for its network.

Inception's weights, which FID and KID are defined with, are in no package that could be pinned; these are AlexNet's,
those of `lpips_alex`, so the figures compare with each other and with no paper's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anyrefill.metrics.lpips import shared
from anyrefill.metrics.weights import weights_folder
from anyrefill.types import Panel

__all__ = ["Spread", "alex_features", "kernel_distance", "kid_alex"]

Features = Float[Tensor, "N D"]

FEWEST = 3
"""Pictures in a set, below which its spread cannot be told."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A distance of two sets, and how sure it is.

    Attributes:
        mean: the distance.
        low: lower end of its 95 % confidence interval.
        high: upper end of it.
    """

    mean: float
    low: float
    high: float


def kid_alex(painted: Sequence[Panel], real: Sequence[Panel]) -> Spread:
    """Return `kernel_distance` of `alex_features`; 0 for equal sets, and about 0 for sets of one kind.

    Raises:
        UserError: the weights are missing.
        ValueError: the sets are of different sizes, or smaller than 3.
    """
    return kernel_distance(alex_features(painted), alex_features(real))


@torch.no_grad()
def alex_features(pictures: Sequence[Panel], batch_size: int = 16) -> Features:
    """Return AlexNet's last features after the ReLU, 256, each the mean over the picture.

    Raises:
        UserError: the weights are missing.
    """
    network = shared("alex", weights_folder())
    parts = [torch.stack(list(pictures[i : i + batch_size])) for i in range(0, len(pictures), batch_size)]
    return torch.cat([network.features(part.float().cpu())[-1].mean(dim=(2, 3)) for part in parts])


def kernel_distance(found: Features, wanted: Features) -> Spread:
    """Return the squared maximum mean discrepancy, kernel (x y / D + 1)^3, with the jackknife's 95 % interval.

    The i-th of both sets belong together and are not compared with each other, so that what copies its target is no
    nearer to the set for that.

    Source: Binkowski et al. 2018, Demystifying MMD GANs (arXiv 1801.01401), section 4; Efron and Tibshirani 1993, An
    Introduction to the Bootstrap, chapter 11.

    Raises:
        ValueError: the sets are of different sizes, or smaller than 3.
    """
    count = len(found)
    if len(wanted) != count or count < FEWEST:
        raise ValueError(f"two sets of one size, {FEWEST} or more, are compared: got {count} and {len(wanted)}")
    x, y = found.double(), wanted.double()
    across = _kernel(x, y)
    gaps = (_kernel(x, x) + _kernel(y, y) - across - across.mT).fill_diagonal_(0)
    mean = gaps.sum() / (count * (count - 1))
    without = (gaps.sum() - 2 * gaps.sum(dim=1)) / ((count - 1) * (count - 2))
    half = 1.96 * ((count - 1) / count * (without - without.mean()).pow(2).sum()).sqrt()
    return Spread(mean=mean.item(), low=(mean - half).item(), high=(mean + half).item())


def _kernel(x: Features, y: Features) -> Float[Tensor, "N N"]:
    """Return (x y / D + 1)^3 of every two."""
    return (x @ y.mT / x.shape[1] + 1) ** 3
