"""The transformer's forward pass in forms that are fast on a CPU: same weights, same function.

Measured on two AMX cores (docs/log.md): torch's flash attention and tanh-GELU take 40 % of a training step of
the embedded backbone in bfloat16; plain matrix products and a sigmoid do the same in a fraction. Rotation of
pairs is a product with a signed permutation. Nothing here changes a state dict.
"""

from typing import Any, cast

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.transformers.transformer_flux import FluxAttention
from torch import Tensor, nn

Rope = tuple[Tensor, Tensor, Tensor]
"""cos (N, D), sin (N, D) and the pair rotation (D, D)."""


class SigmoidGelu(torch.autograd.Function):
    """GELU's tanh form, x * sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x^3), which is the same function."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401 # pyright: ignore[reportIncompatibleMethodOverride]
        """Keep x only; everything else is made again."""
        ctx.save_for_backward(x)
        return x * torch.sigmoid(_twice_u(x))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ANN401 # pyright: ignore[reportIncompatibleMethodOverride]
        """Return grad * (s + x s (1 - s) u2') with s = sigmoid(u2)."""
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(_twice_u(x))
        slope = (x * x).mul_(0.2140644488).add_(1.5957691216)
        return (slope.mul_(x).mul_(1 - s).add_(1)).mul_(s).mul_(grad)


def fast_gelu(x: Tensor) -> Tensor:
    """Return `SigmoidGelu` of x."""
    return cast(Tensor, SigmoidGelu.apply(x))


def _twice_u(x: Tensor) -> Tensor:
    """Return 2 sqrt(2/pi) (x + 0.044715 x^3)."""
    return (x * x).mul_(0.0713548163).add_(1.5957691216).mul_(x)


class FastGelu(nn.Module):
    """A module of `fast_gelu`."""

    def forward(self, x: Tensor) -> Tensor:
        """Activate."""
        return fast_gelu(x)


def pair_rotation(width: int) -> Tensor:
    """Return R with (x @ R)[2i] = -x[2i+1] and (x @ R)[2i+1] = x[2i]; shape (width, width)."""
    rotation = torch.zeros(width, width)
    even = torch.arange(0, width, 2)
    rotation[even + 1, even], rotation[even, even + 1] = -1, 1
    return rotation


def normed(x: Tensor, norm: nn.Module) -> Tensor:
    """Return RMSNorm(x) over the last dimension with float32 statistics, in x's type."""
    mean = (x * x).mean(-1, keepdim=True, dtype=torch.float32)
    weight = cast(Tensor, norm.weight)
    return x * torch.rsqrt(mean + cast(float, norm.eps)).to(x.dtype) * weight.to(x.dtype)


def _heads(x: Tensor, count: int, norm: nn.Module | None) -> Tensor:
    """Return (B, heads, N, D), normed."""
    x = x.unflatten(-1, (count, -1)).transpose(1, 2)
    return x if norm is None else normed(x, norm)


class FastAttention:
    """An attention processor for diffusers' FluxAttention: products, softmax, product."""

    def __call__(
        self,
        attn: FluxAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rope | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend; text tokens come first, as in FLUX."""
        query = _heads(attn.to_q(hidden_states), attn.heads, attn.norm_q)
        key = _heads(attn.to_k(hidden_states), attn.heads, attn.norm_k)
        value = _heads(attn.to_v(hidden_states), attn.heads, None)
        if encoder_hidden_states is not None:
            query = torch.cat([_heads(attn.add_q_proj(encoder_hidden_states), attn.heads, attn.norm_added_q), query], 2)
            key = torch.cat([_heads(attn.add_k_proj(encoder_hidden_states), attn.heads, attn.norm_added_k), key], 2)
            value = torch.cat([_heads(attn.add_v_proj(encoder_hidden_states), attn.heads, None), value], 2)
        if image_rotary_emb is not None:
            cos, sin, rotation = image_rotary_emb
            query = torch.addcmul(query * cos, query @ rotation, sin)
            key = torch.addcmul(key * cos, key @ rotation, sin)
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if attention_mask is not None:
            scores = scores + attention_mask
        out = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        if encoder_hidden_states is None:
            return out
        text = encoder_hidden_states.shape[1]
        return attn.to_out[0](out[:, text:]), attn.to_add_out(out[:, :text])


def make_fast(model: FluxTransformer2DModel) -> None:
    """Give a transformer the fast attention and GELU in place; to be run by `forward` only."""
    for module in (*model.transformer_blocks, *model.single_transformer_blocks):
        block = cast(Any, module)
        block.attn.processor = FastAttention()
        if hasattr(block, "act_mlp"):
            block.act_mlp = FastGelu()
        else:
            block.ff.net[0].gelu = block.ff_context.net[0].gelu = fast_gelu


def rope_of(model: FluxTransformer2DModel, text: int, img_ids: Tensor, dtype: torch.dtype) -> Rope:
    """Return the rotary tables of `text` prompt tokens followed by the canvas's."""
    cos, sin = model.pos_embed(torch.cat([img_ids.new_zeros(text, 3), img_ids]))
    return cos.to(dtype), sin.to(dtype), pair_rotation(cos.shape[-1]).to(dtype)


def forward(
    model: FluxTransformer2DModel,
    tokens: Tensor,
    text: Tensor,
    pooled: Tensor,
    sigma: Tensor,
    guidance: Tensor,
    rope: Rope,
) -> Tensor:
    """Return the velocity (B, N, 64); sigma and guidance (B,) stay float32 up to their embedding.

    Source: diffusers, FluxTransformer2DModel.forward.
    """
    dtype = model.x_embedder.weight.dtype
    hidden, context, pooled = (
        model.x_embedder(tokens.to(dtype)),
        model.context_embedder(text.to(dtype)),
        pooled.to(dtype),
    )
    if model.config["guidance_embeds"]:
        time = model.time_text_embed(sigma * 1000, guidance * 1000, pooled)
    else:
        time = model.time_text_embed(sigma * 1000, pooled)
    for block in model.transformer_blocks:
        context, hidden = block(hidden_states=hidden, encoder_hidden_states=context, temb=time, image_rotary_emb=rope)
    for block in model.single_transformer_blocks:
        context, hidden = block(hidden_states=hidden, encoder_hidden_states=context, temb=time, image_rotary_emb=rope)
    return model.proj_out(model.norm_out(hidden, time))
