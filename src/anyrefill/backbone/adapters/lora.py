"""LoRA on the transformer: h = W_0 x + (alpha / rank) B A x, trained, saved, combined, merged.

Source: arXiv 2502.11158, eq. 2; the layers are peft's.
"""

import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, cast

import torch
from diffusers import FluxTransformer2DModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from anyrefill.backbone.adapters.factors import Factors
from anyrefill.backbone.fill import FluxFill
from anyrefill.errors import UserError

__all__ = [
    "PAPER",
    "TARGETS",
    "Cast",
    "Merged",
    "adapter_names",
    "adapter_weights",
    "add_lora",
    "inject",
    "matching_layers",
    "merge",
    "merge_for_good",
    "resolve_targets",
    "unload_adapter",
    "weigh_adapters",
]

ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0")
PAPER = (
    *ATTENTION,
    "attn.add_q_proj",
    "attn.add_k_proj",
    "attn.add_v_proj",
    "attn.to_add_out",
    "ff.net.0.proj",
    "ff.net.2",
    "ff_context.net.0.proj",
    "ff_context.net.2",
)
"""Projections and feed-forward layers of picture and text: 358,612,992 parameters at rank 128 on FLUX.1-Fill."""

TARGETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "attention": ATTENTION,
        "paper": PAPER,
        "paper+mlp": (*PAPER, "proj_mlp"),
        "all": (
            *PAPER, "proj_mlp", "proj_out", "norm1.linear", "norm1_context.linear", "norm.linear", "norm_out.linear",
            "x_embedder", "context_embedder", "linear_1", "linear_2",
        ),
    }
)  # fmt: skip
"""Named lists of layers, by the ends of their names."""


def inject(
    transformer: FluxTransformer2DModel,
    *,
    rank: int,
    alpha: float | None = None,
    targets: str | tuple[str, ...] = "paper",
    seed: int = 0,
    name: str = "default",
) -> list[nn.Parameter]:
    """Add an untrained LoRA, A normal with deviation 1 / rank and B zero, and return its parameters.

    They are float32 over a base of any dtype, and the only ones left trainable; other adapters rest until
    ``weigh_adapters`` calls them back.

    Args:
        transformer: changed in place.
        rank: inner width of B A.
        alpha: the LoRA is scaled by alpha / rank; by default alpha = rank.
        targets: a name in ``TARGETS``, or ends of layer names.
        seed: of A; drawn on the CPU, so the same on every device.
        name: to tell several adapters apart.

    Raises:
        UserError: a rank below 1, a taken name, an unknown list, or layers the transformer does not have.
    """
    if rank < 1:
        raise UserError(f"a LoRA's rank is at least 1, not {rank}")
    refuse_merged(transformer)
    refuse_taken(transformer, name)
    layers = matching_layers(transformer, resolve_targets(targets))
    scale: Any = rank if alpha is None else alpha  # peft says int, and means any number
    config = LoraConfig(r=rank, lora_alpha=scale, target_modules=layers, init_lora_weights="gaussian")
    transformer.requires_grad_(False)
    with torch.random.fork_rng(devices=[]), several_adapters():
        torch.manual_seed(seed)
        transformer.add_adapter(config, adapter_name=name)
    return unfreeze(transformer, name)


def add_lora(
    backbone: FluxFill,
    *,
    rank: int,
    alpha: float | None = None,
    targets: str | tuple[str, ...] = "paper",
    seed: int = 0,
    name: str = "default",
) -> list[nn.Parameter]:
    """Add an untrained LoRA to a backbone and return its parameters; arguments and errors as ``inject``."""
    backbone.fingerprint()
    return inject(backbone.transformer, rank=rank, alpha=alpha, targets=targets, seed=seed, name=name)


