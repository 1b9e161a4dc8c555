"""`anyrefill paint`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from anyrefill.cli.common import (
    Count,
    Picture,
    Strength,
    TaskName,
    check_counts,
    check_picture,
    check_strengths,
    tell,
    with_bar,
)
from anyrefill.seeds import check_seed

__all__ = ["Paint", "paint"]

MOST_PICTURES = 10_000
"""Of one canvas: whether every file can be written is tried before the first is painted."""


@dataclass(frozen=True, kw_only=True)
class Paint:
    """Paint the right panel from the reference on its left."""

    task: Positional[TaskName]
    """A name from `anyrefill tasks`, or a .py file that defines one."""
    reference: Positional[Annotated[Path, arg(metavar="REFERENCE")]]
    """The left panel."""
    target: Positional[Annotated[Path | None, arg(metavar="[TARGET]")]] = None
    """The right panel; only needed where the task keeps a part of it."""
    more: Annotated[tuple[Path, ...], arg(metavar="PNG")] = ()
    """Further references, which stand beyond the first."""
    mask: Annotated[Path | None, arg(metavar="PNG")] = None
    """White where the target is to be painted; as large as the target."""
    box: Annotated[str | None, arg(metavar="L,T,R,B|face")] = None
    """Paint this part of the reference as if it were all, and leave the rest as it is: its left, top, right and bottom
    edge in pixels, or face for head and shoulders of the largest one (needs dlib: pip install 'anyrefill[faces]')."""
    caption: Annotated[str, arg(metavar="TEXT")] = ""
    """The words that fill the task's prompt template."""
    out: Picture = Path("painted.png")
    """Where the painted panel goes."""
    size: Literal["keep", "panel"] = "keep"
    """How large the painting is: as the target (the reference, where there is no target), or as the model's panel."""
    way: Literal["stretch", "bucket", "tiles"] = "stretch"
    """How another size than the panel's is painted: stretched to it, on a panel of its area in the picture's
    proportions (not for micro), or as large as it is by overlapping tiles."""
    backbone: Annotated[str, arg(metavar="ID")] = "micro"
    """micro, a folder in diffusers' FLUX.1-Fill layout, or a hub id."""
    adapter: Annotated[str | None, arg(metavar="NAME|PATH")] = None
    """A file, the folder of a training run, or none; by default the one that ships with micro."""
    together: Literal["in-turn", "at-once"] = "in-turn"
    """How several tasks are painted, as in age+gender: each by its own adapter on what the one before it painted, or
    by all adapters at once."""
    steps: Count = None
    """Of the solver, one backbone call each; if not given what the adapter asks for, or 20."""
    guidance: Strength = None
    """Distilled guidance strength; by default the one the adapter asks for."""
    temperature: Strength = None
    """What the noise is multiplied by, from 0 (the same painting for every seed); by default what the adapter asks
    for, or 1."""
    reference_guidance: Strength = None
    """How much more than in training the reference counts, e.g. 2; other than 1 every step takes two calls. By default
    what the adapter asks for, or 1."""
    caption_guidance: Strength = None
    """How much more than in training the caption counts, e.g. 3; other than 1 every step takes one call more. 1 if not
    given."""
    mirrored: Literal["yes", "no"] | None = None
    """Paint the mirror image, too, and hand out the mean of both, at temperature 0; by default what the adapter asks
    for, or no."""
    seed: int = 0
    """Of the noise; of the first, where several are painted."""
    best_of: Annotated[int, arg(metavar="N")] = 1
    """Paint so many and keep the one whose reference was repainted best, if that is known to tell."""
    variants: Annotated[int, arg(metavar="N")] = 1
    """Paint so many and keep all, in files with their numbers behind the name: painted-1.png, painted-2.png ..."""
    solver: Literal["euler", "ab2", "ab3", "unipc2"] = "euler"
    """How steps are taken: Euler, Adams-Bashforth of order 2 or 3, or UniPC."""
    attention: Literal["full", "clean_ref", "clean_ref_text"] | None = None
    """Who attends to whom; by default what the adapter was trained with. Another one is taken, and noted."""
    repair_colour: bool = False
    """Move colours towards kept pixels around the hole, where that lowers the error of others."""
    raw: bool = False
    """As the model painted it: without what the task takes over from the reference (colorization: its brightness;
    super-resolution: the mean of every block)."""
    device: str = "cpu"
    """Where to paint: cpu, cuda, cuda:1, mps ..."""
    dtype: Literal["bfloat16", "float32"] | None = None
    """Of all weights; float32 on the CPU and bfloat16 elsewhere if not given."""
    weights: Literal["whole", "int8", "fp8"] = "whole"
    """Of the transformer while it paints; int8 needs torchao."""
    offload: Literal["no", "idle", "all"] = "no"
    """What waits in main memory: what no step reads, or everything, each layer coming to the device when it is its
    turn."""
    compiled: Literal["no", "blocks", "graphs"] = "no"
    """What torch compiles; the first step then takes minutes."""


def paint(options: Paint) -> None:
    """Paint one picture and print where it is."""
    check_seed(options.seed)
    check_counts(steps=options.steps)
    check_counts(MOST_PICTURES, best_of=options.best_of, variants=options.variants)
    check_strengths(
        guidance=options.guidance,
        temperature=options.temperature,
        reference_guidance=options.reference_guidance,
        caption_guidance=options.caption_guidance,
    )
    outs = _outs(options)
    for out in outs:
        check_picture(out, [options.reference, options.target, options.mask, *options.more])
    import torch

    from anyrefill import images
    from anyrefill.backbone.placement import Placement
    from anyrefill.painter import load

    painter = load(
        options.task,
        options.backbone,
        options.adapter,
        dtype=getattr(torch, options.dtype) if options.dtype else None,
        attention=options.attention,
        solver=options.solver,
        together=options.together,
        for_good=True,
        placement=Placement(
            device=options.device, weights=options.weights, offload=options.offload, compiled=options.compiled
        ),
    )
    painter = replace(painter, raw=options.raw)
    request = painter.prepare(
        options.reference,
        options.target,
        more=options.more,
        mask=options.mask,
        box=_box(options.box),
        caption=options.caption,
        size=options.size,
        way=options.way,
    )
    run = painter.fulfilling(
        request,
        steps=options.steps,
        guidance=options.guidance,
        temperature=options.temperature,
        reference_guidance=options.reference_guidance,
        caption_guidance=options.caption_guidance,
        mirrored=None if options.mirrored is None else options.mirrored == "yes",
        seed=options.seed,
        best_of=options.best_of,
        variants=options.variants,
        repair_colour=options.repair_colour,
    )
    tell(request.notes)
    waiting, notes = iter(outs), dict[str, None]()
    for stage in with_bar(run, options.task):
        notes |= dict.fromkeys(stage.notes)
        for panel in stage.panels:
            images.save(images.to_pil(panel), next(waiting))
    tell(notes)
    print(*outs, sep="\n")


def _box(text: str | None) -> Sequence[int] | str | None:
    """Return the edges that are written, or the word as it is."""
    try:
        return text and [int(edge) for edge in text.split(",")]
    except ValueError:
        return text


def _outs(options: Paint) -> list[Path]:
    """Return where each painting goes."""
    if options.variants <= 1:
        return [options.out]
    return [options.out.with_stem(f"{options.out.stem}-{number}") for number in range(1, options.variants + 1)]
