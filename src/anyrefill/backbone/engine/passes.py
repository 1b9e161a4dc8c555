"""One pass of tokens through all blocks: alone, or behind a prefix whose keys and values are known already."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import FluxTransformer2DModel
from torch import Tensor

from anyrefill.backbone.engine.layers import Double, Layers, Single, Stream
from anyrefill.backbone.engine.modulation import Modulation
from anyrefill.backbone.kernels import pair_rotation
from anyrefill.types import Ids

__all__ = ["Prefix", "Rotary", "attend", "passed", "prefilled", "rotary"]


@dataclass(frozen=True, kw_only=True)
class Rotary:
    """Rotary tables of the tokens of a pass.

    Attributes:
        cos: (N, 1, D), or (B, N, 1, D) where canvases differ.
        sin: the same.
        swap: (D, D), which turns each pair of dimensions by a quarter.
        turns: cos + i sin of each pair of dimensions, in float32; bfloat16 has no complex numbers.
    """

    cos: Tensor
    sin: Tensor
    swap: Tensor
    turns: Tensor

    def turn(self, x: Tensor) -> Tensor:
        """Turn pairs of dimensions of (B, N, heads, D) by their token's place; without gradients maybe in place.

        In float32 by products of complex numbers; in bfloat16 a CPU swaps pairs fastest by a matrix product.
        """
        if x.dtype == torch.float32:
            pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
            turned = pairs * self.turns if torch.is_grad_enabled() else pairs.mul_(self.turns)
            return torch.view_as_real(turned).flatten(-2)
        if x.device.type == "cpu":
            return torch.addcmul(x * self.cos, x @ self.swap, self.sin)
        first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.addcmul(x * self.cos, torch.stack([-second, first], -1).flatten(-2), self.sin)

    def at(self, texts: int, places: Tensor, *, with_text: bool) -> "Rotary":
        """Return the tables of the tokens at places (rows, M) of the canvas, behind the prompt's if it passes."""

        def part(table: Tensor) -> Tensor:
            image, words = table[texts:][places], table[:texts].expand(len(places), -1, -1, -1)
            chosen = torch.cat([words, image], 1) if with_text else image
            return chosen if len(places) > 1 else chosen[0]

        return Rotary(cos=part(self.cos), sin=part(self.sin), swap=self.swap, turns=part(self.turns))


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """Keys and values of clean tokens in every block, which tokens behind them attend to.

    Attributes:
        keys: (B, P + room, heads, D) for each block.
        values: the same.
        bias: (B or 1, 1, 1, P), 0 where a token counts and -inf where it fills up; None if all count.
        room: places at the end that every pass behind the prefix overwrites with its own keys and values.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    bias: Tensor | None = None
    room: int = 0

    def repeat(self, draws: int) -> "Prefix":
        """Return the prefix with every row that many times."""
        if draws == 1:
            return self
        return Prefix(
            keys=tuple(key.repeat_interleave(draws, 0) for key in self.keys),
            values=tuple(value.repeat_interleave(draws, 0) for value in self.values),
            bias=self.bias if self.bias is None or len(self.bias) == 1 else self.bias.repeat_interleave(draws, 0),
        )

    def with_room(self, tokens: int) -> "Prefix":
        """Return the prefix with places for the tokens of a pass, so that no step copies the prefix."""
        return Prefix(
            keys=tuple(F.pad(key, (0, 0, 0, 0, 0, tokens)) for key in self.keys),
            values=tuple(F.pad(value, (0, 0, 0, 0, 0, tokens)) for value in self.values),
            bias=self.bias,
            room=tokens,
        )

    def joined(self, block: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of a block, those of a pass behind those of the prefix."""
        keys, values = self.keys[block], self.values[block]
        if not self.room:
            return torch.cat([keys, key], 1), torch.cat([values, value], 1)
        keys[:, -self.room :], values[:, -self.room :] = key, value
        return keys, values


def rotary(model: FluxTransformer2DModel, text: int, img_ids: Ids) -> Rotary:
    """Return the rotary tables of `text` prompt tokens followed by the canvas's, in the model's type."""
    cos, sin = model.pos_embed(torch.cat([img_ids.new_zeros(text, 3), img_ids]))
    cos, sin = cos[:, None].float(), sin[:, None].float()
    turns, swap = torch.complex(cos[..., ::2], sin[..., ::2]), pair_rotation(cos.shape[-1])
    return Rotary(cos=cos.to(model.dtype), sin=sin.to(model.dtype), swap=swap.to(cos.device, model.dtype), turns=turns)


def passed(
    layers: Layers,
    image: Tensor,
    text: Tensor | None,
    modulation: Modulation,
    rope: Rotary,
    prefix: Prefix | None = None,
    own_bias: Tensor | None = None,
) -> Tensor:
    """Return the velocity (B, M, 64) of picture tokens.

    Args:
        layers: the transformer's.
        image: embedded picture tokens (B, M, d).
        text: embedded prompt tokens (B, L, d) that pass beside them, if any.
        modulation: of all these tokens.
        rope: their rotary tables, the prompt's first.
        prefix: what they attend to beside themselves.
        own_bias: (B or 1, 1, 1, L + M), -inf for tokens among them that only fill up.
    """
    bias = _bias(prefix, own_bias, (text.shape[1] if text is not None else 0) + image.shape[1])
    for number, block in enumerate(layers.doubles):
        query, key, value = _double_in(block, image, text, modulation, number, rope)
        if prefix is not None:
            key, value = prefix.joined(number, key, value)
        image, text = _double_out(block, image, text, modulation, number, attend(query, key, value, bias))
    hidden = image if text is None else torch.cat([text, image], 1)
    for number, block in enumerate(layers.singles):
        mod = modulation.single[number]
        query, key, value, mlp = _single_in(block, hidden, mod, rope)
        if prefix is not None:
            key, value = prefix.joined(len(layers.doubles) + number, key, value)
        hidden = _single_out(block, hidden, mod, attend(query, key, value, bias), mlp)
    picture = hidden if text is None else hidden[:, text.shape[1] :]
    return layers.model.proj_out(_modulated(picture, *modulation.out))


