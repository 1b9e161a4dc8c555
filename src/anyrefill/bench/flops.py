"""What FLUX.1-Fill costs at full size: floating point operations counted on tensors without storage, no weights needed.

A multiply-add counts as two. The canvas is the paper's, 512 x 1024 pixels: 1024 tokens a panel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from anyrefill.backbone.adapters.lora import inject
from anyrefill.backbone.engine.layers import Layers, by_modules
from anyrefill.backbone.engine.modulation import Modulation, modulate
from anyrefill.backbone.engine.passes import Prefix, passed, prefilled, rotary
from anyrefill.backbone.flux import FLUX_TRANSFORMER

__all__ = ["Cost", "flux_fill", "painting", "training"]

PANEL, PROMPT, STEPS, RANK = 1024, 512, 50, 128
"""Tokens of a panel and of a prompt, steps of a picture, rank of the adapter: the paper's."""

WAYS = (
    ("clean_ref, 512 prompt tokens", PANEL, PROMPT, 0),
    ("clean_ref, 128 prompt tokens", PANEL, 128, 0),
    ("clean_ref_text", PANEL, 0, PROMPT),
    ("clean_ref_text, half of the target known", PANEL // 2, 0, PROMPT),
    ("clean_ref_text, 3/4 of the target known", PANEL // 4, 0, PROMPT),
)
"""Name, noisy tokens, prompt tokens that pass beside them, prompt tokens that are clean."""

SMALL = ((1, 1), (2, 1), (1, 2))
"""Double and single blocks of the models that are counted."""

META = torch.device("meta")

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one way of painting or training costs.

    Attributes:
        name: the way.
        step: operations of a step, or of a noisy sample in training.
        once: operations before the first step.
        gain: operations of plain diffusers over these, for a whole picture or a noisy sample.
    """

    name: str
    step: float
    once: float
    gain: float


def flux_fill(doubles: int = 19, singles: int = 38) -> FluxTransformer2DModel:
    """Return FLUX.1-Fill-dev's transformer without storage, or one with fewer blocks."""
    blocks: dict[str, Any] = {"num_layers": doubles, "num_single_layers": singles}
    with META:
        model = FluxTransformer2DModel(**FLUX_TRANSFORMER | blocks)
    return _coarse(model).requires_grad_(False)


def painting() -> list[Cost]:
    """Count the ways of painting one picture in 50 steps."""
    models = [flux_fill(*blocks) for blocks in SMALL]
    plain = _whole(models, lambda model: _counted(lambda: _plain(model, 2 * PANEL, PROMPT))[0])
    table = _whole(models, lambda model: _counted(lambda: _modulation(model, STEPS))[0])
    costs = [Cost(name="plain diffusers", step=plain, once=0.0, gain=1.0)]
    for name, noisy, live, clean_text in WAYS:
        once = table + _whole(models, _first(2 * PANEL - noisy, clean_text))
        step = _whole(models, _then(2 * PANEL - noisy, clean_text, noisy, live))
        costs.append(Cost(name=name, step=step, once=once, gain=STEPS * plain / (once + STEPS * step)))
    return costs


def training(draws: int = 4) -> list[Cost]:
    """Count the operations of a noisy sample: plain and checkpointed, and with draws that share a clean prefix."""
    models = [flux_fill(*blocks) for blocks in SMALL]
    for model in models:
        inject(model, rank=RANK)
        _coarse(model).train()

    def checkpointed(model: FluxTransformer2DModel) -> float:
        model.enable_gradient_checkpointing()
        count, _ = _counted(lambda: _plain(model, 2 * PANEL, PROMPT).sum().backward())
        model.disable_gradient_checkpointing()
        return count

    def shared(model: FluxTransformer2DModel) -> float:
        layers = by_modules(model)

        def run() -> None:
            prefix = _prefix(layers, PANEL, PROMPT).repeat(draws)
            _noisy(layers, PANEL, 0, prefix, draws).sum().backward()

        return _counted(run)[0] / draws

    plain, step = _whole(models, checkpointed), _whole(models, shared)
    name = f"clean_ref_text, {draws} draws a pair"
    return [
        Cost(name="plain diffusers, checkpointed", step=plain, once=0.0, gain=1.0),
        Cost(name=name, step=step, once=0.0, gain=plain / step),
    ]


def _whole(models: Sequence[FluxTransformer2DModel], count: Callable[[FluxTransformer2DModel], float]) -> float:
    """Return the count of all 19 + 38 blocks from those of 1 + 1, 2 + 1 and 1 + 2: blocks of a kind cost the same."""
    one, double, single = (count(model) for model in models)
    return one + 18 * (double - one) + 37 * (single - one)


def _first(clean: int, text: int) -> Callable[[FluxTransformer2DModel], float]:
    """Return the count of what passes before the first step."""

    @torch.no_grad()
    def count(model: FluxTransformer2DModel) -> float:
        return _counted(lambda: _prefix(by_modules(model), clean, text))[0]

    return count


def _then(clean: int, clean_text: int, noisy: int, live: int) -> Callable[[FluxTransformer2DModel], float]:
    """Return the count of a step behind that prefix."""

    @torch.no_grad()
    def count(model: FluxTransformer2DModel) -> float:
        layers = by_modules(model)
        prefix = _prefix(layers, clean, clean_text)
        return _counted(lambda: _noisy(layers, noisy, live, prefix))[0]

    return count


def _coarse(model: FluxTransformer2DModel) -> FluxTransformer2DModel:
    """Return the model in bfloat16; past diffusers' own `to`, which warns of modules that this one has not."""
    return cast(FluxTransformer2DModel, nn.Module.to(model, torch.bfloat16))


def _plain(model: FluxTransformer2DModel, image: int, text: int) -> Tensor:
    """Run diffusers' forward pass on nothing."""
    return model(
        hidden_states=_nothing(1, image, int(model.config["in_channels"])),
        encoder_hidden_states=_nothing(1, text, int(model.config["joint_attention_dim"])),
        pooled_projections=_nothing(1, int(model.config["pooled_projection_dim"])),
        timestep=_nothing(1),
        guidance=_nothing(1),
        img_ids=torch.empty(image, 3, device=META),
        txt_ids=torch.empty(text, 3, device=META),
        return_dict=False,
    )[0]


def _prefix(layers: Layers, image: int, text: int) -> Prefix:
    """Pass clean tokens."""
    model = layers.model
    words = model.context_embedder(_nothing(1, text, int(model.config["joint_attention_dim"]))) if text else None
    embedded = model.x_embedder(_nothing(1, image, int(model.config["in_channels"])))
    rope = rotary(model, text, torch.empty(image, 3, device=META))
    return prefilled(layers, embedded, words, _modulation(model, 1), rope)


def _noisy(layers: Layers, image: int, text: int, prefix: Prefix, rows: int = 1) -> Tensor:
    """Pass noisy tokens behind a prefix; the modulation is a table's in painting, and made here in training."""
    model = layers.model
    width = int(model.config["num_attention_heads"]) * int(model.config["attention_head_dim"])
    words = _nothing(rows, text, width) if text else None
    embedded = torch.nn.functional.linear(_nothing(rows, image, 64), model.x_embedder.weight[:, :64])
    rope = rotary(model, text, torch.empty(image, 3, device=META))
    modulation = _modulation(model, rows) if torch.is_grad_enabled() else _tabulated(model)
    return passed(layers, embedded, words, modulation, rope, prefix)


def _modulation(model: FluxTransformer2DModel, rows: int) -> Modulation:
    """Make the modulation of some rows."""
    pooled = _nothing(rows, int(model.config["pooled_projection_dim"]))
    return modulate(model, torch.empty(rows, device=META), 1.0, pooled)


def _tabulated(model: FluxTransformer2DModel) -> Modulation:
    """Return a row of a table, which costs a step nothing."""
    width = int(model.config["num_attention_heads"]) * int(model.config["attention_head_dim"])
    doubles, singles = len(model.transformer_blocks), len(model.single_transformer_blocks)
    return Modulation(
        image=(_nothing(6, 1, 1, width),) * doubles,
        text=(_nothing(6, 1, 1, width),) * doubles,
        single=(_nothing(3, 1, 1, width),) * singles,
        out=_nothing(2, 1, 1, width),
    )


def _nothing(*shape: int) -> Tensor:
    """Return a bfloat16 tensor without storage."""
    return torch.empty(*shape, device=META, dtype=torch.bfloat16)


def _counted(run: Callable[[], ResultT]) -> tuple[float, ResultT]:
    """Return how many operations a run takes, and what it returns."""
    with FlopCounterMode(display=False) as counter:
        result = run()
    return float(counter.get_total_flops()), result
