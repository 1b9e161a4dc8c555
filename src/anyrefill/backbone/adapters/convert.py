"""One LoRA under everyone's names: what a file says, layer by layer, and the same in another layout.

The layers are diffusers'; a module that holds several of them (see ``layouts``) is split when it is read and formed
when it is written, without rounding.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft.utils.other import get_pattern_key
from torch import Tensor

from anyrefill.backbone.adapters.factors import Factors, fuse, split, swap
from anyrefill.backbone.adapters.layouts import MLP_RATIO, SWAPPED, Layout, layers_of, module_key, module_of
from anyrefill.errors import UserError

__all__ = ["Lora", "PeftSettings", "parse", "peft_settings", "refuse_keys", "render", "stated_alpha"]

Lora = Mapping[str, Factors]
"""The factors of every changed layer, by the layer's name in diffusers."""

PeftSettings = Mapping[str, Any]
"""Rank, alpha and layers in peft's words, the prefix ``transformer.`` taken off."""

KEY = re.compile(r"(?P<module>.+)\.(?:(?P<alpha>alpha)|(?P<factor>lora_A|lora_B|lora_down|lora_up)\.weight)")
OTHER = {"lora_A": "lora_B", "lora_B": "lora_A", "lora_down": "lora_up", "lora_up": "lora_down"}
DOWN = ("lora_A", "lora_down")


def parse(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    alpha: Callable[[str, int], float],
    named: Callable[[str], bool],
) -> Lora:
    """Return what the tensors of a file in any layout say.

    Args:
        path: of the file, for what is said of it.
        tensors: by key.
        alpha: of a layer and its rank, where the tensors state none.
        named: whether the file is known to have a LoRA for a layer, even if that does nothing yet.

    Raises:
        UserError: a key is unknown, one of a pair is missing, a layer has two pairs, a pair does not fit together, or
            an alpha is no number.
    """
    modules: dict[str, dict[str, Tensor]] = defaultdict(dict)
    unknown: set[str] = set()
    for key, tensor in tensors.items():
        match = KEY.fullmatch(key)
        if match is None or not layers_of(match["module"]):
            unknown.add(key)
        else:
            modules[match["module"]][match["alpha"] or match["factor"]] = tensor
    refuse_keys(path, "has keys that do not belong to it", unknown)
    refuse_keys(path, "has two pairs of factors for", {module for module, found in modules.items() if _has_two(found)})
    refuse_keys(path, "lacks keys", {key for module, found in modules.items() for key in _missing(module, found)})
    if not modules:
        raise UserError(f"{path} holds no LoRA: there is nothing in it")
    lora: dict[str, Factors | None] = {}
    for module, found in modules.items():
        layers = layers_of(module)
        whole = _factors(path, module, found, lambda rank, layer=layers[0]: alpha(layer, rank))
        refuse_keys(path, "says twice what becomes of", set(layers) & set(lora))
        lora.update(zip(layers, _parts(path, module, whole, [named(layer) for layer in layers]), strict=True))
    return {layer: factors for layer, factors in lora.items() if factors is not None}


def render(lora: Lora, layout: Layout) -> dict[str, Tensor]:
    """Return the tensors of a file in that layout; in diffusers' the alphas stand in ``peft_settings`` instead."""
    if layout == "diffusers":
        pairs = {module_key(layer, layout): factors for layer, factors in lora.items()}
        down, up = "lora_A", "lora_B"
    else:
        pairs = {module_key(module, layout): factors for module, factors in _stacked(lora).items()}
        down, up = "lora_down", "lora_up"
    tensors: dict[str, Tensor] = {}
    for module, factors in pairs.items():
        tensors[f"{module}.{down}.weight"] = factors.down.contiguous()
        tensors[f"{module}.{up}.weight"] = factors.up.contiguous()
        if layout != "diffusers":
            tensors[f"{module}.alpha"] = torch.tensor(float(factors.alpha))
    return tensors


def peft_settings(lora: Lora) -> PeftSettings:
    """Return rank, alpha and layers as peft and diffusers want them; layers unlike most are named one by one.

    Source: diffusers, LoraBaseMixin._save_lora_weights; peft, LoraConfig.rank_pattern.
    """
    rank = Counter(factors.rank for factors in lora.values()).most_common(1)[0][0]
    alpha = Counter(factors.alpha for factors in lora.values()).most_common(1)[0][0]
    ranks = {f"^{layer}": factors.rank for layer, factors in lora.items() if factors.rank != rank}
    alphas = {f"^{layer}": factors.alpha for layer, factors in lora.items() if factors.alpha != alpha}
    settings = {"r": rank, "lora_alpha": alpha, "target_modules": sorted(lora)}
    patterns = {"rank_pattern": ranks, "alpha_pattern": alphas}
    return settings | {key: pattern for key, pattern in patterns.items() if pattern}