def prefilled(
    layers: Layers, image: Tensor, text: Tensor | None, modulation: Modulation, rope: Rotary, bias: Tensor | None = None
) -> Prefix:
    """Return what clean tokens, alone among themselves, offer to those behind them; arguments as of ``passed``."""
    keys, values = list[Tensor](), list[Tensor]()
    for number, block in enumerate(layers.doubles):
        query, key, value = _double_in(block, image, text, modulation, number, rope)
        keys.append(key)
        values.append(value)
        image, text = _double_out(block, image, text, modulation, number, attend(query, key, value, bias))
    hidden = image if text is None else torch.cat([text, image], 1)
    for number, block in enumerate(layers.singles):
        mod = modulation.single[number]
        query, key, value, mlp = _single_in(block, hidden, mod, rope)
        keys.append(key)
        values.append(value)
        if number + 1 < len(layers.singles):  # of the last block nobody needs more
            hidden = _single_out(block, hidden, mod, attend(query, key, value, bias), mlp)
    return Prefix(keys=tuple(keys), values=tuple(values), bias=bias)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return attention's output (B, N, heads * D) of (B, N, heads, D).

    On a CPU torch's own attention is as fast as product, softmax, product, but its way back is far slower.
    """
    query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    if query.device.type == "cpu" and torch.is_grad_enabled():
        weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        weights = weights if bias is None else weights + bias
        out = weights.softmax(-1) @ value
    else:
        out = F.scaled_dot_product_attention(query, key, value, bias)
    return out.transpose(1, 2).flatten(2)


def _double_in(
    block: Double, image: Tensor, text: Tensor | None, modulation: Modulation, number: int, rope: Rotary
) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key and value of a double block, the prompt's first."""
    parts = [_looked(block.image, image, modulation.image[number])]
    if text is not None:
        parts.insert(0, _looked(block.text, text, modulation.text[number]))
    return _turned([part[0] if len(part) == 1 else torch.cat(part, 1) for part in zip(*parts, strict=True)], rope)


def _double_out(
    block: Double, image: Tensor, text: Tensor | None, modulation: Modulation, number: int, attended: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return a double block's output of picture and prompt."""
    if text is None:
        return _fed(block.image, image, attended, modulation.image[number]), None
    length = text.shape[1]
    return (
        _fed(block.image, image, attended[:, length:], modulation.image[number]),
        _fed(block.text, text, attended[:, :length], modulation.text[number]),
    )


def _looked(block: Stream | Single, x: Tensor, mod: Tensor) -> Sequence[Tensor]:
    """Return queries, keys and values of one kind of token."""
    return block.look(_modulated(x, mod[0], mod[1]))


def _turned(parts: Sequence[Tensor], rope: Rotary) -> tuple[Tensor, Tensor, Tensor]:
    """Return query and key, turned, and value; queries and keys may come as one."""
    *looks, value = parts
    turned = [rope.turn(part).to(value.dtype) for part in looks]
    query, key = turned if len(turned) == 2 else turned[0].chunk(2, dim=2)
    return query, key, value


def _fed(stream: Stream, x: Tensor, attended: Tensor, mod: Tensor) -> Tensor:
    """Add what attention and the feed-forward layer give."""
    x = torch.addcmul(x, stream.leave(attended), mod[2])
    return torch.addcmul(x, stream.down(stream.up(_modulated(x, mod[3], mod[4]))), mod[5])


def _single_in(block: Single, x: Tensor, mod: Tensor, rope: Rotary) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return query, key, value and the feed-forward layer's values of a single block."""
    x = _modulated(x, mod[0], mod[1])
    return *_turned(block.look(x), rope), block.up(x)


def _single_out(block: Single, x: Tensor, mod: Tensor, attended: Tensor, mlp: Tensor) -> Tensor:
    """Add what a single block gives."""
    return torch.addcmul(x, block.leave(attended, mlp), mod[2])


def _modulated(x: Tensor, shift: Tensor, factor: Tensor) -> Tensor:
    """Return LayerNorm(x) * factor + shift; one row that holds for all is the norm's own weight and bias."""
    if len(shift) == 1:
        return F.layer_norm(x, x.shape[-1:], factor.flatten(), shift.flatten(), eps=1e-6)
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=1e-6), factor)


def _bias(prefix: Prefix | None, own: Tensor | None, tokens: int) -> Tensor | None:
    """Return what is added to the scores of prefix and own tokens together, or None if all count."""
    if prefix is None or (prefix.bias is None and own is None):
        return own
    behind = prefix.keys[0].shape[1] - prefix.room
    like = own if prefix.bias is None else prefix.bias
    assert like is not None
    first = like.new_zeros(len(like), 1, 1, behind) if prefix.bias is None else prefix.bias
    second = like.new_zeros(len(like), 1, 1, tokens) if own is None else own
    rows: Sequence[int] = (len(first), len(second))
    return torch.cat([first.expand(max(rows), -1, -1, -1), second.expand(max(rows), -1, -1, -1)], -1)