def resolve_targets(targets: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the ends of layer names that a name stands for."""
    if not isinstance(targets, str):
        return tuple(targets)
    if targets not in TARGETS:
        raise UserError(f"no list of LoRA targets {targets!r}; there are {', '.join(sorted(TARGETS))}")
    return TARGETS[targets]


def matching_layers(transformer: FluxTransformer2DModel, targets: tuple[str, ...]) -> list[str]:
    """Return the full names of the linear layers whose names end so; an end that fits none is an error."""
    linear = [name for name, _ in linear_layers(transformer)]
    for target in targets:
        if not any(ends_in(name, target) for name in linear):
            raise UserError(f"the transformer has no layer that ends in {target!r}")
    return [name for name in linear if any(ends_in(name, target) for target in targets)]


def weigh_adapters(backbone: FluxFill, weights: Mapping[str, float]) -> None:
    """Let these adapters act together, each as strongly as its weight says, and no others.

    Raises:
        UserError: the backbone has no adapter of such a name, or its adapters are merged.
    """
    transformer = backbone.transformer
    refuse_merged(transformer)
    for name in weights:
        _refuse_unknown(transformer, name)
    with training_kept(transformer):
        transformer.set_adapters(list(weights), weights=list(weights.values()))


def unload_adapter(backbone: FluxFill, name: str) -> None:
    """Take an adapter out again; the base and the other adapters are as they were.

    Raises:
        UserError: the backbone has no adapter of that name, or its adapters are merged.
    """
    transformer = backbone.transformer
    refuse_merged(transformer)
    _refuse_unknown(transformer, name)
    others = {other: weight for other, weight in adapter_weights(transformer).items() if other != name}
    weigh_adapters(backbone, others)
    with training_kept(transformer):
        transformer.delete_adapters(name)


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Which of a backbone's adapters act, and how strongly; all others rest.

    Attributes:
        backbone: whose adapters.
        weights: by their names.
    """

    backbone: FluxFill
    weights: Mapping[str, float]

    def act(self) -> None:
        """Let them act from now on."""
        weigh_adapters(self.backbone, self.weights)

    def resting(self) -> "Cast":
        """Return a cast of nobody."""
        return replace(self, weights={})


@dataclass(frozen=True, kw_only=True)
class Merged:
    """Adapters folded into the base's weights, and the way back.

    Attributes:
        transformer: whose weights now contain them.
        pristine: copies of the changed weights as they were, on the CPU.
    """

    transformer: FluxTransformer2DModel
    pristine: Mapping[str, Tensor]

    @torch.no_grad()
    def eject(self) -> None:
        """Restore the base's weights bit for bit and let the adapters act beside them again."""
        with training_kept(self.transformer):
            for name, layer in _lora_layers(self.transformer):
                layer.get_base_layer().weight.copy_(self.pristine[name])
                layer.enable_adapters(True)

    @contextmanager
    def undone(self) -> Generator[None, None, None]:
        """Let the base be without its adapters for a while, bit for bit; afterwards they are merged as before."""
        weights = {name: layer.get_base_layer().weight for name, layer in _lora_layers(self.transformer)}
        kept = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
        _write(weights, self.pristine)
        try:
            yield
        finally:
            _write(weights, kept)


@torch.no_grad()
def _write(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Give weights other values, in place."""
    for name, weight in weights.items():
        weight.copy_(values[name])


def merge(backbone: FluxFill) -> Merged:
    """Fold the active adapters into the base, W = W_0 + sum of weight * alpha / rank * B A, to paint faster.

    The sum is formed in float32 and rounded once. Until ``eject`` no adapter can be loaded or weighed.

    Raises:
        UserError: they are merged already.
    """
    transformer = backbone.transformer
    refuse_merged(transformer)
    backbone.fingerprint()
    weights = {name: layer.get_base_layer().weight for name, layer in _lora_layers(transformer)}
    pristine = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
    _fold(transformer)
    return Merged(transformer=transformer, pristine=pristine)


def merge_for_good(backbone: FluxFill) -> None:
    """Merge without a way back: no weight is held twice, and the adapters' own factors are dropped.

    Raises:
        UserError: they are merged already.
    """
    transformer = backbone.transformer
    refuse_merged(transformer)
    backbone.fingerprint()
    _fold(transformer)
    with training_kept(transformer):
        transformer.delete_adapters(adapter_names(transformer))


@torch.no_grad()
def _fold(transformer: FluxTransformer2DModel) -> None:
    """Write the active adapters into the base's weights, and let them rest."""
    with training_kept(transformer):
        for _, layer in _lora_layers(transformer):
            weight = layer.get_base_layer().weight
            weight.copy_(weight.float() + _delta(layer))
            layer.enable_adapters(False)


def adapter_names(transformer: FluxTransformer2DModel) -> list[str]:
    """Return the names of all adapters, in the order they came."""
    return list(getattr(transformer, "peft_config", {}))


def adapter_weights(transformer: FluxTransformer2DModel) -> dict[str, float]:
    """Return the adapters that act now, and how strongly."""
    weights: dict[str, float] = {}
    for _, layer in _lora_layers(transformer):
        for name in layer.active_adapters:
            if name in layer.scaling:
                weights[name] = layer.scaling[name] * layer.r[name] / layer.lora_alpha[name]
    return weights


def _delta(layer: nn.Module) -> Tensor:
    """Return what the active adapters add to a layer's weight, in float32."""
    lora = cast(Any, layer)
    delta = torch.zeros_like(lora.get_base_layer().weight, dtype=torch.float32)
    for name in lora.active_adapters:
        if name in lora.lora_A:
            up, down = lora.lora_B[name].weight, lora.lora_A[name].weight
            delta += lora.scaling[name] * (up.float() @ down.float())
    return delta


def _lora_layers(transformer: FluxTransformer2DModel) -> Iterator[tuple[str, Any]]:
    """Yield the layers that carry adapters, peft's LoraLayer each."""
    for name, module in transformer.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def linear_layers(transformer: FluxTransformer2DModel) -> Iterator[tuple[str, nn.Linear]]:
    """Yield the base's own linear layers under their own names, adapters or not."""
    for name, module in transformer.named_modules():
        if isinstance(module, LoraLayer):
            yield name, cast(nn.Linear, module.get_base_layer())
        elif isinstance(module, nn.Linear) and ".base_layer" not in name and ".lora_" not in name:
            yield name, module


def _refuse_unknown(transformer: FluxTransformer2DModel, name: str) -> None:
    known = adapter_names(transformer)
    if name not in known:
        raise UserError(f"no adapter {name!r} is loaded; there are {', '.join(known) or 'none'}")


def refuse_taken(transformer: FluxTransformer2DModel, name: str) -> None:
    """Refuse a second adapter of one name."""
    if name in adapter_names(transformer):
        raise UserError(f"there is an adapter {name!r} already; take another name")


def ends_in(name: str, target: str) -> bool:
    """Return whether a layer's name ends so, at a dot."""
    return f".{name}".endswith(f".{target}")


def refuse_merged(transformer: FluxTransformer2DModel) -> None:
    """Refuse to change adapters while the base's weights contain them."""
    if any(layer.disable_adapters for _, layer in _lora_layers(transformer)):
        raise UserError("the adapters are merged into the base: eject them first")


@contextmanager
def several_adapters() -> Generator[None, None, None]:
    """Keep peft from warning that a model has more than one adapter: here that is meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        yield


@contextmanager
def training_kept(transformer: FluxTransformer2DModel) -> Generator[None, None, None]:
    """Leave trainable what was trainable, and nothing else: peft takes an active adapter for a training one."""
    trained = {id(weight) for weight in transformer.parameters() if weight.requires_grad}
    yield
    for weight in transformer.parameters():
        weight.requires_grad_(id(weight) in trained)


def unfreeze(transformer: FluxTransformer2DModel, name: str) -> list[nn.Parameter]:
    """Make one adapter trainable, in float32, and return its parameters."""
    parameters: list[nn.Parameter] = []
    for _, layer in _lora_layers(transformer):
        for factor in (layer.lora_A, layer.lora_B):
            if name in factor:
                parameters.extend(factor[name].float().requires_grad_(True).parameters())
    return parameters


@torch.no_grad()
def set_factors(transformer: FluxTransformer2DModel, name: str, lora: Mapping[str, Factors]) -> None:
    """Give an adapter these values: peft rounds those that it loads to the base's type."""
    for place, layer in _lora_layers(transformer):
        if name in layer.lora_A:
            layer.lora_A[name].weight.copy_(lora[place].down)
            layer.lora_B[name].weight.copy_(lora[place].up)
