"""`anyrefill curate`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from anyrefill.cli.common import TaskName, check_counts, check_report, check_writable, file_of, with_bar
from anyrefill.errors import UserError
from anyrefill.files import write_text
from anyrefill.seeds import check_seed

if TYPE_CHECKING:
    from anyrefill.curate import Annotators, Listed, Outcome, Source, Views
    from anyrefill.curate.cluster import Curation
    from anyrefill.tasks import Task

__all__ = ["Curate", "curate"]

Folder = Annotated[Path | None, arg(metavar="DIR")]
Model = Annotated[str | None, arg(metavar="MODEL")]

PANEL = 512
"""Side in pixels of panels made of photographs. Source: arXiv 2502.11158, section IV, Implementation Details."""


OF_PHOTOS = (
    "degrade", "foreground", "depth", "captions", "matcher", "scenes", "shapes", "per_scene", "layout", "download",
)  # fmt: skip
"""Options that pairs made elsewhere have no use for."""

OF_SINGLE_PHOTOS = ("degrade", "foreground", "depth", "captions")
"""Options that pairs of two views have no use for."""

OF_VIEWS = ("matcher", "scenes", "shapes", "per_scene")
"""Options that pairs of one photograph have no use for."""


@dataclass(frozen=True, kw_only=True)
class Curate:
    """Make a folder of pairs from photographs, or from pairs made elsewhere."""

    task: Positional[TaskName]
    """A name from `anyrefill tasks`, or a .py file that defines one."""
    photos: Positional[Annotated[Path | None, arg(metavar="[PHOTOS]")]] = None
    """A folder of photographs; for tasks with a hole, one folder inside for each scene."""
    out: Annotated[Path, arg(metavar="PAIRS")]
    """The folder of pairs to write."""
    references: Folder = None
    """Left panels made elsewhere, matched with --targets by name."""
    targets: Folder = None
    """Right panels made elsewhere."""
    masks: Folder = None
    """Masks for them, white where to paint."""
    table: Annotated[Path | None, arg(metavar="FILE")] = None
    """Pairs made elsewhere: .csv or .jsonl with reference, target, and maybe mask, caption, licence."""
    size: Annotated[int | None, arg(metavar="N")] = None
    """Side of the square panels; 512 if not given, and pairs made elsewhere keep their size."""
    degrade: Annotated[str | None, arg(metavar="HOW")] = None
    """Degrade the photograph instead: blur, noise, blur+noise, jpeg, down4, down8, down16 or gray."""
    foreground: Model = None
    """Who finds subjects: u2netp, or GroundingDINO and SAM 2 as ID+ID."""
    depth: Model = None
    """Who guesses depth: a hub id, e.g. of Depth Anything V2."""
    captions: Model = None
    """Who describes photographs without a caption: a hub id."""
    matcher: Annotated[str, arg(metavar="MODEL")] = "xfeat"
    """Who matches two views: xfeat or none."""
    faces: Model = None
    """Who checks that pairs made elsewhere show one face a panel, both the same person's: dlib."""
    face_distance: Annotated[float | None, arg(metavar="D")] = None
    """Faces farther apart are two people's; 0.6 if not given."""
    scenes: Folder = None
    """MegaDepth's scene files; PHOTOS is then where their paths begin."""
    shapes: Folder = None
    """Silhouettes for random holes; drawn if not given."""
    per_scene: Annotated[int, arg(metavar="N")] = 100
    """Pairs of views of one scene at most."""
    layout: Literal["any", "div2k-train", "div2k-test"] = "any"
    """Which photographs count: all, or DIV2K's and Flickr2K's."""
    licence: Annotated[str, arg(metavar="TEXT")] = ""
    """Of the photographs of which nothing else is said."""
    device: str = "cpu"
    """Where annotators run."""
    batch: Annotated[int, arg(metavar="N")] = 8
    """Photographs that are annotated together, and what a worker of a cluster takes at once."""
    ray: Annotated[str | None, arg(metavar="ADDRESS")] = None
    """Do the same on a Ray cluster: HOST:PORT, auto, or local for one on this machine."""
    download: bool = False
    """Let annotators be fetched from the hub."""
    seed: int = 0
    """Of all chance."""
    json: Annotated[Path | None, arg(metavar="FILE")] = None
    """Write the report there too."""


