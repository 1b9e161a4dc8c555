"""Fit the readout of VGG16's features that `anyrefill.judges.depth_vgg` sees depth with, and say how well it does.

    python -m recipes.nearness                           # pairs of image-to-depth; about 5 minutes on one core

A ridge regression of nearness in [-1, 1] on 1,408 features a place. It is fitted to training pairs alone; printed is
the mean correlation on held-out ones, beside that of the mean training depth, which has seen no picture.
"""

import argparse
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from anyrefill.evaluate import heldout
from anyrefill.files import whole
from anyrefill.metrics import depth_correlation, nearness_vgg
from anyrefill.metrics.nearness import READOUT, vgg_columns
from anyrefill.pairs import Pair, PairFolder
from recipes.world.fetch import WORLD


def fit(pairs: Iterable[Pair], ridge: float) -> tuple[Float[Tensor, " D"], Float[Tensor, " 1"]]:
    """Return weight and bias of the least-squares readout; every picture counts alike, about its own mean.

    Args:
        pairs: photograph and nearness.
        ridge: added to the diagonal of the features' mean products, as a share of their mean.
    """
    products, wanted, means, level, count = None, None, None, 0.0, 0
    for pair in pairs:
        columns = vgg_columns(pair.reference[None])[0]
        rows = columns.flatten(1).mT.double()
        depth = interpolate(pair.target[None], columns.shape[1:], mode="area")[0].mean(dim=0).flatten().double()
        mean, centre = rows.mean(dim=0), depth.mean()
        rows, depth = rows - mean, depth - centre
        parts = (rows.mT @ rows / len(rows), rows.mT @ depth / len(rows), mean)
        if products is None or wanted is None or means is None:
            products, wanted, means = parts
        else:
            products, wanted, means = products + parts[0], wanted + parts[1], means + parts[2]
        level, count = level + centre.item(), count + 1
    if products is None or wanted is None or means is None:
        raise ValueError("a readout needs at least one pair")
    diagonal = ridge * products.diagonal().mean() * torch.eye(len(products), dtype=products.dtype)
    weight = torch.linalg.solve(products + diagonal, wanted)
    bias = torch.tensor([level / count]) - weight @ means / count
    return weight.float(), bias.float()


def main() -> None:
    """Fit, save, and score on held-out pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=WORLD.parent / "pairs" / "image-to-depth-train")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--ridge", type=float, default=0.03)
    args = parser.parse_args()
    torch.set_num_threads(1)
    train = list(islice(PairFolder(args.pairs), args.count))
    weight, bias = fit(tqdm(train, desc="fitting", unit="pair"), args.ridge)
    READOUT.parent.mkdir(parents=True, exist_ok=True)
    with whole(READOUT) as part:
        save_file({"weight": weight, "bias": bias}, part)
    layout = torch.stack([pair.target.mean(dim=0, keepdim=True) for pair in train]).mean(dim=0)
    found, blind = [], []
    for pair in islice(PairFolder(heldout("image-to-depth")), 64):
        truth = pair.target.mean(dim=0, keepdim=True)
        found.append(depth_correlation(nearness_vgg(pair.reference), truth))
        blind.append(depth_correlation(layout, truth))
    print(f"{len(train)} pairs; held-out correlation {sum(found) / len(found):.3f}, the mean depth alone "
          f"{sum(blind) / len(blind):.3f} ({len(found)} pairs)")  # fmt: skip


if __name__ == "__main__":
    main()
