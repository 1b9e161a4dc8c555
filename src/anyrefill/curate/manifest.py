"""Writing what was curated: the folder of pairs, and where every byte of it comes from.

Beside ``metadata.jsonl``, which `pairs.PairFolder` and ``load_dataset("imagefolder")`` read, there are:

- ``manifest.jsonl``, one line for each pair in the same order: sources and outputs with their SHA-256, licence, seed,
  and what was drawn;
- ``curation.json``: the task, the settings, the versions of the tools, and every candidate that gave no pair, with the
  reason.
"""

import json
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import final

from anyrefill.curate.outcome import Outcome
from anyrefill.errors import UserError
from anyrefill.files import sha256_of, whole_folder, write_text
from anyrefill.pairs import Pair, PairFolder, write_pairs

__all__ = ["CURATION", "MANIFEST", "Rejection", "Report", "check_free", "write"]

MANIFEST = "manifest.jsonl"
CURATION = "curation.json"

_TOOLS = ("anyrefill", "torch", "numpy", "pillow", "opencv-python-headless")
_OPTIONAL_TOOLS = ("transformers", "onnxruntime", "kornia", "h5py", "dlib-bin")
_SHOWN = 20
"""Rejections in the report's text; all are in ``curation.json``."""


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """A candidate that gave no pair.

    Attributes:
        name: of the photograph or photographs.
        reason: one sentence.
    """

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a curation came to.

    Attributes:
        task: whose pairs they are.
        folder: of the pairs.
        pairs: how many there are.
        rejected: the candidates that gave none.
    """

    task: str
    folder: Path
    pairs: int
    rejected: tuple[Rejection, ...]

    def to_text(self) -> str:
        """Return the report for a terminal."""
        lines = [f"{self.pairs} pairs of {self.task} in {self.folder}"]
        if self.rejected:
            lines.append(f"{len(self.rejected)} rejected:")
        lines += [f"  {one.name}: {one.reason}" for one in self.rejected[:_SHOWN]]
        if len(self.rejected) > _SHOWN:
            lines.append(f"  and {len(self.rejected) - _SHOWN} more, all in {self.folder / CURATION}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """Return everything as JSON."""
        return _pretty({"task": self.task, "folder": str(self.folder), **_counted(self.pairs, self.rejected)})


def write(outcomes: Iterable[Outcome], folder: Path, task: str, settings: Mapping[str, object]) -> Report:
    """Write the pairs among the outcomes, the manifest and the reasons, and return the report.

    The folder appears complete or not at all. Nothing in it depends on the clock or on the folder's name: the same
    outcomes give the same bytes.

    Args:
        outcomes: of `from_photos`, `read_listed` or `from_views`; consumed one by one, so that memory holds one pair.
        folder: new, or empty.
        task: its name.
        settings: whatever else ``curation.json`` shall record, JSON values.

    Raises:
        UserError: the folder is not empty or cannot be written, or no outcome has a pair.
    """
    check_free(folder)
    kept = _Kept(outcomes)
    with whole_folder(folder, "pairs") as part:
        count = write_pairs(kept, part)
        _write_manifest(part, task, kept.kept)
        head = {"task": task, "settings": settings, "versions": _versions(), **_counted(count, kept.rejected)}
        write_text(part / CURATION, _pretty(head))
    return Report(task=task, folder=folder, pairs=count, rejected=tuple(kept.rejected))


def check_free(folder: Path) -> None:
    """Refuse a folder that holds anything, before anything slow.

    Raises:
        UserError: it does.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder} is not empty: give a new folder for the pairs.")


@final
class _Kept:
    """Passes pairs on to be written and remembers what else is known, without the pixels."""

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self._outcomes = outcomes
        self.kept: list[Outcome] = []
        self.rejected: list[Rejection] = []

    def __iter__(self) -> Iterator[Pair]:
        """Yield the pairs.

        Raises:
            UserError: there is none.
        """
        for outcome in self._outcomes:
            if outcome.pair is None:
                self.rejected.append(Rejection(name=outcome.name, reason=outcome.reason))
                continue
            self.kept.append(replace(outcome, pair=None))
            known = {"source": outcome.name, "licence": _licence(outcome)}
            yield replace(outcome.pair, extra={**outcome.pair.extra, **known})
        if not self.kept:
            first = f": {self.rejected[0].name}: {self.rejected[0].reason}" if self.rejected else "."
            raise UserError(f"None of {len(self.rejected)} candidates gave a pair{first}")


def _write_manifest(folder: Path, task: str, kept: list[Outcome]) -> None:
    """Write one line for each pair, hashes of what was written included."""
    lines: list[str] = []
    digest = lru_cache(maxsize=64)(sha256_of)  # a view may be in many pairs
    for row, outcome in zip(PairFolder(folder).rows, kept, strict=True):
        files = [path for path in row.files if path is not None]
        line = {
            "task": task,
            "sources": [
                {"file": source.name, "sha256": digest(source.path), "licence": source.licence, "origin": source.origin}
                for source in outcome.sources
            ],
            "outputs": [{"file": path.relative_to(folder).as_posix(), "sha256": sha256_of(path)} for path in files],
            "caption": row.caption,
            "seed": outcome.seed,
            "parameters": outcome.parameters,
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_text(folder / MANIFEST, "".join(lines))


def _licence(outcome: Outcome) -> str:
    """Return the licences of all sources."""
    return " + ".join(sorted({source.licence for source in outcome.sources if source.licence}))


def _counted(pairs: int, rejected: Iterable[Rejection]) -> Mapping[str, object]:
    """Return counts and reasons."""
    rejected = list(rejected)
    return {
        "pairs": pairs,
        "rejected": len(rejected),
        "reasons": dict(sorted(Counter(one.reason for one in rejected).items())),
        "rejections": [{"name": one.name, "reason": one.reason} for one in rejected],
    }


def _versions() -> Mapping[str, str]:
    """Return the versions of what pixels went through."""
    found = {"python": platform.python_version()}
    for tool in (*_TOOLS, *_OPTIONAL_TOOLS):
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return found


def _pretty(value: object) -> str:
    """Return JSON for people too."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