def curate(options: Curate) -> None:
    """Write the pairs and print how many there are, and every rejection."""
    _check(options)
    from anyrefill.backbone.precision import known_device
    from anyrefill.curate import check_free, write
    from anyrefill.tasks import get

    known_device(options.device)
    check_free(options.out)
    task = get(options.task)
    _check_kind(task, options)
    report = write(with_bar(_outcomes(task, options), task.name), options.out, task.name, _settings(options))
    if options.json is not None:
        write_text(options.json, report.to_json())
    print(report.to_text())


def _check(options: Curate) -> None:
    """Refuse what does not go together, before anything slow."""
    given = (options.photos is not None, options.references is not None, options.table is not None)
    if sum(given) != 1 or (options.references is None) != (options.targets is None):
        raise UserError("Give one of PHOTOS, --references with --targets, or --table.")
    if options.masks is not None and options.references is None:
        raise UserError("--masks goes with --references and --targets.")
    _check_photos(options)
    _check_faces(options)
    check_seed(options.seed)
    check_counts(size=options.size, batch=options.batch, per_scene=options.per_scene)
    if options.size is not None and options.size % 16:
        raise UserError(f"--size must be a multiple of 16, not {options.size}.")
    read = ("photos", "references", "targets", "masks", "table", "scenes", "shapes")
    check_report(options.json, [*(getattr(options, name) for name in read), file_of(options.task)])
    check_writable(options.out / "metadata.jsonl")
    if options.json is not None and options.out.resolve().is_relative_to(options.json.resolve()):
        raise UserError(f"Cannot write {options.json}: the folder of pairs is to be there.")


def _check_photos(options: Curate) -> None:
    """Refuse options that make pairs of photographs where pairs are made already, or views are listed already."""
    if options.photos is None:
        _refuse(options, OF_PHOTOS, "goes with PHOTOS: the pairs of the others are made already")
    if options.scenes is not None:
        _refuse(options, ("layout", "per_scene"), "does not go with --scenes, whose files say which views there are")


def _check_kind(task: "Task", options: Curate) -> None:
    """Refuse options of two views where pairs are made of one photograph, and the other way round."""
    if options.photos is None:
        return
    if _takes_views(task):
        _refuse(options, OF_SINGLE_PHOTOS, f"does not go with {task.name}, whose pairs are two views of a scene")
    else:
        _refuse(options, OF_VIEWS, f"does not go with {task.name}, whose pairs are made of one photograph")


def _refuse(options: Curate, names: Sequence[str], why: str) -> None:
    """Refuse the first of these options that is not as it is by default."""
    defaults = {field.name: field.default for field in fields(Curate)}
    for name in names:
        if getattr(options, name) != defaults[name]:
            raise UserError(f"--{name.replace('_', '-')} {why}.")


def _takes_views(task: "Task") -> bool:
    """Return whether a task's pairs are two views of a scene and a hole."""
    from anyrefill.tasks import given_mask

    return task.make is None and task.mask is given_mask


def _check_faces(options: Curate) -> None:
    """Refuse options of faces where nobody looks for any."""
    if options.faces is not None and options.photos is not None:
        raise UserError("--faces goes with --references and --targets, or with --table.")
    if options.face_distance is None:
        return
    if options.faces is None:
        raise UserError("--face-distance goes with --faces.")
    if not options.face_distance > 0:
        raise UserError(f"--face-distance must be above 0, not {options.face_distance:g}.")


