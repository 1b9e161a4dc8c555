"""How much of a fully masked panel the transformer knows at each noise level: the test that shows copying first.

    python -m recipes.micro.probe                              # the run in progress; half a minute
    python -m recipes.micro.probe --weights src/anyrefill/assets/micro/transformer

32 held-out scenes, the right panel under a named tone. The guess at x_0 is x_sigma - sigma v. Printed: PSNR of that
guess against the true latents, both decoded linearly, and its error as a share of the latents' variance, for the
first (brightness) and the last of the 16 channels. Near sigma 1 only the reference can tell.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from anyrefill.backbone import kernels
from anyrefill.backbone.latents import image_ids
from anyrefill.backbone.precision import fast_dtype
from recipes.micro.transformer import BANKS, HOME, Corpus, frozen, make_transformer, read_bank
from recipes.world.canvases import PANEL, TONES, Diptych, view

LEVELS = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1.0)


def canvases(corpus: Corpus, count: int) -> tuple[list[Diptych], list[str]]:
    """Return scenes beside themselves under a named tone, the right panel masked."""
    random = np.random.default_rng(3)
    mask = np.zeros((PANEL, 2 * PANEL), np.uint8)
    mask[:, PANEL:] = 1
    made: list[Diptych] = []
    (scenes,) = corpus.scenes
    for row in random.integers(len(scenes.pixels), size=count):
        panel, name = view(scenes.pixels[row], random, 0, 1.15, 14), list(TONES)[random.integers(len(TONES))]
        pixels = np.concatenate([panel, TONES[name](panel)], axis=1)
        made.append(Diptych(pixels=pixels, mask=mask, caption=f"{scenes.captions[row]}, {name}"))
    return made, [canvas.caption for canvas in made]


def load(weights: Path) -> FluxTransformer2DModel:
    """Return the transformer of a diffusers folder, or of a run's averaged weights."""
    if weights.is_dir():
        return FluxTransformer2DModel.from_pretrained(weights, torch_dtype=fast_dtype())
    model = make_transformer()
    model.load_state_dict(torch.load(weights))
    return model.to(fast_dtype())


@torch.no_grad()
def probe(model: FluxTransformer2DModel, batch: tuple[Tensor, ...], sigma: float) -> tuple[Tensor, Tensor]:
    """Return guess and truth of the painted tokens' latents (tokens, 16, 4) at one noise level."""
    clean, fill, words, pooled, _ = batch
    rope = kernels.rope_of(model, words.shape[1], image_ids(PANEL, 2 * PANEL), fast_dtype())
    noisy = torch.lerp(clean, torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)), sigma)
    level, one = torch.full((len(clean),), sigma), torch.ones(len(clean))
    velocity = kernels.forward(model, torch.cat([noisy, fill], dim=-1), words, pooled, level, one, rope)
    painted = fill[..., 64:].mean(-1) > 0.5
    return (noisy - sigma * velocity.float())[painted].unflatten(-1, (16, 4)), clean[painted].unflatten(-1, (16, 4))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, default=HOME / "transformer" / "ema.pt")
    parser.add_argument("--start-from", type=Path, help="what the run in progress was told")
    parser.add_argument("--count", type=int, default=32)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.weights).eval()
    kernels.make_fast(model)
    codec, words = frozen(args.start_from or (args.weights if args.weights.is_dir() else None))
    corpus = Corpus([read_bank(BANKS / "test")], codec, words)
    batch = corpus.encode(*canvases(corpus, args.count))
    print("sigma   PSNR   error of the first and the last channel, share of its variance")
    for sigma in LEVELS:
        guess, truth = probe(model, batch, sigma)
        pixels = torch.einsum("dk,tkp->tpd", codec.columns, guess - truth).pow(2).mean()
        share = (guess - truth).pow(2).mean((0, 2)) / truth.var((0, 2))
        print(f"{sigma:5.2f} {-10 * torch.log10(pixels / 4):6.1f} {share[0]:8.3f} {share[-1]:8.3f}", flush=True)


if __name__ == "__main__":
    main()
