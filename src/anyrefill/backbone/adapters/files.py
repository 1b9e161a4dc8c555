"""LoRA files: safetensors that others read too, with a passport that is checked before they are used."""

import json
from collections.abc import Mapping
from dataclasses import replace
from math import isclose
from pathlib import Path

from diffusers import FluxTransformer2DModel
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from anyrefill.backbone.adapters.convert import (
    Lora,
    PeftSettings,
    parse,
    peft_settings,
    refuse_keys,
    render,
    stated_alpha,
)
from anyrefill.backbone.adapters.factors import Factors
from anyrefill.backbone.adapters.header import (
    PASSPORT_KEY,
    PEFT_KEY,
    PREFIX,
    Header,
    passport_in,
    peft_settings_in,
    read_passport,
    read_tensors,
    write_tensors,
)
from anyrefill.backbone.adapters.layouts import Layout, module_key
from anyrefill.backbone.adapters.lora import (
    adapter_names,
    adapter_weights,
    ends_in,
    linear_layers,
    matching_layers,
    refuse_merged,
    refuse_taken,
    set_factors,
    several_adapters,
    training_kept,
    unfreeze,
    weigh_adapters,
)
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.fill import FluxFill
from anyrefill.errors import UserError

__all__ = ["check_base", "convert_adapter", "load_adapter", "read_passport", "save_adapter"]


def save_adapter(path: str | Path, backbone: FluxFill, passport: Passport, *, name: str = "default") -> None:
    """Write an adapter and its passport; the file appears whole or not at all.

    Raises:
        UserError: the backbone has no adapter of that name, or the passport tells another story.
    """
    path, transformer = Path(path), backbone.transformer
    if name not in adapter_names(transformer):
        raise UserError(f"there is no adapter {name!r} to save")
    check_base(path, passport, backbone)
    if passport.alpha != (alpha := transformer.peft_config[name].lora_alpha):
        raise UserError(f"{path} would say alpha {passport.alpha}, but the adapter has {alpha}")
    weights = get_peft_model_state_dict(transformer, adapter_name=name)
    tensors = {module_key(key, "diffusers"): weight.detach().cpu() for key, weight in weights.items()}
    lora = _lora(path, tensors, None, passport)
    _check_fit(path, lora, transformer, passport)
    _write(path, lora, "diffusers", {PASSPORT_KEY: passport.to_json()})


def convert_adapter(path: str | Path, out: str | Path, layout: Layout) -> Passport | None:
    """Write an adapter again in another layout, its passport and whatever else its header says kept.

    Args:
        path: a file in any layout, with a passport or without.
        out: the new file.
        layout: of the new file.

    Returns:
        Its passport, if it has one.

    Raises:
        UserError: the file is damaged or no LoRA for FLUX, or the new one cannot be written.
    """
    path, out = Path(path), Path(out)
    tensors, header = read_tensors(path)
    passport = passport_in(path, header) if PASSPORT_KEY in header else None
    _refuse_other_kinds(path, passport)
    lora = _lora(path, tensors, peft_settings_in(path, header), passport)
    _write(out, lora, layout, {key: value for key, value in header.items() if key != PEFT_KEY})
    return passport


def load_adapter(
    path: str | Path,
    backbone: FluxFill,
    *,
    name: str = "default",
    weight: float = 1.0,
    foreign: bool = False,
    trainable: bool = False,
) -> Passport | None:
    """Add a saved adapter to a backbone, beside those it has already.

    Args:
        path: a file by ``save_adapter``, or in any other layout of ``convert_adapter``.
        backbone: changed in place.
        name: to tell several adapters apart.
        weight: how strongly it acts, 1 = as trained.
        foreign: take a LoRA that has no passport; its keys and shapes must still fit.
        trainable: to go on training it, in float32; one that only paints is rounded to the base's type.

    Returns:
        Its passport; None for a foreign file.

    Raises:
        UserError: the file is damaged, has no passport, belongs to another base, or its keys or shapes do not fit.
    """
    path, transformer = Path(path), backbone.transformer
    refuse_merged(transformer)
    refuse_taken(transformer, name)
    passport = None if foreign else read_passport(path)
    _refuse_other_kinds(path, passport)
    if passport is not None:
        check_base(path, passport, backbone)
    tensors, header = read_tensors(path)
    lora = _lora(path, tensors, peft_settings_in(path, header), passport)
    _check_fit(path, lora, transformer, passport)
    active = adapter_weights(transformer)
    backbone.fingerprint()
    with several_adapters(), training_kept(transformer):
        transformer.load_lora_adapter(
            render(lora, "diffusers"),
            adapter_name=name,
            metadata=_prefixed(peft_settings(lora)),
            low_cpu_mem_usage=True,
        )
    weigh_adapters(backbone, {**active, name: weight})
    if trainable:
        unfreeze(transformer, name)
        set_factors(transformer, name, lora)
    return passport


