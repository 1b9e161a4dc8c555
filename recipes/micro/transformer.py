"""Pretrain the transformer of the embedded backbone: 17.6 M parameters in FLUX.1-Fill's layout.

    torchrun --nproc-per-node 2 -m recipes.micro.transformer --hours 2      # again to go on; a kill loses 5 minutes
    ... --start-from src/anyrefill/assets/micro/transformer                 # from the shipped weights

Corpus: two-panel canvases of one scene (recipes/world/canvases.py) with random masks, and single panels with
holes; of scenes (recipes/world/scenes.py), and of people, rooms and stages (recipes/world/deep.py). Loss: eq. 3 of
arXiv 2502.11158 on every token, known ones weighted 0.1.

Two things make it learn to copy within minutes instead of hours (docs/log.md has the trial):
heads that start out looking at a fixed place (the same place of the other panel, or a neighbour), written as
query and key biases under the rotary embedding; and Muon for the matrices of the blocks.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from anyrefill.backbone import kernels
from anyrefill.backbone.latents import image_ids, pack, pack_mask
from anyrefill.backbone.precision import fast_dtype
from anyrefill.files import whole
from anyrefill.train.checkpoint import write_state
from recipes.micro.align import Alignment
from recipes.micro.muon import Muon
from recipes.micro.pca import Codec
from recipes.micro.run import Ema, agreed, join, load_state, save_state, take_gradients
from recipes.world.canvases import PANEL, Diptych, diptych, single
from recipes.world.deep import BANK as DEEP
from recipes.world.fetch import WORLD

HOME = WORLD.parent / "micro"
BANKS = WORLD.parent / "banks"
HEADS, HEAD, AXES = 5, 64, (16, 24, 24)
DEEP_SHARE = 0.25
"""Of canvases that show a portrait, a room or a stage instead of a scene."""


def make_transformer() -> FluxTransformer2DModel:
    """Return the untrained transformer."""
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=384,
        out_channels=64,
        num_layers=2,
        num_single_layers=6,
        attention_head_dim=HEAD,
        num_attention_heads=HEADS,
        joint_attention_dim=256,
        pooled_projection_dim=256,
        guidance_embeds=True,
        axes_dims_rope=AXES,
    )


def place_bias(row: float, column: float, sharpness: float = 8.0) -> tuple[Tensor, Tensor]:
    """Return query and key biases (64,) of a head that looks `row`, `column` tokens away.

    Under the rotary embedding a pair of dimensions of frequency f contributes cos(f (distance - offset)) when the
    query's bias is the key's, turned by f * offset. The three highest frequencies of both axes are used.
    """
    query, key = torch.zeros(HEAD), torch.zeros(HEAD)
    start = AXES[0]
    for offset, width in ((row, AXES[1]), (column, AXES[2])):
        for index, amplitude in enumerate((1.0, 1.0, 0.8)):
            angle = offset * 10000 ** (-2 * index / width)
            at = start + 2 * index
            key[at] = amplitude * sharpness
            query[at] = amplitude * sharpness * math.cos(angle)
            query[at + 1] = amplitude * sharpness * math.sin(angle)
        start += width
    return query, key


NEIGHBOURS = ((0, 0), (0, -1), (-1, 0), (0, 1), (1, 0), (0, 0), (-1, -1), (1, 1))


@torch.no_grad()
def start(model: FluxTransformer2DModel, looking: bool = True) -> None:
    """Initialise: small weights, gates open, output zero, and heads that look somewhere (if `looking`)."""
    blocks = [*model.transformer_blocks, *model.single_transformer_blocks]
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            into = name.endswith(("to_out.0.weight", "to_add_out.weight", "net.2.weight", "proj_out.weight"))
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5 * ((2 * len(blocks)) ** -0.5 if into else 1.0))
        elif name.endswith("bias"):
            nn.init.zeros_(weight)
    for index, block in enumerate(blocks):
        open_gates(block)
        if looking:
            look(block, [(0, -8), (0, 8) if index % 4 == 3 else (0, -8), NEIGHBOURS[index % 8]])
    model.proj_out.weight.zero_()


def open_gates(block: nn.Module) -> None:
    """Make the modulation nearly constant: shift 0, scale 0, gate 1."""
    width = HEADS * HEAD
    for norm in [block.norm1, block.norm1_context] if hasattr(block, "norm1") else [block.norm]:
        norm.linear.weight.mul_(0.1)
        for gate in range(2, norm.linear.bias.numel() // width, 3):
            norm.linear.bias[gate * width : (gate + 1) * width] = 1


def look(block: nn.Module, places: list[tuple[int, int]]) -> None:
    """Let the first heads of a block look at (row, column) offsets, the rest where they will."""
    for head, (row, column) in enumerate(places):
        rows = slice(head * HEAD, (head + 1) * HEAD)
        block.attn.to_q.bias[rows], block.attn.to_k.bias[rows] = place_bias(row, column)
    used = [AXES[0] + i for i in range(6)] + [AXES[0] + AXES[1] + i for i in range(6)]
    for norm in (block.attn.norm_q, block.attn.norm_k):
        norm.weight[used] = 1.3


class Words:
    """The frozen text encoders; encodes captions in batches."""

    def __init__(self, folder: Path) -> None:
        """Load both encoders and tokenizers."""
        self.t5 = T5EncoderModel.from_pretrained(folder / "text_encoder_2", torch_dtype=torch.float32).eval()
        self.clip = CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32).eval()
        self.t5_words = T5TokenizerFast.from_pretrained(folder / "tokenizer_2")
        self.clip_words = CLIPTokenizer.from_pretrained(folder / "tokenizer")

    @torch.no_grad()
    def __call__(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Return token features (B, 24, 256) and pooled ones (B, 256)."""
        pad = {"padding": "max_length", "truncation": True, "max_length": 24, "return_tensors": "pt"}
        tokens = self.t5(self.t5_words(captions, **pad).input_ids).last_hidden_state
        return tokens, self.clip(self.clip_words(captions, **pad).input_ids).pooler_output


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Scenes of one kind: pixels (N, SIDE, SIDE, 3) uint8, and their captions."""

    pixels: np.ndarray
    captions: list[str]


def read_bank(folder: Path) -> Bank:
    """Open a bank that recipes.world.scenes or recipes.world.deep wrote."""
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    return Bank(pixels=pixels, captions=json.loads((folder / "captions.json").read_text()))


def scene_of(banks: Sequence[Bank], row: int) -> tuple[np.ndarray, str]:
    """Return the pixels and the caption of a row of several banks, one after the other."""
    for bank in banks:
        if row < len(bank.pixels):
            return bank.pixels[row], bank.captions[row]
        row -= len(bank.pixels)
    raise IndexError(f"there is no scene of number {row} beyond the last bank")


class Corpus:
    """Draws canvases; the same generator gives the same ones."""

    def __init__(self, scenes: Sequence[Bank], codec: Codec, words: Words, deep: Bank | None = None) -> None:
        """Take up the scenes, and portraits, rooms and stages for `DEEP_SHARE` of the canvases."""
        self.scenes, self.codec, self.words = scenes, codec, words
        self.deep = [deep] if deep else []

    def encode(self, canvases: list[Diptych], captions: list[str]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return packed latents, packed condition, token features, pooled features, and the pixels of last panels."""
        x = torch.from_numpy(np.stack([c.pixels for c in canvases])).permute(0, 3, 1, 2).float() / 127.5 - 1
        mask = torch.from_numpy(np.stack([c.mask for c in canvases]))[:, None].float()
        fill = torch.cat([pack(self.codec.encode(x * (1 - mask))), pack_mask(mask)], dim=-1)
        return pack(self.codec.encode(x)), fill, *self.words(captions), x[..., -PANEL:]

    def draw(self, count: int, one_panel: bool, random: np.random.Generator) -> tuple[Tensor, ...]:
        """Return a batch; one caption in ten is dropped."""
        make = single if one_panel else diptych
        canvases: list[Diptych] = []
        for _ in range(count):
            banks = self.deep if self.deep and random.random() < DEEP_SHARE else self.scenes
            row = random.integers(sum(len(bank.pixels) for bank in banks))
            canvases.append(make(*scene_of(banks, row), random))
        return self.encode(canvases, ["" if random.random() < 0.1 else c.caption for c in canvases])


