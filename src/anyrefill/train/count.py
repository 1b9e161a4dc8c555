"""Count what training would take, on tensors without storage: parameters, operations, kept activations."""

from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from anyrefill.backbone import kernels
from anyrefill.backbone.adapters.lora import inject
from anyrefill.backbone.latents import image_ids

__all__ = ["Counted", "count"]


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What one sample of training takes.

    Attributes:
        base: parameters of the frozen transformer.
        trained: parameters of the LoRA.
        operations: forward and backward, a multiplication with its addition as two.
        forward: the forward part of them.
        kept: bytes of activations that the way back needs.
        kept_checkpointed: the same if only each block's input is kept, and one block at a time is computed again.
    """

    base: int
    trained: int
    operations: int
    forward: int
    kept: int
    kept_checkpointed: int


def count(
    config: dict[str, Any],
    *,
    rank: int,
    targets: str,
    panel: int,
    text: int,
    dtype: torch.dtype,
    fused: bool,
    tokens: int = 0,
    references: int = 1,
) -> Counted:
    """Count one forward and backward pass of one canvas.

    Args:
        config: of the transformer.
        rank: of the LoRA.
        targets: the layers it changes.
        panel: side of one panel in pixels.
        text: prompt tokens.
        dtype: of base and activations.
        fused: attention as on a GPU, whose scores are never kept, instead of ours for CPUs.
        tokens: of a prompt that is trained instead of a LoRA; what CLIP keeps for them is left out.
        references: panels left of the target.
    """
    width = (references + 1) * panel
    with torch.device("meta"):
        model = cast(FluxTransformer2DModel, FluxTransformer2DModel.from_config(config))
        nn.Module.to(model, dtype)  # diffusers' own `to` only warns
        base = sum(weight.numel() for weight in model.parameters())
        trained = _trained(model, rank, targets, tokens, dtype)
        meter = _Meter(model)
        with FlopCounterMode(display=False) as flops, _fused_attention(), meter:
            out = _forward(model, panel, width, text, dtype, fused=fused, tuned=tokens > 0)
        forward = flops.get_total_flops()
        with FlopCounterMode(display=False) as flops:
            out.sum().backward()
    inputs = (image_ids(panel, width).shape[0] + text) * model.inner_dim * dtype.itemsize
    blocks = len(model.transformer_blocks) + len(model.single_transformer_blocks)
    return Counted(
        base=base,
        trained=trained,
        operations=forward + flops.get_total_flops(),
        forward=forward,
        kept=sum(meter.kept.values()),
        kept_checkpointed=meter.kept[""] + blocks * inputs + max(meter.kept.values()),
    )


def _trained(model: FluxTransformer2DModel, rank: int, targets: str, tokens: int, dtype: torch.dtype) -> int:
    """Add what is trained, and return how many parameters that is."""
    if tokens:
        model.requires_grad_(False)
        return tokens * model.config["pooled_projection_dim"]
    parameters = inject(model, rank=rank, targets=targets)
    for parameter in parameters:
        parameter.data = parameter.data.to(dtype)
    return sum(parameter.numel() for parameter in parameters)


def _forward(
    model: FluxTransformer2DModel, height: int, width: int, text: int, dtype: torch.dtype, *, fused: bool, tuned: bool
) -> Tensor:
    """Predict the velocity of one canvas: diffusers' way, or ours on CPUs; a tuned prompt's pooled vector learns."""
    ids, config = image_ids(height, width).to("meta"), model.config
    tokens = torch.empty(1, len(ids), config["in_channels"], dtype=dtype)
    words = torch.empty(1, text, config["joint_attention_dim"], dtype=dtype)
    pooled = torch.empty(1, config["pooled_projection_dim"], dtype=dtype, requires_grad=tuned)
    one = torch.ones(1)
    if not fused:
        kernels.make_fast(model)
        wide = config["attention_head_dim"]
        table = torch.empty(text + len(ids), wide, dtype=dtype)
        rope = (table, table.clone(), torch.empty(wide, wide, dtype=dtype))
        return kernels.forward(model, tokens, words, pooled, one, one, rope)
    guidance = one if config["guidance_embeds"] else None
    return model(
        hidden_states=tokens,
        encoder_hidden_states=words,
        pooled_projections=pooled,
        timestep=one,
        guidance=guidance,
        img_ids=ids,
        txt_ids=torch.empty(text, 3),
        return_dict=False,
    )[0]


class _Meter:
    """Adds up what autograd keeps, block by block; "" is outside of all blocks."""

    def __init__(self, model: FluxTransformer2DModel) -> None:
        """Watch which block is at work; parameters are not counted."""
        self.kept = defaultdict[str, int](int)
        self.place, self.model = "", model
        self.seen = {_storage(weight) for weight in model.parameters()}
        self.held = list[Tensor]()  # so that no storage's address is used twice
        self.hooks = saved_tensors_hooks(self._keep, lambda tensor: tensor)
        blocks = (*model.transformer_blocks, *model.single_transformer_blocks)
        for number, block in enumerate(blocks):
            block.register_forward_pre_hook(lambda *_, name=str(number): self._enter(name))
            block.register_forward_hook(lambda *_: self._enter(""))

    def _enter(self, place: str) -> None:
        """Remember the block."""
        self.place = place

    def _keep(self, tensor: Tensor) -> Tensor:
        """Count a tensor's storage once."""
        if (storage := _storage(tensor)) not in self.seen:
            self.seen.add(storage)
            self.held.append(tensor)
            self.kept[self.place] += tensor.untyped_storage().nbytes()
        return tensor

    def __enter__(self) -> None:
        """Begin."""
        self.hooks.__enter__()

    def __exit__(self, *_: object) -> None:
        """End."""
        self.hooks.__exit__()


def _storage(tensor: Tensor) -> int:
    """Identify a tensor's storage; those on the meta device have no address."""
    return cast(Any, tensor.untyped_storage())._cdata


class _Fused(torch.autograd.Function):
    """Attention that keeps query, key, value, output and one number a row, and computes its scores again."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # noqa: ANN401 # pyright: ignore
        """Two products."""
        scores = query @ key.mT
        out = scores.softmax(-1) @ value
        ctx.save_for_backward(query, key, value, out, scores[..., 0].float())
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401 # pyright: ignore
        """Five products: the scores again, and the gradients of value, scores, query and key."""
        query, key, value, _, _ = ctx.saved_tensors
        weights = query @ key.mT
        slope = grad @ value.mT
        return slope @ key, slope.mT @ query, weights.mT @ grad


@contextmanager
def _fused_attention() -> Generator[None, None, None]:
    """Let torch's attention be `_Fused` for a while: on the meta device it would keep its scores."""
    functional = cast(Any, F)
    before = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = lambda query, key, value, *_, **__: _Fused.apply(query, key, value)
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = before


def parameters_of(kind: type[nn.Module], config: object) -> int:
    """Return how many parameters a model of a configuration has."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in kind(config).parameters())
