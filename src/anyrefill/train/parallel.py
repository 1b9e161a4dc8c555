"""Several processes that train one adapter together: each takes its share of the same drawn batch.

`accelerate launch -m anyrefill train ...` and `torchrun -m anyrefill train ...` start them; alone, nothing changes.
The loss is a sum over samples divided by what the *whole* batch weighs, so the sum of all shares' gradients is the
gradient of the undivided batch, and 1 x 16 and 2 x 8 differ by rounding alone.

`accelerate launch --use_fsdp` lets each process hold only its part of the frozen base (FSDP2).
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from anyrefill.errors import UserError

__all__ = ["World", "join"]


@dataclass(frozen=True, kw_only=True)
class World:
    """The processes of a run.

    Attributes:
        rank: which one this is.
        size: how many there are.
        device: where this one computes.
        sharded: whether each holds but a part of the frozen base.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    sharded: bool = False

    def share(self, count: int) -> slice:
        """Return which samples of a batch are this process's."""
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def shard(self, transformer: FluxTransformer2DModel) -> None:
        """Split the frozen weights of every block over the processes, if that was asked for.

        A block's weights are together only while it computes. What is trained stays whole in every process.
        """
        if not self.sharded:
            return
        # blocks return views, and nothing after them writes in place
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
        mesh = init_device_mesh(self.device.split(":")[0], (self.size,))
        for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks):
            trained = {weight for weight in block.parameters() if weight.requires_grad}
            fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=trained)

    def wait(self) -> None:
        """Wait for the others."""
        if self.size > 1:
            distributed.barrier()

    def leave(self) -> None:
        """End the connection to the others."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, all of them in one message."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, summed in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(summed.view_as(tensor))


def join(device: str, pairs: int) -> World:
    """Return this process's place among those that the launcher started.

    Args:
        device: where to train; `cuda` becomes this process's own GPU.
        pairs: of a step.

    Raises:
        UserError: the pairs of a step cannot be shared evenly.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    sharded = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    if size == 1:
        return World(device=device)
    if pairs % size:
        raise UserError(f"The {pairs} pairs of a step cannot be shared evenly by {size} processes: change --batch.")
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return World(rank=rank, size=size, device=device, sharded=sharded)