def stated_alpha(path: Path, settings: PeftSettings | None) -> Callable[[str, int], float]:
    """Return the alpha of a layer and its rank by peft's settings; where there are none, the product is not scaled.

    Raises:
        UserError: the settings ask for another kind of LoRA, or state an alpha that is no number.
    """
    if settings is None:
        return lambda _layer, rank: rank
    for kind in ("use_dora", "use_rslora"):
        if settings.get(kind):
            raise UserError(f"{path} is another kind of LoRA than alpha / rank * B A: its header says {kind}")
    patterns: Any = settings.get("alpha_pattern") or {}
    general = settings.get("lora_alpha")
    stated: list[Any] = [*patterns.values()] if isinstance(patterns, dict) else [patterns]
    if not all(_is_number(value) for value in (*stated, 1 if general is None else general)):
        raise UserError(f"{path} has a damaged header: an alpha in it is no number")

    def alpha(layer: str, rank: int) -> float:
        try:
            key = get_pattern_key(list(patterns), layer)
        except re.error as error:
            raise UserError(f"{path} has a damaged header: a name in its alpha_pattern is none ({error})") from error
        return patterns.get(key, rank if general is None else general)

    return alpha


def refuse_keys(path: Path, complaint: str, keys: set[str]) -> None:
    """Refuse a file for some of its keys and name the first of them."""
    if keys:
        raise UserError(f"{path} {complaint}: {min(keys)} ({len(keys)} in all)")


def _is_number(value: object) -> bool:
    """Return whether an alpha can be calculated with."""
    return isinstance(value, int | float) and math.isfinite(value)


def _missing(module: str, found: Mapping[str, Tensor]) -> list[str]:
    """Return the keys that a module lacks."""
    factors = [name for name in found if name != "alpha"]
    return [f"{module}.{OTHER[name]}.weight" for name in factors or DOWN[1:] if OTHER[name] not in found]


def _has_two(found: Mapping[str, Tensor]) -> bool:
    """Return whether a module has a pair of factors under peft's names and one under kohya's."""
    return set(OTHER) <= set(found)


def _factors(path: Path, module: str, found: Mapping[str, Tensor], alpha: Callable[[int], float]) -> Factors:
    """Return a module's two factors, which must be matrices of one rank."""
    down = next(found[name] for name in found if name in DOWN)
    up = next(found[name] for name in found if name in OTHER and name not in DOWN)
    if not (down.ndim == up.ndim == 2 and down.shape[0] == up.shape[1] > 0):
        raise UserError(f"{path} has factors that cannot be multiplied for {module}: {_sizes(down, up)}")
    stated = _alpha(path, module, found["alpha"]) if "alpha" in found else alpha(down.shape[0])
    return Factors(down=down, up=up, alpha=stated)


def _alpha(path: Path, module: str, stated: Tensor) -> float:
    """Return the alpha that a file states for a module."""
    if stated.numel() != 1 or not math.isfinite(stated.item()):
        raise UserError(f"{path} has an alpha that is no number for {module}: {stated.tolist()}")
    return stated.item()


def _parts(path: Path, module: str, whole: Factors, named: Sequence[bool]) -> list[Factors | None]:
    """Return a module's factors layer by layer."""
    if len(named) == 1:
        return [swap(whole) if _is_swapped(module) else whole]
    rows = _rows(whole.down.shape[1], len(named))
    if sum(rows) != whole.up.shape[0]:
        raise UserError(f"{path} does not fit FLUX: {module} has factors of {_sizes(whole.down, whole.up)}")
    return split(whole, rows, named)


def _stacked(lora: Lora) -> dict[str, Factors]:
    """Return the factors of every module of Black Forest Labs."""
    modules: dict[str, Factors] = {}
    for module in dict.fromkeys(filter(None, map(module_of, lora))):
        parts = [lora.get(layer) for layer in layers_of(module)]
        if len(parts) == 1 and parts[0] is not None:
            modules[module] = swap(parts[0]) if module in SWAPPED else parts[0]
        else:
            modules[module] = fuse(parts, _checked_rows(module, parts))
    return modules


def _checked_rows(module: str, parts: Sequence[Factors | None]) -> list[int]:
    """Return how many rows the parts of a module have; all must read one width."""
    present = [part for part in parts if part is not None]
    rows = _rows(present[0].down.shape[1], len(parts))
    for part, height in zip(parts, rows, strict=True):
        if part is not None and (part.down.shape[1], part.up.shape[0]) != (rows[0], height):
            raise UserError(f"the LoRA does not fit FLUX: {module} cannot hold factors of {_sizes(part.down, part.up)}")
    return rows


def _rows(width: int, count: int) -> list[int]:
    """Return how many rows query, key, value, and in a single block the feed-forward layer, have."""
    return [width, width, width, MLP_RATIO * width][:count]


def _is_swapped(module: str) -> bool:
    """Return whether a name is Black Forest Labs' for a layer whose halves diffusers exchanged."""
    return module_of(layers_of(module)[0]) in SWAPPED and not module.startswith(module_key("", "diffusers"))


def _sizes(down: Tensor, up: Tensor) -> str:
    return f"{tuple(down.shape)} and {tuple(up.shape)}"
