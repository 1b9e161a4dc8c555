"""Annotators: models that say of a photograph what its file does not.

One protocol for each kind; `load` makes one of a name. ``transformers`` models are named by their hub id or folder and
must be on this machine already unless ``download`` is set; the small ones that run offline are named in `OFFLINE`.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Literal, Protocol, cast, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from anyrefill.curate.masks import Matches
from anyrefill.errors import UserError
from anyrefill.metrics.faces import FoundFace
from anyrefill.pairs import Photo
from anyrefill.types import Mask, Panel

__all__ = [
    "OFFLINE",
    "CaptionAnnotator",
    "DepthAnnotator",
    "DepthMap",
    "EdgeAnnotator",
    "EdgeMap",
    "FaceAnnotator",
    "ForegroundAnnotator",
    "Kind",
    "Matcher",
    "load_captioner",
    "load_depth",
    "load_edges",
    "load_faces",
    "load_foreground",
    "load_matcher",
]

Kind = Literal["depth", "foreground", "caption", "edges", "matches", "faces"]
"""What an annotator says."""

DepthMap = Float[Tensor, "1 H W"]
"""In [-1, 1], the nearest pixel 1, the farthest -1; relative to the one picture."""

EdgeMap = Float[Tensor, "1 H W"]
"""How much each pixel is an edge, in [0, 1]."""


@runtime_checkable
class ForegroundAnnotator(Protocol):
    """Finds the subject of photographs."""

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        ...

    def __call__(self, photos: Sequence[Photo]) -> list[Mask]:
        """Return 1 on the subject of each photograph; all of one size."""
        ...


@runtime_checkable
class DepthAnnotator(Protocol):
    """Guesses how near everything is."""

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        ...

    def __call__(self, photos: Sequence[Photo]) -> list[DepthMap]:
        """Return the depth of each photograph; all of one size."""
        ...


@runtime_checkable
class CaptionAnnotator(Protocol):
    """Says in a sentence what photographs show."""

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        ...

    def __call__(self, photos: Sequence[Photo]) -> list[str]:
        """Return one caption for each photograph; all of one size."""
        ...


@runtime_checkable
class EdgeAnnotator(Protocol):
    """Finds edges."""

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        ...

    def __call__(self, photos: Sequence[Photo]) -> list[EdgeMap]:
        """Return the edges of each photograph; all of one size."""
        ...


@runtime_checkable
class Matcher(Protocol):
    """Finds points that two views of a scene share."""

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        ...

    def __call__(self, reference: Panel, target: Panel) -> Matches:
        """Return the points that two panels of one size share, each with a confidence."""
        ...


@runtime_checkable
class FaceAnnotator(Protocol):
    """Finds faces and says who they are."""

    @property
    def name(self) -> str:
        """What the manifest calls it."""
        ...

    def __call__(self, panels: Sequence[Panel]) -> list[list[FoundFace]]:
        """Return the faces of each panel, the largest first; all of one size."""
        ...


OFFLINE: Mapping[Kind, Mapping[str, str]] = {
    "foreground": {"u2netp": "u2net.U2NetP"},
    "edges": {"canny": "edges.Canny", "hed": "edges.Hed"},
    "matches": {"xfeat": "xfeat.XFeatMatcher"},
    "faces": {"dlib": "faces.DlibFaces"},
}
"""Annotators by name: kind -> name -> class below this package; none of them needs a hub."""


def load_foreground(name: str, device: str = "cpu", *, download: bool = False) -> ForegroundAnnotator:
    """Return ``u2netp``, or GroundingDINO and SAM 2 named as ``DINO+SAM2`` (two hub ids or folders).

    Raises:
        UserError: the name is unknown, or weights or packages are missing.
    """
    if name in OFFLINE["foreground"]:
        return cast("ForegroundAnnotator", _offline("foreground", name)(device))
    detector, plus, segmenter = name.partition("+")
    if not plus:
        raise UserError(f"--foreground must be u2netp, or GroundingDINO and SAM 2 as DINO+SAM2, not {name!r}.")
    from anyrefill.curate.annotators.grounded_sam import GroundedSam

    return GroundedSam(detector, segmenter, device, download=download)


def load_depth(name: str, device: str = "cpu", *, download: bool = False) -> DepthAnnotator:
    """Return a depth model of ``transformers``, e.g. depth-anything/Depth-Anything-V2-Small-hf.

    Raises:
        UserError: it is not on this machine, or no depth model.
    """
    from anyrefill.curate.annotators.depth import DepthAnything

    return DepthAnything(name, device, download=download)


def load_captioner(name: str, device: str = "cpu", *, download: bool = False) -> CaptionAnnotator:
    """Return an image-to-text model of ``transformers``, e.g. Qwen/Qwen2.5-VL-3B-Instruct.

    Raises:
        UserError: it is not on this machine, or does not read pictures.
    """
    from anyrefill.curate.annotators.caption import Captioner

    return Captioner(name, device, download=download)


def load_edges(name: str, device: str = "cpu") -> EdgeAnnotator:
    """Return ``canny`` or ``hed``.

    Raises:
        UserError: the name is unknown, or weights or packages are missing.
    """
    return cast("EdgeAnnotator", _offline("edges", name)(device))


def load_matcher(name: str, device: str = "cpu") -> Matcher:
    """Return ``xfeat``: XFeat key-points, matched by LighterGlue.

    Raises:
        UserError: the name is unknown, or weights or packages are missing.
    """
    return cast("Matcher", _offline("matches", name)(device))


def load_faces(name: str, device: str = "cpu") -> FaceAnnotator:
    """Return ``dlib``: its detector, and its network of faces.

    Raises:
        UserError: the name is unknown, or weights or packages are missing.
    """
    return cast("FaceAnnotator", _offline("faces", name)(device))


def _offline(kind: Kind, name: str) -> Callable[[str], object]:
    """Return the class of an annotator that needs no hub."""
    if name not in OFFLINE[kind]:
        raise UserError(f"There is no annotator {name!r} for {kind}; there are {', '.join(OFFLINE[kind])}.")
    module, _, cls = OFFLINE[kind][name].partition(".")
    return getattr(import_module(f"{__name__}.{module}"), cls)
