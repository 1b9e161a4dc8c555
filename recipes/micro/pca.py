"""The latents of the embedded backbone: principal components of 8 x 8 patches, inside an AutoencoderKL.

    python -m recipes.micro.pca            # half a minute

An encoder trained from scratch needs hours on two cores before the transformer may start. A linear one is
known at once: this recipe fits the 16 components and writes them into the weights of an AutoencoderKL encoder,
so that the pipeline sees an ordinary VAE and the recipes may encode by one matrix product. How it fits in:
the residual blocks start as the identity, each strided convolution gathers 2 x 2 pixels, every component goes
through the last SiLU as a pair (silu(u) - silu(-u) = u), and two large constants in every group keep the last
GroupNorm from dividing by the picture's own contrast.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from recipes.world.canvases import random_tone
from recipes.world.fetch import WORLD

BANKS = WORLD.parent / "banks"
RUN = WORLD.parent / "micro" / "autoencoder"
CHANNELS, KEPT, POWER, CONSTANT = 16, 28, 0.7, 60.0
"""Latent channels; 4 x 4 components kept on the way; whitening power; the constant of the last GroupNorm."""


def make_autoencoder() -> AutoencoderKL:
    """Return the untrained autoencoder in the layout of FLUX.1's."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 96, 192),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        sample_size=128,
    )


