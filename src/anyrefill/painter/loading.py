"""From names to a painter: task, base, adapter."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from anyrefill import tasks
from anyrefill.backbone import Attention, MaskRule, known_attention
from anyrefill.backbone.adapters.find import at_once, find_adapters
from anyrefill.backbone.adapters.header import read_passport
from anyrefill.backbone.adapters.lora import Cast, Merged, adapter_names, adapter_weights, merge, merge_for_good
from anyrefill.backbone.adapters.mix import Part, add_adapters, agreed, join_prompts, parts
from anyrefill.backbone.adapters.passport import Passport
from anyrefill.backbone.embedded import find_base
from anyrefill.backbone.fill import FluxFill
from anyrefill.backbone.placement import Placement, place
from anyrefill.backbone.precision import default_dtype
from anyrefill.errors import UserError
from anyrefill.flow import Solver
from anyrefill.painter.painter import STEPS, Painter
from anyrefill.painter.records import Together
from anyrefill.painter.witness import Witness
from anyrefill.tasks import Task, as_painted, whole_panel

__all__ = ["load"]

AT_ONCE = (
    "All adapters act at once, not in turn: one is a prompt, a part of the target is kept, or weights are smaller, "
    "wait elsewhere or are compiled."
)


def load(
    task: str | Task,
    backbone: str | Path = "micro",
    adapter: str | Path | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    attention: str | None = None,
    solver: Solver = "euler",
    placement: Placement | None = None,
    together: Together = "in-turn",
    for_good: bool = False,
) -> Painter:
    """Load a backbone and the adapter of a task.

    Args:
        task: a name, a ``.py`` file that defines a task, or a task; several at once as in ``age:0.8+gender``.
        backbone: ``micro``, the embedded one; a folder in diffusers' FLUX.1-Fill layout; or a hub id.
        adapter: a file, or the folder of a training run, several at once as in ``runs/age:0.8+runs/gender``;
            ``none`` for the bare backbone. By default the one that ships with the embedded backbone, and none on any
            other.
        device: where to paint, by default the CPU; `placement` says it instead, and more.
        dtype: of all weights; by default float32 on the CPU and bfloat16 elsewhere.
        attention: full, clean_ref or clean_ref_text; by default what the adapter was trained with. Another one is
            taken all the same, and noted.
        solver: euler, ab2, ab3 or unipc2.
        placement: device, offloading, smaller weights and compiling at once.
        together: how several tasks are painted in one picture. In turn each adapter of theirs acts alone, with weight 1
            unless another is said, on what the one before it painted. At once all act together (arXiv 2502.11158,
            figure 10), and so they do, which is noted, where one is a prompt, a part of the target is kept, or the
            placement merges them for good.
        for_good: merge the adapter without keeping a copy of what it changes, for which FLUX.1 takes up to 11 GB of
            main memory in bfloat16; `evaluate` needs it for its row "without the adapter".

    Raises:
        UserError: there is no such task, backbone, adapter or attention, the adapter belongs to another backbone,
            several cannot paint together, or device and placement name two devices.
    """
    if placement is not None and device is not None and str(device) != placement.device:
        raise UserError(f"The device is {device}, but {placement.device} in the placement: name it in the placement.")
    placement = placement or Placement(device=str(device or "cpu"))
    placement.check()
    several, named = _named(task)
    base = find_base(backbone)
    found = find_adapters(named, adapter, embedded=str(backbone) == "micro")
    passport = agreed([path for path, _ in found])
    wanted = together == "in-turn" and len(several) == len(found) > 1
    in_turn = wanted and _can_take_turns(several, found, placement)
    task = _joined(several, several[-1]) if in_turn else _at_once(several)
    model = FluxFill.load(
        base,
        device=placement.loads_on,
        dtype=dtype or default_dtype(placement.device),
        mask_rule=cast(MaskRule, passport.mask_rule) if passport else "binary",
        max_sequence_length=passport.max_sequence_length if passport else None,
    )
    add_adapters(model, at_once(found))
    loras = adapter_names(model.transformer)
    merged = None if in_turn else _merged(model, found, keeps=_plain(placement) and not for_good)
    trained = known_attention(passport.attention) if passport else "full"
    asked = trained if attention is None else known_attention(attention)
    place(model, placement, asked)
    painter = replace(_painter(task, model, passport), solver=solver, attention=asked, merged=merged)
    notes = painter.notes if asked == trained else (*painter.notes, _mismatch(asked, trained))
    notes += (AT_ONCE,) if wanted and not in_turn else ()
    painter = replace(painter, notes=notes, witness=Witness.read(found[0][0]) if len(found) == 1 else None)
    return _taking_turns(painter, several, found, loras) if in_turn else painter


def _taking_turns(
    painter: Painter, several: Sequence[Task], found: Sequence[tuple[Path, float | None]], loras: Sequence[str]
) -> Painter:
    """Return a painter of several tasks that lets the painter of each have its turn."""
    model = cast(FluxFill, painter.backbone)
    turns = [
        replace(
            _painter(task, model, read_passport(path)), solver=painter.solver, attention=painter.attention,
            cast=Cast(backbone=model, weights={lora: 1.0 if weight is None else weight}),
        )
        for task, (path, weight), lora in zip(several, found, loras, strict=True)
    ]  # fmt: skip
    return replace(painter, turns=tuple(turns), cast=Cast(backbone=model, weights=adapter_weights(model.transformer)))


def _can_take_turns(several: Sequence[Task], found: Sequence[tuple[Path, float | None]], placement: Placement) -> bool:
    """Return whether tasks paint all of the panel, by adapters that come and go."""
    return (
        all(task.mask is whole_panel for task in several)
        and all(read_passport(path).kind == "lora" for path, _ in found)
        and _plain(placement)
    )


def _plain(placement: Placement) -> bool:
    """Return whether weights stay as they are and where they are."""
    return placement == Placement(device=placement.device)


def _merged(model: FluxFill, found: Sequence[tuple[Path, float | None]], *, keeps: bool) -> Merged | None:
    """Merge adapters, and return the way back where it is kept, as none can be beside a prompt."""
    kinds = {read_passport(path).kind for path, _ in found}
    if kinds == {"lora"} and keeps:
        return merge(model)
    if "lora" in kinds:
        merge_for_good(model)
    return None


def _painter(task: Task, model: FluxFill, passport: Passport | None) -> Painter:
    """Return a painter with the settings of the adapter, or else of the base."""
    squares_only = model.settings.squares_only
    if passport is None:
        side = model.settings.panel
        return Painter(
            backbone=model, task=task, size=(side, side), guidance=model.settings.guidance, squares_only=squares_only
        )
    notes = ()
    if passport.task != task.name:
        notes = (f"The adapter was trained for {passport.task}, not for {task.name}.",)
    size = (passport.height, passport.width // (1 + passport.references))
    return Painter(
        backbone=model, task=task, size=size, guidance=passport.guidance_paint,
        steps=passport.steps_paint or STEPS, temperature=passport.temperature_paint,
        reference_guidance=passport.reference_guidance_paint, mirrored=passport.mirrored_paint, passport=passport,
        notes=notes, squares_only=squares_only,
    )  # fmt: skip


def _mismatch(asked: Attention, trained: Attention) -> str:
    """Return what to tell a user who asks for another attention than was trained."""
    return f"What paints was trained with {trained} attention, not with {asked}: expect worse pictures."


def _named(task: str | Task) -> tuple[list[Task], tuple[Part, ...]]:
    """Return the tasks to paint, and their names and weights."""
    if isinstance(task, Task):
        return [task], (Part(name=task.name),)
    asked = parts(task)
    several = [tasks.get(part.name) for part in asked]
    return several, tuple(replace(part, name=one.name) for part, one in zip(asked, several, strict=True))


def _at_once(several: Sequence[Task]) -> Task:
    """Return several tasks as one whose adapters act at once, and refuse those that one painting cannot answer."""
    first = several[0]
    for other in several[1:]:
        if (other.mask, other.decode) != (first.mask, first.decode):
            raise UserError(
                f"{first.name} and {other.name} cannot be painted at once: they paint other parts of the target, or "
                "their answers are read differently."
            )
    return _joined(several, first)


def _joined(several: Sequence[Task], like: Task) -> Task:
    """Return several tasks as one with the answer of one of them: of the last, where they take turns."""
    if len(several) == 1:
        return like
    return replace(
        like,
        name="+".join(task.name for task in several),
        summary=" + ".join(task.summary for task in several),
        prompt=join_prompts([task.prompt for task in several]),
        caption_required=any(task.caption_required for task in several),
        joins=len(several),
        make=None,
        finish=like.finish if all(task.finish == like.finish for task in several) else as_painted,
    )