def draw_sigma(count: int) -> Tensor:
    """Return noise levels (count,): logit-normal, 70 % of them about 1.8 with deviation 1.4, the rest about 0.5.

    Only near sigma 1 does the reference alone tell what to paint. Under the usual density (logit-normal about 0.5)
    one draw in 150 lies above 0.95, and after 33,000 canvases nothing was copied there (docs/log.md).
    """
    high = torch.rand(count) < 0.7
    logits = torch.randn(count)
    return torch.sigmoid(torch.where(high, 1.8 + 1.4 * logits, 0.5 + logits))


def channel_weights(columns: Tensor) -> Tensor:
    """Return the weights (64,) of a token's channels in the loss, mean 1: how far each moves the pixels."""
    reach = columns.norm(dim=0)
    return (reach / reach.mean()).repeat_interleave(4)


def loss_of(model: FluxTransformer2DModel, batch: tuple[Tensor, ...], rope: kernels.Rope, channels: Tensor) -> Tensor:
    """Return the weighted flow-matching loss of a batch."""
    clean, fill, tokens, pooled, _ = batch
    sigma = draw_sigma(len(clean))
    noise = torch.randn_like(clean)
    noisy = torch.lerp(clean, noise, sigma[:, None, None])
    guess = kernels.forward(
        model, torch.cat([noisy, fill], dim=-1), tokens, pooled, sigma, torch.ones(len(clean)), rope
    )
    weight = (0.1 + fill[..., 64:].mean(-1, keepdim=True)) * channels
    return ((guess.float() - (noise - clean)).pow(2) * weight).mean() / weight.mean()