def disturb(crop: np.ndarray, mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return the crop, or now and then something else that stands on the canvases of the tasks."""
    kind = random.random()
    if kind < 0.10:
        crop = crop.copy()
        y, x = random.integers(0, crop.shape[0] - 8, 2)
        crop[y : y + random.integers(8, crop.shape[0]), x : x + random.integers(8, crop.shape[0])] = 127
        return crop
    if kind < 0.14:
        return np.repeat(mask[..., None], 3, axis=2)
    if kind < 0.18:
        return np.repeat(cv2.Canny(crop, 100, 200)[..., None], 3, axis=2)
    if kind < 0.21:
        return np.repeat(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    if kind < 0.26:
        blurred = cv2.GaussianBlur(crop, (0, 0), random.uniform(0.5, 2))
        return np.clip(blurred + random.normal(0, random.uniform(0, 20), crop.shape), 0, 255).astype(np.uint8)
    return random_tone(crop, random) if kind < 0.4 else crop


def crops(pixels: np.ndarray, masks: np.ndarray, side: int, count: int, random: np.random.Generator) -> Tensor:
    """Return `count` crops of `side` pixels, (count, 3, side, side) in [-1, 1]."""
    out = []
    for index in random.integers(len(pixels), size=count):
        y, x = random.integers(0, pixels.shape[1] - side + 1, 2)
        window = (index, slice(y, y + side), slice(x, x + side))
        crop = disturb(pixels[window], masks[window], random)
        out.append(crop[:, ::-1] if random.random() < 0.5 else crop)
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).float() / 127.5 - 1


def components(x: Tensor, patch: int, kept: int) -> tuple[Tensor, Tensor]:
    """Return the leading components (kept, 3 * patch^2) of patches about zero, and their deviations."""
    flat = pixel_unshuffle(x, patch).permute(0, 2, 3, 1).reshape(-1, 3 * patch * patch).double()
    values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
    order = values.argsort(descending=True)[:kept]
    return vectors[:, order].T.float(), values[order].clamp_min(1e-9).sqrt().float()


class Codec:
    """The linear code: latents = rows @ patch, patch ~ columns @ latents."""

    def __init__(self, rows: Tensor, columns: Tensor) -> None:
        """Keep both matrices: rows (16, 192) and columns (192, 16), patches as pixel_unshuffle lays them out."""
        self.rows, self.columns = rows, columns

    @classmethod
    @torch.no_grad()
    def of(cls, vae: AutoencoderKL, count: int = 1024) -> "Codec":
        """Return the code that an encoder written by `write_encoder` carries, from what it makes of random patches."""
        patches = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
        latents = vae.encode(patches).latent_dist.mode().flatten(1)
        rows = torch.linalg.lstsq(pixel_unshuffle(patches, 8).flatten(1), latents).solution.mT.contiguous()
        return cls(rows, torch.linalg.pinv(rows))

    def encode(self, x: Tensor) -> Tensor:
        """Return latents (B, 16, H/8, W/8) of pixels in [-1, 1]."""
        return torch.einsum("kd,bdhw->bkhw", self.rows, pixel_unshuffle(x, 8))

    def decode(self, z: Tensor) -> Tensor:
        """Return the least-squares pixels, clipped; for looking while the decoder is not trained yet."""
        return torch.pixel_shuffle(torch.einsum("dk,bkhw->bdhw", self.columns, z), 8).clamp(-1, 1)


def fit(x: Tensor) -> tuple[Codec, Tensor, Tensor]:
    """Return the codec with unit mean variance, the 4 x 4 basis on the way, and the map from it to latents."""
    basis8, spread = components(x, 8, CHANNELS)
    basis4, _ = components(x, 4, KEPT)
    # an 8 x 8 patch in pixel_unshuffle order, from its four 4 x 4 patches: place every basis4 vector at each corner
    lift = torch.zeros(4 * KEPT, 192)
    for corner in range(4):
        tile = torch.zeros(KEPT, 3, 8, 8)
        y, x0 = divmod(corner, 2)
        tile[:, :, 4 * y : 4 * y + 4, 4 * x0 : 4 * x0 + 4] = basis4.view(KEPT, 3, 4, 4)
        lift[corner * KEPT : (corner + 1) * KEPT] = tile.flatten(1)
    weights = basis8 @ lift.T
    scale = spread.pow(-POWER)
    deviation = (scale * spread).pow(2).mean().sqrt()
    scale = scale / deviation
    rows = scale[:, None] * (weights @ lift)
    return Codec(rows, torch.linalg.pinv(rows)), basis4, scale[:, None] * weights


@torch.no_grad()
def write_encoder(vae: AutoencoderKL, basis4: Tensor, weights: Tensor) -> None:
    """Write the linear code into the encoder; every residual block becomes the identity."""
    blocks = [module for module in vae.encoder.modules() if isinstance(module, ResnetBlock2D)]
    clear(*(block.conv2 for block in blocks))
    clear(*(block.conv_shortcut for block in blocks if block.conv_shortcut is not None))
    one, two, three, _ = vae.encoder.down_blocks
    clear(
        vae.encoder.conv_in,
        one.downsamplers[0].conv,
        two.downsamplers[0].conv,
        three.downsamplers[0].conv,
        vae.encoder.conv_out,
    )
    vae.encoder.conv_in.weight[:3, :, 1, 1] = torch.eye(3)
    for corner in range(4):  # 3 channels -> 12: corner-major
        y, x = divmod(corner, 2)
        one.downsamplers[0].conv.weight[corner * 3 : corner * 3 + 3, :3, y, x] = torch.eye(3)
    two.resnets[0].conv_shortcut.weight[:12, :12, 0, 0] = torch.eye(12)
    tiles = basis4.view(KEPT, 3, 2, 2, 2, 2)  # (kept, rgb, block row, row, block column, column)
    for corner in range(4):
        y, x = divmod(corner, 2)
        inner = tiles[:, :, y, :, x, :].permute(0, 2, 3, 1).reshape(KEPT, 12)
        two.downsamplers[0].conv.weight[:KEPT, :12, y, x] = inner
    three.resnets[0].conv_shortcut.weight[:KEPT, :KEPT, 0, 0] = torch.eye(KEPT)
    for corner in range(4):
        y, x = divmod(corner, 2)
        three.downsamplers[0].conv.weight[:CHANNELS, :KEPT, y, x] = weights[:, corner * KEPT : (corner + 1) * KEPT]
    write_exit(vae, groups=8, width=192 // 8)


def write_exit(vae: AutoencoderKL, groups: int, width: int) -> None:
    """Carry each component through GroupNorm and SiLU as a pair, beside constants that fix the norm's scale."""
    shortcut = vae.encoder.down_blocks[3].resnets[0].conv_shortcut
    vae.encoder.conv_norm_out.weight.fill_(CONSTANT * (2 / width) ** 0.5)
    vae.encoder.conv_norm_out.bias.zero_()
    for channel in range(CHANNELS):
        plus = channel % groups * width + 2 + 2 * (channel // groups)
        for place, sign in ((plus, 1), (plus + 1, -1)):
            shortcut.weight[place, channel] = sign
            vae.encoder.conv_out.weight[channel, place, 1, 1] = sign
    for group in range(groups):
        shortcut.bias[group * width] = CONSTANT
        shortcut.bias[group * width + 1] = -CONSTANT
    vae.encoder.conv_out.bias[CHANNELS:] = -12


def clear(*convolutions: torch.nn.Conv2d) -> None:
    """Set convolutions to zero."""
    for convolution in convolutions:
        convolution.weight.zero_()
        convolution.bias.zero_()


def main(folder: Path = RUN) -> None:
    """Fit, write, check, save."""
    random = np.random.default_rng(5)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    pixels, masks = (np.load(BANKS / "train" / f"{name}.npy", mmap_mode="r") for name in ("pixels", "masks"))
    x = crops(pixels, masks, 128, 2000, random)
    codec, basis4, weights = fit(x)
    vae = make_autoencoder()
    write_encoder(vae, basis4, weights)
    vae.register_to_config(scaling_factor=1.0, shift_factor=0.0)
    plain = np.load(BANKS / "test" / "pixels.npy", mmap_mode="r")[:256, 16:144, 16:144]
    test = torch.from_numpy(plain.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        z, direct = vae.encode(test[:32]).latent_dist.mode(), codec.encode(test[:32])
    print(
        f"encoder against matrix: max {(z - direct).abs().max():.4f}, "
        f"relative {(z - direct).norm() / direct.norm():.5f}"
    )
    psnr = -10 * (((codec.decode(codec.encode(test)) - test) / 2) ** 2).mean((1, 2, 3)).log10()
    print(f"latents: mean {z.mean():.3f} std {z.std():.3f}; per channel {z.std((0, 2, 3)).numpy().round(2)}")
    print(f"linear decoding of held-out scenes: {psnr.mean():.2f} dB")
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"rows": codec.rows, "columns": codec.columns}, folder / "codec.pt")
    vae.save_pretrained(folder / "vae")


if __name__ == "__main__":
    main()
