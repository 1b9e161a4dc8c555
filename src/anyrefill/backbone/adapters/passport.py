"""What an adapter file says about itself: written into the safetensors header, checked before any weight is read."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, cast, get_origin, get_type_hints

from anyrefill.errors import UserError

__all__ = ["Passport"]


@dataclass(frozen=True, kw_only=True)
class Passport:
    """Everything needed to use an adapter rightly, and to know where it came from.

    Attributes:
        task: name of the task it was trained for.
        base: what the base was called in training, a path or a hub id.
        fingerprint: of the base's weights; an adapter fits this base and no other.
        rank: of the LoRA; of a prompt, how many tokens.
        alpha: the LoRA adds alpha / rank * B A; a prompt has none and repeats the rank.
        targets: suffixes of the layers it changes.
        kind: ``lora``, or ``prompt`` for tokens in CLIP.
        guidance_train: distilled guidance fed in training.
        guidance_paint: the one to paint with.
        steps_paint: how many Euler steps to paint with; None where nobody measured it.
        temperature_paint: what to multiply the noise by when painting; 0 where the answer is determined.
        reference_guidance_paint: how much more than in training the reference is to count when painting.
        mirrored_paint: whether the mean with the mirror image's painting is to be handed out.
        height: of the training canvases, in pixels.
        width: of the training canvases, all panels, in pixels.
        references: panels of the training canvases beside the target.
        mask_rule: what became of grey masks in training.
        density: of the noise levels in training; empty where unknown.
        attention: who attended to whom in training; see ``backbone.Attention``.
        prompt: the task's prompt template.
        max_sequence_length: T5 tokens in training.
        steps: optimizer steps taken.
        steps_before: taken by the adapter that it began with, and by the one that that began with, and so on.
        pairs: how many it was trained on.
        manifest: sha256 of the list of pairs.
        seed: of the training run.
        versions: of anyrefill, torch, diffusers and peft.
    """

    task: str
    base: str
    fingerprint: str
    rank: int
    alpha: int | float
    targets: tuple[str, ...]
    kind: str = "lora"
    guidance_train: float = 1.0
    guidance_paint: float = 30.0
    steps_paint: int | None = None
    temperature_paint: float = 1.0
    reference_guidance_paint: float = 1.0
    mirrored_paint: bool = False
    height: int = 512
    width: int = 1024
    references: int = 1
    mask_rule: str = "binary"
    density: str = ""
    attention: str = "full"
    prompt: str = "{caption}"
    max_sequence_length: int = 512
    steps: int = 0
    steps_before: int = 0
    pairs: int = 0
    manifest: str = ""
    seed: int = 0
    versions: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Write it as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Passport":
        """Read it back.

        Raises:
            UserError: it is damaged, or of a version that this one cannot read.
        """
        try:
            entries: dict[str, Any] = json.loads(text)
            entries = {
                key: tuple(cast(list[str], value)) if isinstance(value, list) else value
                for key, value in entries.items()
            }
            kinds = get_type_hints(cls)
            for name in entries.keys() & kinds.keys():
                _check_kind(name, entries[name], kinds[name])
            return cls(**entries)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise UserError(f"its passport cannot be read ({error}); this version knows {names}") from error


def _check_kind(name: str, value: object, kind: Any) -> None:  # noqa: ANN401  # a type, or a union of types
    """Refuse a value of another type than its field's; a whole number is a float, too."""
    inside = isinstance(value, tuple) and all(isinstance(part, str) for part in cast("tuple[object, ...]", value))
    if not (inside if get_origin(kind) is tuple else isinstance(value, int | float if kind is float else kind)):
        raise TypeError(f"{name} cannot be {value!r}")
