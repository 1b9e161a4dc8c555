"""Train the small network on VGG16's features that `anyrefill.judges.depth_vgg` sees depth with, and score it.

    python -m recipes.nearness                           # pairs of image-to-depth; 73 minutes beside two others' work

VGG16 stays as it is. Every training picture is seen twice: as it is, and mirrored, in other tones and as the
autoencoder or a blur leaves it, since it is painted pictures that are to be judged. The loss is 1 - Pearson's
correlation with the true nearness. Printed is the mean correlation on held-out pairs, beside that of the mean training
depth, which has seen no picture.
"""

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cosine_similarity, dropout2d, interpolate
from tqdm import tqdm

from anyrefill.evaluate import heldout
from anyrefill.files import whole
from anyrefill.metrics import depth_correlation, nearness_vgg
from anyrefill.metrics.nearness import HEAD, NearnessHead, vgg_stages
from anyrefill.painter import load
from anyrefill.pairs import Pair, PairFolder
from anyrefill.tasks.deblur import add_noise, blur
from anyrefill.types import Panel, Panels
from recipes.world.fetch import WORLD

Sheet = tuple[list[Tensor], Tensor]
"""(stages of VGG16 in half precision, each (1, D, h, w); nearness (1, 1, H / 4, W / 4))."""


def observed(picture: Panel, nearness: Panel) -> Sheet:
    """Return what the head sees of a picture, and what it is to say."""
    stages = [stage.half() for stage in vgg_stages(picture[None])]
    size = (picture.shape[1] // 4, picture.shape[2] // 4)
    return stages, interpolate(nearness.mean(dim=0, keepdim=True)[None], size, mode="area")


def disturbed(pictures: Panels, decoded: Panels, generator: torch.Generator) -> Panels:
    """Return the pictures as one of a painter's could be: decoded or blurred or neither, in other tones.

    Args:
        pictures: as they are.
        decoded: as the autoencoder leaves them.
        generator: draws which.
    """

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    out = []
    for picture, copy in zip(pictures, decoded, strict=True):
        kind = draw(0, 3, 1).item()
        panel = copy if kind < 1 else blur(picture, draw(0.5, 1.5, 1).item()) if kind < 2 else picture
        toned = panel * draw(0.6, 1.1, 3, 1, 1) + draw(-0.25, 0.25, 3, 1, 1)
        out.append(add_noise(toned, draw(0, 0.04, 1).item(), generator))
    return torch.stack(out)


def sheets(pairs: Sequence[Pair]) -> list[Sheet]:
    """Return every picture as it is, and mirrored and disturbed."""
    backbone, generator = load("image-to-depth").backbone, torch.Generator().manual_seed(0)
    found: list[Sheet] = []
    for start in tqdm(range(0, len(pairs), 16), desc="looking", unit="16 pairs"):
        part = pairs[start : start + 16]
        pictures = torch.stack([pair.reference for pair in part])
        decoded = backbone.decode(backbone.encode(pictures))
        for pair, other in zip(part, disturbed(pictures, decoded, generator), strict=True):
            found.append(observed(pair.reference, pair.target))
            found.append(observed(other.flip(2), pair.target.flip(2)))
    return found


def fit(seen: Sequence[Sheet], epochs: int, batch: int = 16, width: int = 64) -> NearnessHead:
    """Return a head trained from nothing with AdamW, its learning rate falling from 1e-3 to 0 as a cosine."""
    torch.manual_seed(0)
    head, generator = NearnessHead(width), torch.Generator().manual_seed(1)
    steps = epochs * -(-len(seen) // batch)
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    bar = tqdm(total=steps, desc="training", unit="step", mininterval=10)
    for _ in range(epochs):
        for order in torch.randperm(len(seen), generator=generator).split(batch):
            chosen = [seen[index] for index in order.tolist()]
            stages = [torch.cat(parts).float() for parts in zip(*(one[0] for one in chosen), strict=True)]
            kept = [dropout2d(stage, 0.1) for stage in stages]
            loss = 1 - correlation(head(kept), torch.cat([one[1] for one in chosen])).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    bar.close()
    return head.eval()


def correlation(seen: Tensor, truth: Tensor) -> Tensor:
    """Return Pearson's correlation of each map of a batch, (B,)."""
    return cosine_similarity(*((x.flatten(1) - x.flatten(1).mean(dim=1, keepdim=True)) for x in (seen, truth)), dim=1)


def main() -> None:
    """Train, save, and score on held-out pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=WORLD.parent / "pairs" / "image-to-depth-train")
    parser.add_argument("--count", type=int, default=1600)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--out", type=Path, default=HEAD)
    args = parser.parse_args()
    torch.set_num_threads(1)
    train = list(islice(PairFolder(args.pairs), args.count))
    head = fit(sheets(train), args.epochs)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with whole(args.out) as part:
        save_file({name: tensor.half() for name, tensor in head.state_dict().items()}, part)
    layout = torch.stack([pair.target.mean(dim=0, keepdim=True) for pair in train]).mean(dim=0)
    found, blind = [], []
    for pair in islice(PairFolder(heldout("image-to-depth")), 64):
        truth = pair.target.mean(dim=0, keepdim=True)
        found.append(depth_correlation(nearness_vgg(pair.reference, args.out), truth))
        blind.append(depth_correlation(layout, truth))
    print(f"{len(train)} pairs; held-out correlation {sum(found) / len(found):.3f}, the mean depth alone "
          f"{sum(blind) / len(blind):.3f} ({len(found)} pairs)")  # fmt: skip


if __name__ == "__main__":
    main()
