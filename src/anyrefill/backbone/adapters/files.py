"""Adapter files: safetensors that diffusers reads too, with a passport that is checked before they are used."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from diffusers import FluxTransformer2DModel
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from anyrefill.backbone.adapters.lora import (
    adapter_names,
    adapter_weights,
    linear_layers,
    matching_layers,
    refuse_merged,
    refuse_taken,
    several_adapters,
    training_kept,
    unfreeze,
    weigh_adapters,
)
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.fill import FluxFill
from anyrefill.errors import UserError
from anyrefill.files import whole

__all__ = ["load_adapter", "read_passport", "save_adapter"]

PREFIX = "transformer."
PASSPORT_KEY = "anyrefill"
PEFT_KEY = "lora_adapter_metadata"
"""Where diffusers looks for rank and alpha. Source: diffusers, loaders/lora_base.py."""


def save_adapter(path: str | Path, backbone: FluxFill, passport: Passport, *, name: str = "default") -> None:
    """Write an adapter and its passport; the file appears whole or not at all.

    Raises:
        UserError: the backbone has no adapter of that name, or the passport tells another story.
    """
    path, transformer = Path(path), backbone.transformer
    if name not in adapter_names(transformer):
        raise UserError(f"there is no adapter {name!r} to save")
    weights = get_peft_model_state_dict(transformer, adapter_name=name)
    tensors = {PREFIX + key: weight.detach().cpu().contiguous() for key, weight in weights.items()}
    _check_base(path, passport, backbone)
    _check_keys(path, tensors, transformer, passport)
    if passport.alpha != (alpha := transformer.peft_config[name].lora_alpha):
        raise UserError(f"{path} would say alpha {passport.alpha}, but the adapter has {alpha}")
    settings = json.dumps(_peft_settings(passport, transformer), sort_keys=True)
    header = {"format": "pt", PASSPORT_KEY: passport.to_json(), PEFT_KEY: settings}
    with whole(path) as part:
        part.write_bytes(save(tensors, metadata=header))


def read_passport(path: str | Path) -> Passport:
    """Read what an adapter file says about itself, without its weights.

    Raises:
        UserError: no such file, no safetensors file, or one without a passport.
    """
    with _opened(Path(path)) as file:
        header = file.metadata() or {}
    if PASSPORT_KEY not in header:
        raise UserError(
            f"{path} has no anyrefill passport, so nothing says which base it fits; to load it all the same, "
            "say that it is a foreign file"
        )
    try:
        return Passport.from_json(header[PASSPORT_KEY])
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


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
        path: a file by ``save_adapter``.
        backbone: changed in place.
        name: to tell several adapters apart.
        weight: how strongly it acts, 1 = as trained.
        foreign: take a LoRA in diffusers' layout that has no passport; its keys and shapes must still fit.
        trainable: to go on training it.

    Returns:
        Its passport; None for a foreign file.

    Raises:
        UserError: the file is damaged, has no passport, belongs to another base, or its keys or shapes do not fit.
    """
    path, transformer = Path(path), backbone.transformer
    refuse_merged(transformer)
    refuse_taken(transformer, name)
    passport = None if foreign else read_passport(path)
    if passport is not None:
        _check_base(path, passport, backbone)
    tensors, settings = _read(path)
    _check_keys(path, tensors, transformer, passport)
    if passport is not None:
        settings = _peft_settings(passport, transformer)
    active = adapter_weights(transformer)
    backbone.fingerprint()
    with several_adapters(), training_kept(transformer):
        transformer.load_lora_adapter(dict(tensors), adapter_name=name, metadata=settings, low_cpu_mem_usage=True)
    weigh_adapters(backbone, {**active, name: weight})
    if trainable:
        unfreeze(transformer, name)
    return passport


def _peft_settings(passport: Passport, transformer: FluxTransformer2DModel) -> dict[str, object]:
    """Return rank, alpha and layers in the words of peft and diffusers.

    Source: diffusers, LoraBaseMixin._save_lora_weights.
    """
    layers = matching_layers(transformer, passport.targets)
    settings = {"r": passport.rank, "lora_alpha": passport.alpha, "target_modules": layers}
    return {PREFIX + key: value for key, value in settings.items()}


@contextmanager
def _opened(path: Path) -> Generator[safe_open, None, None]:
    """Open a safetensors file, or say in a sentence why it cannot be."""
    if not path.is_file():
        raise UserError(f"there is no adapter file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise UserError(f"{path} is not a whole safetensors file: {error}") from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, object] | None]:
    """Return an adapter's tensors, and rank, alpha and layers where the file states them."""
    with _opened(path) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        header = file.metadata() or {}
    try:
        return tensors, json.loads(header[PEFT_KEY]) if PEFT_KEY in header else None
    except ValueError as error:
        raise UserError(f"{path} has a damaged header: its {PEFT_KEY} is not valid JSON") from error


def _check_base(path: Path, passport: Passport, backbone: FluxFill) -> None:
    """Refuse an adapter that was trained on other weights."""
    if passport.fingerprint != backbone.fingerprint():
        raise UserError(
            f"{path} was trained on another base, {passport.base} ({passport.fingerprint[:8]}), "
            f"not on {backbone.name} ({backbone.fingerprint()[:8]})"
        )


def _check_keys(
    path: Path, tensors: Mapping[str, Tensor], transformer: FluxTransformer2DModel, passport: Passport | None
) -> None:
    """Refuse an adapter with a key that is unknown, missing, or of the wrong shape."""
    layers = dict(linear_layers(transformer))
    known = set(layers) if passport is None else set(matching_layers(transformer, passport.targets))
    _name_first(path, "has keys that do not belong to it", set(tensors) - _keys(known))
    used = known if passport is not None else {name for name in known if _keys({name}) & set(tensors)}
    _name_first(path, "lacks keys", _keys(used) - set(tensors))
    for name in sorted(used):
        _check_shapes(path, name, layers[name], tensors[_key(name, "A")], tensors[_key(name, "B")], passport)


def _check_shapes(path: Path, name: str, layer: nn.Linear, down: Tensor, up: Tensor, passport: Passport | None) -> None:
    """Refuse factors whose product has not the layer's shape."""
    rank = down.shape[0] if passport is None else passport.rank
    shapes = (tuple(down.shape), tuple(up.shape))
    if shapes != ((rank, layer.in_features), (layer.out_features, rank)):
        raise UserError(
            f"{path} does not fit this base: {name} is {layer.in_features} -> {layer.out_features}, "
            f"its LoRA of rank {rank} has factors of {shapes[0]} and {shapes[1]}"
        )


def _name_first(path: Path, complaint: str, keys: set[str]) -> None:
    if keys:
        raise UserError(f"{path} {complaint}: {min(keys)} ({len(keys)} in all)")


def _keys(layers: set[str]) -> set[str]:
    return {_key(layer, factor) for layer in layers for factor in "AB"}


def _key(layer: str, factor: str) -> str:
    return f"{PREFIX}{layer}.lora_{factor}.weight"