def check_base(path: Path, passport: Passport, backbone: FluxFill) -> None:
    """Refuse an adapter that was trained on other weights."""
    if passport.fingerprint != backbone.fingerprint():
        raise UserError(
            f"{path} was trained on another base, {passport.base} ({passport.fingerprint[:8]}), "
            f"not on {backbone.name} ({backbone.fingerprint()[:8]})"
        )


def _write(path: Path, lora: Lora, layout: Layout, header: Header) -> None:
    """Write a LoRA; in diffusers' layout the header says rank and alpha."""
    extra = {}
    if layout == "diffusers":
        extra = {PEFT_KEY: json.dumps(_prefixed(peft_settings(lora)), sort_keys=True)}
    write_tensors(path, render(lora, layout), {**header, **extra})


def _prefixed(settings: PeftSettings) -> dict[str, object]:
    return {PREFIX + key: value for key, value in settings.items()}


def _lora(path: Path, tensors: Mapping[str, Tensor], settings: PeftSettings | None, passport: Passport | None) -> Lora:
    """Return the factors of every layer; a passport knows their alpha to the last digit."""
    if passport is None:
        return parse(path, tensors, alpha=stated_alpha(path, settings), named=lambda _layer: False)
    stated, targets = passport.alpha, passport.targets

    def named(layer: str) -> bool:
        return any(ends_in(layer, target) for target in targets)

    lora = parse(path, tensors, alpha=lambda _layer, _rank: stated, named=named)
    for layer, factors in lora.items():
        if not isclose(factors.alpha, stated, rel_tol=1e-6):
            raise UserError(f"{path} says alpha {stated} in its passport and {factors.alpha} for {layer}")
    return {layer: replace(factors, alpha=stated) for layer, factors in lora.items()}


def _refuse_other_kinds(path: Path, passport: Passport | None) -> None:
    """Refuse an adapter that is no LoRA."""
    if passport is not None and passport.kind != "lora":
        raise UserError(f"{path} is an adapter of the kind {passport.kind!r}, not a LoRA")


def _check_fit(path: Path, lora: Lora, transformer: FluxTransformer2DModel, passport: Passport | None) -> None:
    """Refuse a LoRA with a layer that is unknown, missing, or of the wrong shape."""
    layers = dict(linear_layers(transformer))
    known = set(layers) if passport is None else set(matching_layers(transformer, passport.targets))
    refuse_keys(path, "has keys that do not belong to it", _keys(set(lora) - known))
    if passport is not None:
        refuse_keys(path, "lacks keys", _keys(known - set(lora)))
    for name, factors in sorted(lora.items()):
        _check_shapes(path, name, layers[name], factors, passport.rank if passport else factors.rank)


def _check_shapes(path: Path, name: str, layer: nn.Linear, factors: Factors, rank: int) -> None:
    """Refuse factors whose product has not the layer's shape."""
    down, up = tuple(factors.down.shape), tuple(factors.up.shape)
    if (down, up) != ((rank, layer.in_features), (layer.out_features, rank)):
        plain = name == "x_embedder" and down[1] < layer.in_features
        raise UserError(
            f"{path} does not fit this base: {name} is {layer.in_features} -> {layer.out_features}, "
            f"its LoRA of rank {factors.rank} has factors of {down} and {up}"
            + (", as for plain FLUX.1, which sees neither masked picture nor mask" if plain else "")
        )


def _keys(layers: set[str]) -> set[str]:
    return {f"{module_key(layer, 'diffusers')}.lora_{factor}.weight" for layer in layers for factor in "AB"}