class ShardedMuon:
    """Muon for the blocks' matrices, each process orthogonalising its share, and AdamW for the rest."""

    def __init__(self, model: nn.Module, lr: float, rank: int, processes: int, muon: bool = True) -> None:
        """Sort the parameters."""
        named = list(model.named_parameters())
        matrix = [muon and p.ndim == 2 and "transformer_blocks" in n and "norm" not in n for n, p in named]
        self.matrices = sorted(
            (p for (_, p), is_m in zip(named, matrix, strict=True) if is_m), key=lambda p: -p.numel()
        )
        rest = [p for (_, p), is_m in zip(named, matrix, strict=True) if not is_m]
        self.lr, self.rank, self.processes = lr, rank, processes
        self.adam = torch.optim.AdamW(rest, lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        mine = self.matrices[rank::processes]
        self.muon = Muon(mine, lr) if mine else None

    def step(self, factor: float) -> None:
        """Update all parameters; everyone ends with the same ones."""
        for group in (*self.adam.param_groups, *(self.muon.param_groups if self.muon else ())):
            group["lr"] = self.lr * factor
        self.adam.step()
        if self.muon:
            self.muon.step()
        for owner in range(self.processes if self.processes > 1 and self.matrices else 0):
            self.share(owner)

    def share(self, owner: int) -> None:
        """Take over the matrices that another process has updated."""
        theirs = [p.data for p in self.matrices[owner :: self.processes]]
        flat = torch.cat([matrix.reshape(-1) for matrix in theirs])
        dist.broadcast(flat, owner)
        parts = flat.split([matrix.numel() for matrix in theirs])
        torch._foreach_copy_(theirs, [part.view_as(matrix) for part, matrix in zip(parts, theirs, strict=True)])

    def state_dict(self) -> dict:
        """Return this process's share of the state."""
        return {"adam": self.adam.state_dict(), "muon": self.muon.state_dict() if self.muon else None}

    def load_state_dict(self, state: dict) -> None:
        """Take up this process's share."""
        self.adam.load_state_dict(state["adam"])
        if self.muon:
            self.muon.load_state_dict(state["muon"])


def frozen(transformer: Path | None) -> tuple[Codec, Words]:
    """Return the linear code and the text encoders: those beside a transformer to start from, or of the runs here."""
    if transformer is None:
        return Codec(**torch.load(HOME / "autoencoder" / "codec.pt")), Words(HOME / "text")
    vae = AutoencoderKL.from_pretrained(transformer.parent / "vae", torch_dtype=torch.float32)
    return Codec.of(vae), Words(transformer.parent)


class Run:
    """One process's share of a pretraining run, as far as it has come."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Build or resume model, optimiser and average."""
        self.rank, self.processes = join()
        self.out, self.count = args.out, args.batch // self.processes
        torch.manual_seed(0)
        self.model = make_transformer()
        if args.start_from:
            shipped = FluxTransformer2DModel.from_pretrained(args.start_from, torch_dtype=torch.float32)
            self.model.load_state_dict(shipped.state_dict())
        else:
            start(self.model, looking=not args.plain_start)
        self.optimizer = ShardedMuon(self.model, args.lr, self.rank, self.processes, args.optimizer == "muon")
        self.ema = Ema(self.model, 0.999) if self.rank == 0 else None
        self.folder = args.out / f"rank{self.rank}"
        self.step = load_state(self.folder, self.model, self.optimizer)
        if self.ema and self.step:
            self.ema.shadow, self.ema.count = torch.load(args.out / "ema.pt"), self.step
        number = fast_dtype()  # forward and backward; the weights stay in float32
        self.worker = copy.deepcopy(self.model).to(number)
        kernels.make_fast(self.worker)
        for block in (*self.worker.transformer_blocks, *self.worker.single_transformer_blocks):
            block.compile(dynamic=False)
        self.ropes = [kernels.rope_of(self.worker, 24, image_ids(128, width), number) for width in (128, 256)]
        self.align = None
        if args.align:
            self.align = Alignment(self.worker, args.out / f"align{self.rank}", self.processes, args.align)
        codec, words = frozen(args.start_from)
        self.channels = channel_weights(codec.columns)
        self.corpus = Corpus([read_bank(bank) for bank in args.bank], codec, words, read_bank(DEEP))

    def advance(self, factor: float = 1.0) -> float:
        """Take one step at `factor` of the learning rate and return its loss; all chance comes from its number."""
        random = np.random.default_rng([11, self.step, self.rank])
        torch.manual_seed(self.step * 64 + self.rank)
        one = self.step % 8 == 7
        batch = self.corpus.draw(self.count * 2 if one else self.count, one, random)
        loss = loss_of(self.worker, batch, self.ropes[0 if one else 1], self.channels)
        total = loss + self.align.loss(batch[-1]) if self.align else loss
        self.worker.zero_grad()
        total.backward()
        take_gradients(self.model, self.worker, self.processes)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        factor *= min(1.0, (self.step + 1) / 100)
        self.optimizer.step(factor)
        if self.align:
            self.align.step(factor)
        torch._foreach_copy_([p.data for p in self.worker.parameters()], [p.data for p in self.model.parameters()])
        self.step += 1
        if self.ema:
            self.ema.update(self.model)
        return loss.item()

    def branch(self, name: str) -> None:
        """Save, and from now on write into a folder beside: the state at the full rate stays to go on from."""
        self.save()
        self.out = self.out / name
        self.folder = self.out / f"rank{self.rank}"
        if self.align:
            self.align.folder = self.out / self.align.folder.name

    def save(self) -> None:
        """Write everything needed to go on."""
        save_state(self.folder, self.model, self.optimizer, self.step)
        if self.align:
            self.align.save(self.step)
        if self.ema:
            with whole(self.out / "ema.pt") as part:
                write_state(self.ema.shadow, part)


def main() -> None:
    """Train until the time is over; resume where a state lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--decay", type=float, default=0.0, help="hours at the end over which the rate falls to 5 %%")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--optimizer", choices=["muon", "adam"], default="muon")
    parser.add_argument("--plain-start", action="store_true")
    parser.add_argument("--start-from", type=Path, help="a transformer's folder, where no state lies in --out")
    parser.add_argument("--align", type=float, default=0.0, help="weight of a ViT's features (recipes/micro/align.py)")
    parser.add_argument("--bank", type=Path, nargs="+", default=[BANKS / "train"], help="of scenes; one or more")
    parser.add_argument("--out", type=Path, default=HOME / "transformer")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    run = Run(args)
    first, running, began = run.step, 0.0, time.time()
    saved = began
    while (left := agreed(args.hours * 3600 - (time.time() - began), run.processes)) > 0:
        decaying = left < args.decay * 3600
        if decaying and run.out == args.out:
            run.branch("decayed")
        loss = run.advance(max(0.05, left / (args.decay * 3600)) if decaying else 1.0)
        running += (loss - running) * max(0.01, 1 / (run.step - first))
        if run.rank == 0 and run.step % 50 == 0:
            speed = (run.step - first) * args.batch * 9 / 8 / (time.time() - began)
            features = f" features {run.align.last:.3f}" if run.align else ""
            told = f"{run.step} {time.time() - began:.0f}s loss {running:.4f}{features} {speed:.1f} canvases/s"
            print(told, flush=True)
        if agreed(time.time() - saved > 300, run.processes):
            run.save()
            saved = time.time()
    run.save()


if __name__ == "__main__":
    main()