def _outcomes(task: "Task", options: Curate) -> "Iterator[Outcome]":
    """Return what becomes of the candidates that the options name, here or on a cluster."""
    candidates, prepare = _candidates(task, options)
    if options.ray is None:
        return iter(prepare()(candidates))
    from anyrefill.curate.cluster import on_ray

    gpus = 1 if options.device.startswith("cuda") else 0
    return on_ray(options.ray, candidates, prepare, batch=options.batch, gpus=gpus)


def _candidates(task: "Task", options: Curate) -> "tuple[Sequence[Any], Callable[[], Curation[Any]]]":
    """Return the candidates, and what prepares a process to make pairs of them."""
    from anyrefill.curate import find_photos, list_folders, list_table

    if options.references is not None and options.targets is not None:
        listed = list_folders(options.references, options.targets, options.masks, options.licence)
        return listed, partial(_of_listed, task, options)
    if options.table is not None:
        return list_table(options.table, options.licence), partial(_of_listed, task, options)
    if options.photos is None:
        raise RuntimeError("checked before")
    if _takes_views(task):
        return _views(options, options.photos), partial(_of_views, task, options)
    return find_photos(options.photos, options.layout, options.licence), partial(_of_photos, task, options)


def _of_listed(task: "Task", options: Curate) -> "Curation[Listed]":
    """Return what checks and reads pairs made elsewhere."""
    from anyrefill.curate import read_listed
    from anyrefill.curate.annotators import load_faces
    from anyrefill.metrics.faces import APART

    return partial(
        read_listed,
        task,
        side=options.size,
        faces=load_faces(options.faces, options.device) if options.faces else None,
        apart=APART if options.face_distance is None else options.face_distance,
    )


def _of_photos(task: "Task", options: Curate) -> "Curation[Source]":
    """Load what makes pairs of photographs."""
    from anyrefill.curate import from_photos

    return partial(
        from_photos,
        task,
        side=options.size or PANEL,
        seed=options.seed,
        annotators=_annotators(options),
        degradation=options.degrade or "",
        batch=options.batch,
    )


def _of_views(task: "Task", options: Curate) -> "Curation[Views]":
    """Load what makes pairs of scenes."""
    from anyrefill.backbone.precision import present_device
    from anyrefill.curate import from_views, read_shapes
    from anyrefill.curate.annotators import load_matcher

    if options.matcher != "none":
        present_device(options.device)
    return partial(
        from_views,
        task,
        side=options.size or PANEL,
        matcher=None if options.matcher == "none" else load_matcher(options.matcher, options.device),
        seed=options.seed,
        shapes=read_shapes(options.shapes) if options.shapes else (),
    )


def _views(options: Curate, folder: Path) -> "list[Views]":
    """List the pairs of views below a folder."""
    from anyrefill.curate import find_photos, list_views, read_scenes

    if options.scenes is not None:
        return read_scenes(options.scenes, folder, licence=options.licence)
    photos = find_photos(folder, options.layout, options.licence)
    return list_views(photos, per_scene=options.per_scene, seed=options.seed)


def _annotators(options: Curate) -> "Annotators":
    """Load the annotators asked for, where the device is that torch runs them on."""
    from anyrefill.backbone.precision import present_device
    from anyrefill.curate import Annotators
    from anyrefill.curate import annotators as by

    device, download = options.device, options.download
    if options.depth or options.captions or options.foreground not in (None, *by.OFFLINE["foreground"]):
        present_device(device)
    return Annotators(
        foreground=by.load_foreground(options.foreground, device, download=download) if options.foreground else None,
        depth=by.load_depth(options.depth, device, download=download) if options.depth else None,
        caption=by.load_captioner(options.captions, device, download=download) if options.captions else None,
    )


def _settings(options: Curate) -> dict[str, object]:
    """Return what was asked for, without the places of this machine's folders that do not change the pairs."""
    left_out = ("out", "json", "device", "batch", "download", "ray")
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(options).items()
        if name not in left_out
    }
