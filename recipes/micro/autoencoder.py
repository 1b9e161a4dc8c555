"""Train the decoder of the embedded backbone's autoencoder; the encoder is given (recipes/micro/pca.py).

    python -m recipes.micro.autoencoder --hours 2          # one core, beside the transformer; again to go on

Loss: L1 + 2 MSE + 0.15 LPIPS (alex). Latents are disturbed by a little noise, as a sampler leaves it. The encoder
stays as it is, so the transformer's latents do not move while the decoder improves.
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
from anyrefill.metrics import Lpips
from recipes.micro.fast_norm import make_fast
from recipes.micro.pca import BANKS, RUN, Codec, crops
from recipes.micro.run import Ema, load_state, save_state


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


def main() -> None:
    """Train until the time is over; resume where a state lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--noise", type=float, default=0.05)
    parser.add_argument("--out", type=Path, default=RUN)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(args.out / "vae").requires_grad_(False)
    codec, lpips = Codec(**torch.load(args.out / "codec.pt")), Lpips("alex")
    decoder = vae.decoder.requires_grad_(True).to(memory_format=torch.channels_last)
    make_fast(decoder)
    optimizer = torch.optim.AdamW(decoder.parameters(), args.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    ema, step = Ema(decoder, 0.998), load_state(args.out, decoder, optimizer)
    if step:
        ema.shadow, ema.count = torch.load(args.out / "ema.pt"), step
    pixels, masks = (np.load(BANKS / "train" / f"{name}.npy", mmap_mode="r") for name in ("pixels", "masks"))
    began = saved = time.time()
    squared, over = 0.0, False
    while not over:
        x = crops(pixels, masks, 64, 8, np.random.default_rng([7, step]))
        z = codec.encode(x)
        z = (z + args.noise * torch.rand(len(z), 1, 1, 1) * torch.randn_like(z)).contiguous(
            memory_format=torch.channels_last
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16()):
            y = decoder(z).float()
            perceptual = lpips(y.contiguous(), x).float().mean()
        error = mse_loss(y, x)
        share = (time.time() - began) / 3600 / args.hours
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1, (step + 1) / 200) * max(0.02, min(1, (1 - share) / 0.5))
        optimizer.zero_grad()
        (l1_loss(y, x) + 2 * error + 0.15 * perceptual).backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        ema.update(decoder)
        step += 1
        over = share >= 1
        squared += (error.item() - squared) * 0.02
        if step % 100 == 0:
            decibels = -10 * np.log10(squared / 4 + 1e-9)
            print(f"{step} {time.time() - began:.0f}s psnr {decibels:.2f} lpips {perceptual.item():.3f}", flush=True)
        if over or time.time() - saved > 300:
            save_state(args.out, decoder, optimizer, step)
            torch.save(ema.shadow, args.out / "ema.pt")
            with ema.applied(decoder):
                print(measure(vae, codec, lpips), flush=True)
            saved = time.time()


if __name__ == "__main__":
    main()
