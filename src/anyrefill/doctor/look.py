"""What is kept of a pair of pictures after one look: sizes, digests and statistics, about 2.5 kB a pair."""

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from anyrefill import images
from anyrefill.doctor.listing import Line
from anyrefill.doctor.report import Finding, Severity
from anyrefill.doctor.shift import Grey, Shift, find_shift, local_contrast
from anyrefill.errors import UserError
from anyrefill.files import sha256_of
from anyrefill.metrics import colourfulness, luma
from anyrefill.metrics.faces import Faces, PairFaces, compare
from anyrefill.types import Panel, Size

__all__ = ["Look", "MaskLook", "PairLook", "Traits", "finding", "look_at_pair", "panels_of", "size_text"]

SIXTEEN_BITS = re.compile(r";16[BLN]")
"""In the name of a raw mode, e.g. RGB;16B, that PIL has already rounded to 8 bits."""

SIDE = 256
"""Pixels of the longer side of the copies that statistics are made of."""

Pixels = Float[np.ndarray, "H W 3"]
"""A small copy of a picture, 0-255."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What tells a drawing, a mask, a grey or a noisy picture from a photograph.

    Attributes:
        colour: Hasler and Suesstrunk's colourfulness on the 0-255 scale; 0 is grey.
        tones: entropy of the grey levels in bits, 0-8.
        grain: standard deviation in the flattest tenth of the picture, of 255; noise shows there first.
        detail: mean of the Laplacian's magnitude, of 255.
        brightness: mean grey, 0-255.
    """

    colour: float
    tones: float
    grain: float
    detail: float
    brightness: float


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is kept of a panel.

    Attributes:
        path: of the file.
        sha256: of the file's bytes, as hexadecimal digits.
        size: (height, width) in pixels, upright.
        conversion: what is lost when it becomes 8-bit RGB, or empty.
        is_blank: whether all pixels are the same, up to 2 of 255.
        perceptual_hash: 64 bits that copies and resized copies share; 0 if blank.
        traits: statistics of its pixels.
    """

    path: Path
    sha256: str
    size: Size
    conversion: str
    is_blank: bool
    perceptual_hash: int
    traits: Traits


@dataclass(frozen=True, kw_only=True)
class MaskLook:
    """What is kept of a mask.

    Attributes:
        path: of the file.
        sha256: of the file's bytes.
        size: (height, width) in pixels.
        painted: share of its pixels that say paint.
        problem: why it says nothing, or empty.
    """

    path: Path
    sha256: str
    size: Size
    painted: float
    problem: str


@dataclass(frozen=True, kw_only=True)
class PairLook:
    """What is kept of a pair.

    Attributes:
        line: of `metadata.jsonl`.
        caption: the user's words, maybe empty.
        reference: the left panel.
        target: the right panel.
        mask: None if the line names none.
        shift: of the target against the reference; None where a panel is blank.
        faces: of both panels; None where nobody looked for them.
    """

    line: int
    caption: str
    reference: Look
    target: Look
    mask: MaskLook | None
    shift: Shift | None
    faces: PairFaces | None


def look_at_pair(line: Line, faces: Faces | None = None) -> PairLook | list[UserError]:
    """Read a pair's pictures once; return what is kept of them, or why some of them cannot be read.

    Args:
        line: that names them.
        faces: what finds faces, if any shall be looked for.
    """
    row = line.row
    reference, target = _readable(row.reference), _readable(row.target)
    mask = None if row.mask is None else _readable(row.mask)
    problems = [read for read in (reference, target, mask) if isinstance(read, UserError)]
    if isinstance(reference, UserError) or isinstance(target, UserError) or isinstance(mask, UserError):
        return problems
    seen, shown = _small(reference), _small(target)
    left, right = _look(row.reference, reference, seen), _look(row.target, target, shown)
    is_comparable = not (left.is_blank or right.is_blank)
    return PairLook(
        line=line.number,
        caption=row.caption,
        reference=left,
        target=right,
        mask=None if row.mask is None or mask is None else _look_at_mask(row.mask, mask),
        shift=_shift(seen, shown, max(left.size)) if is_comparable else None,
        faces=None if faces is None else compare(*(faces.find(_panel(np.asarray(one))) for one in (reference, target))),
    )


def _shift(reference: Pixels, target: Float[np.ndarray, "h w 3"], side: int) -> Shift:
    """Return the shift between small copies of two panels, in pixels of a reference whose longer side is given."""
    height, width = reference.shape[:2]
    stretched = target if target.shape == reference.shape else np.asarray(cv2.resize(target, (width, height)))
    return find_shift(_grey(reference), _grey(stretched), scale=side / max(height, width))


def _readable(path: Path) -> Image.Image | UserError:
    """Return a picture as 8-bit RGB, or why it cannot be read."""
    try:
        return images.load(path)
    except UserError as error:
        return error


def _look(path: Path, picture: Image.Image, pixels: Pixels) -> Look:
    """Return what is kept of a panel and its small copy."""
    extrema = np.asarray(picture.getextrema())
    is_blank = bool((extrema[:, 1] - extrema[:, 0]).max() <= 2)
    return Look(
        path=path,
        sha256=sha256_of(path),
        size=(picture.height, picture.width),
        conversion=_conversion(path),
        is_blank=is_blank,
        perceptual_hash=0 if is_blank else _perceptual_hash(picture),
        traits=_traits(pixels),
    )


def _look_at_mask(path: Path, picture: Image.Image) -> MaskLook:
    """Return what is kept of a mask."""
    size, painted, problem = (picture.height, picture.width), 0.0, ""
    try:
        painted = images.to_mask(path, size).mean().item()
    except UserError as error:
        problem = str(error)
    return MaskLook(path=path, sha256=sha256_of(path), size=size, painted=painted, problem=problem)


def _conversion(path: Path) -> str:
    """Return what a picture that can be read loses when it becomes 8-bit RGB, or nothing."""
    with Image.open(path) as picture:
        if picture.mode[0] in "IF" or SIXTEEN_BITS.search(str(picture.tile)):
            return "has more than 8 bits a channel and is rounded to 8"
        if picture.mode not in ("1", "L", "P", "RGB", "LA", "PA", "RGBA"):
            return f"has the colour mode {picture.mode} and is converted to RGB"
        if not picture.has_transparency_data:
            return ""
        low, _ = picture.convert("RGBA").getchannel("A").getextrema()
        return "has transparent parts, which become white" if low < 255 else ""  # pyright: ignore[reportOperatorIssue]


def _small(picture: Image.Image) -> Pixels:
    """Return a copy whose longer side is at most `SIDE`."""
    scale = max(1.0, max(picture.size) / SIDE)
    size = (max(1, round(picture.width / scale)), max(1, round(picture.height / scale)))
    resized = picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0) if scale > 1 else picture
    return np.asarray(resized, dtype=np.float32)


def _grey(pixels: Pixels) -> Grey:
    """Return the luma, 0-255."""
    return np.asarray((luma(_panel(pixels))[0] + 1) * 127.5)


def _panel(pixels: Pixels | UInt8[np.ndarray, "H W 3"]) -> Panel:
    """Return a picture or a small copy as metrics take it, in [-1, 1]."""
    return torch.tensor(pixels).permute(2, 0, 1) / 127.5 - 1


def _traits(pixels: Pixels) -> Traits:
    """Return the statistics of a small copy."""
    grey = _grey(pixels)
    shares = np.bincount(grey.round().astype(np.intp).ravel()) / grey.size
    shares = shares[shares > 0]
    return Traits(
        colour=colourfulness(_panel(pixels)),
        tones=float(-(shares * np.log2(shares)).sum()),
        grain=float(np.percentile(local_contrast(grey), 10)),
        detail=float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean()),
        brightness=float(grey.mean()),
    )


def _perceptual_hash(picture: Image.Image) -> int:
    """Return one bit for each of the 64 lowest frequencies of the grey picture: above the median or not.

    The mean brightness has no bit of its own, so that a brighter copy has the same hash.

    Source: Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions, section 3.2.1.
    """
    grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float32)
    lowest = np.asarray(cv2.dct(grey))[:8, :8].ravel()
    lowest[0] = median = np.median(lowest[1:])
    return int.from_bytes(np.packbits(lowest > median).tobytes(), "big")


def panels_of(pair: PairLook) -> tuple[tuple[str, Look], tuple[str, Look]]:
    """Return both panels of a pair with their names."""
    return ("reference", pair.reference), ("target", pair.target)


def finding(pair: PairLook, check: str, severity: Severity, sentence: str, *more: Path) -> Finding:
    """Return a finding about a pair, with its panels and more pictures to look at."""
    pictures = (pair.reference.path, pair.target.path, *more)
    return Finding(check=check, severity=severity, line=pair.line, sentence=sentence, pictures=pictures)


def size_text(size: Size) -> str:
    """Return a size as people write it, width first."""
    return f"{size[1]} x {size[0]} px"
