"""Train the decoder of the embedded backbone's autoencoder; the encoder is given (recipes/micro/pca.py).

    python -m recipes.micro.autoencoder --hours 2          # one core, beside the transformer; again to go on
    torchrun --nproc-per-node 2 -m recipes.micro.autoencoder --hours 2 --start-from src/anyrefill/assets/micro/vae

Loss: L1 + 2 MSE + 0.15 LPIPS (alex). Latents are disturbed by a little noise, as a sampler leaves it. The encoder
stays as it is, so the transformer's latents do not move while the decoder improves. `recipes.micro.pack --decoder`
ships a better decoder alone: transformer and adapters stay what they are.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn.functional import l1_loss, mse_loss

from anyrefill.backbone.precision import multiplies_bfloat16
from anyrefill.files import whole
from anyrefill.metrics import Lpips
from anyrefill.train.checkpoint import write_state
from recipes.micro.fast_norm import make_fast
from recipes.micro.pca import BANKS, RUN, Codec, crops
from recipes.micro.run import Ema, agreed, join, load_state, save_state, take_gradients


@torch.no_grad()
def measure(vae: AutoencoderKL, codec: Codec, lpips: Lpips, count: int = 64) -> str:
    """Return PSNR and LPIPS on held-out scenes of 128 pixels, without noise."""
    pixels = np.load(BANKS / "test" / "pixels.npy", mmap_mode="r")[:count, 16:144, 16:144]
    x = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    scores, distances = [], []
    for part in x.split(16):
        y = vae.decoder(codec.encode(part).contiguous(memory_format=torch.channels_last)).float().clamp(-1, 1)
        scores.append(-10 * (((y - part) / 2) ** 2).mean((1, 2, 3)).log10())
        distances.append(lpips(y.contiguous(), part))
    return f"held-out PSNR {torch.cat(scores).mean():.2f} dB, LPIPS {torch.cat(distances).mean():.4f}"


def begin(out: Path, given: Path | None) -> tuple[AutoencoderKL, Codec]:
    """Return the autoencoder to train and its linear code: the run's own, or at first the one it starts from."""
    if given is None:
        return AutoencoderKL.from_pretrained(out / "vae"), Codec(**torch.load(out / "codec.pt"))
    vae = AutoencoderKL.from_pretrained(given).float()
    return vae, Codec.of(vae)


class Trainer:
    """The decoder, what it learns from, and how far it is; a state in the folder is gone on from.

    Args:
        args: of the command line.
        rank: of this process.
        workers: how many processes there are.
    """

    def __init__(self, args: argparse.Namespace, rank: int, workers: int) -> None:
        self.args, self.rank, self.workers = args, rank, workers
        self.vae, self.codec = begin(args.out, args.start_from)
        self.lpips = Lpips("alex")
        self.decoder = self.vae.requires_grad_(False).decoder.requires_grad_(True)
        make_fast(self.decoder.to(memory_format=torch.channels_last))
        self.optimizer = torch.optim.AdamW(
            self.decoder.parameters(), args.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.ema, self.step = Ema(self.decoder, 0.998), load_state(args.out, self.decoder, self.optimizer)
        if self.step:
            self.ema.shadow, self.ema.count = torch.load(args.out / "ema.pt"), self.step
        self.pixels, self.masks = (np.load(args.bank / f"{name}.npy", mmap_mode="r") for name in ("pixels", "masks"))

    def learn(self, share: float) -> tuple[float, float]:
        """Take one step, `share` of the time gone; return mean squared error and LPIPS of this process's crops."""
        random = np.random.default_rng([7, self.step, self.rank])
        x = crops(self.pixels, self.masks, self.args.side, self.args.batch, random)
        z = self.codec.encode(x)
        z = (z + self.args.noise * torch.rand(len(z), 1, 1, 1) * torch.randn_like(z)).contiguous(
            memory_format=torch.channels_last
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16()):
            y = self.decoder(z).float()
            perceptual = self.lpips(y.contiguous(), x).float().mean()
        error = mse_loss(y, x)
        for group in self.optimizer.param_groups:
            group["lr"] = self.args.lr * min(1, (self.step + 1) / 200) * max(0.02, min(1, (1 - share) / 0.5))
        self.optimizer.zero_grad()
        (l1_loss(y, x) + 2 * error + 0.15 * perceptual).backward()
        if self.workers > 1:
            take_gradients(self.decoder, self.decoder, self.workers)
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), 1.0)
        self.optimizer.step()
        self.ema.update(self.decoder)
        self.step += 1
        return error.item(), perceptual.item()

    def keep(self) -> None:
        """Write the state and print what the averaged weights reach."""
        save_state(self.args.out, self.decoder, self.optimizer, self.step)
        with whole(self.args.out / "ema.pt") as part:
            write_state(self.ema.shadow, part)
        with self.ema.applied(self.decoder):
            print(measure(self.vae, self.codec, self.lpips), flush=True)


def main() -> None:
    """Train until the time is over; resume where a state lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--side", type=int, default=64, help="of a crop")
    parser.add_argument("--batch", type=int, default=8, help="crops a step and process")
    parser.add_argument("--bank", type=Path, default=BANKS / "train")
    parser.add_argument("--start-from", type=Path, help="folder of a trained autoencoder")
    parser.add_argument("--out", type=Path, default=RUN)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    rank, workers = join()
    trainer = Trainer(args, rank, workers)
    began = saved = time.time()
    squared, share = 0.0, 0.0
    while share < 1:
        share = agreed((time.time() - began) / 3600 / args.hours, workers)
        error, perceptual = trainer.learn(share)
        squared += (error - squared) * 0.02
        if rank == 0 and trainer.step % 100 == 0:
            decibels = -10 * np.log10(squared / 4 + 1e-9)
            print(f"{trainer.step} {time.time() - began:.0f}s psnr {decibels:.2f} lpips {perceptual:.3f}", flush=True)
        if rank == 0 and (share >= 1 or time.time() - saved > 300):
            trainer.keep()
            saved = time.time()


if __name__ == "__main__":
    main()
