"""Several adapters in one picture: ``age:0.8+gender``, their changes weighed and added.

Source: arXiv 2502.11158, figure 10: two adapters act together with no further training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from anyrefill.backbone.adapters.files import load_adapter
from anyrefill.backbone.adapters.header import read_passport
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.adapters.prompt import load_prompt
from anyrefill.backbone.fill import FluxFill
from anyrefill.errors import UserError

__all__ = ["Part", "add_adapters", "agreed", "join_prompts", "parts"]

CAPTION = "{caption}"
MUST_AGREE = {
    "fingerprint": "base",
    "mask_rule": "mask rule",
    "attention": "attention",
    "height": "canvas height",
    "width": "canvas width",
    "references": "number of references",
    "max_sequence_length": "prompt length",
}
"""What adapters that paint together were trained with alike, and what to call it."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of several that act together.

    Attributes:
        name: of a task or an adapter; a path, where that is meant.
        weight: how strongly it acts, 1 = as trained; None where nothing was said.
    """

    name: str
    weight: float | None = None


def parts(text: str | Path) -> tuple[Part, ...]:
    """Read ``NAME[:WEIGHT]`` joined by ``+``; a part of weight 0 is left out unless there is no other.

    The path of a file or folder that is there stands for itself, whatever characters are in it.

    Raises:
        UserError: a name is empty or stands twice, or a weight is not finite.
    """
    if Path(text).exists():
        return (Part(name=str(text)),)
    named = tuple(_part(part) for part in str(text).split("+"))
    names = [part.name for part in named]
    if "" in names:
        raise UserError(f"{str(text)!r} has an empty name: join NAME or NAME:WEIGHT by +.")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"{str(text)!r} names {twice} twice: give it one weight.")
    return tuple(part for part in named if part.weight != 0) or named


def agreed(paths: Sequence[Path]) -> Passport | None:
    """Return the passport that several adapters paint with; what only one of them can say is the first's.

    Raises:
        UserError: a file is no adapter, two were trained with different settings, or two are prompts.
    """
    passports = [read_passport(path) for path in paths]
    if not passports:
        return None
    for path, passport in zip(paths[1:], passports[1:], strict=True):
        _refuse_conflict(paths[0], passports[0], path, passport)
    if [passport.kind for passport in passports].count("prompt") > 1:
        raise UserError(f"{' and '.join(map(str, paths))} cannot act together: only one may be a prompt.")
    if len(passports) == 1:
        return passports[0]
    return replace(
        passports[0],
        task="+".join(passport.task for passport in passports),
        prompt=join_prompts([passport.prompt for passport in passports]),
        temperature_paint=max(passport.temperature_paint for passport in passports),
        reference_guidance_paint=max(passport.reference_guidance_paint for passport in passports),
        mirrored_paint=any(passport.mirrored_paint for passport in passports),
        steps_paint=max(asked) if all(asked := [passport.steps_paint or 0 for passport in passports]) else None,
    )


def add_adapters(backbone: FluxFill, weighed: Sequence[tuple[Path, float]]) -> None:
    """Add adapters of any kind to a backbone, each as strongly as its weight says.

    Raises:
        UserError: as ``load_adapter`` and ``load_prompt``; a prompt is given a weight.
    """
    for index, (path, weight) in enumerate(weighed):
        if read_passport(path).kind != "prompt":
            load_adapter(path, backbone, name=f"{index}-{path.stem.replace('.', '-')}", weight=weight)
        elif weight == 1:
            load_prompt(path, backbone)
        else:
            raise UserError(f"{path} is a prompt, which acts or does not: give it no weight.")


def join_prompts(templates: Sequence[str]) -> str:
    """Return one prompt template that says what all of them say, with the caption once."""
    distinct = list(dict.fromkeys(templates))
    last = max((index for index, template in enumerate(distinct) if CAPTION in template), default=None)
    told = [template if index == last else template.replace(CAPTION, "") for index, template in enumerate(distinct)]
    return ", ".join(filter(None, (" ".join(template.split()).strip(" ,") for template in told)))


def _part(text: str) -> Part:
    """Read one part; what follows the last colon is a weight if it is a number."""
    name, colon, number = text.strip().rpartition(":")
    try:
        weight = float(number)
    except ValueError:
        return Part(name=text.strip())
    if not colon:
        return Part(name=text.strip())
    if not isfinite(weight):
        raise UserError(f"{text.strip()!r} has a weight that is no finite number.")
    return Part(name=name, weight=weight)


def _refuse_conflict(path: Path, passport: Passport, other_path: Path, other: Passport) -> None:
    """Refuse two adapters that no one canvas suits."""
    for field, word in MUST_AGREE.items():
        mine, theirs = getattr(passport, field), getattr(other, field)
        if mine != theirs:
            mine, theirs = (str(value)[:16] for value in (mine, theirs))
            raise UserError(f"{path} and {other_path} cannot act together: their {word} differs, {mine} and {theirs}.")
