"""What recipes measured: JSON files in docs/results, which are committed, and from which every page is written."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from anyrefill.files import write_text

DOCS = Path(__file__).parents[1] / "docs"

Whole = TypeVar("Whole")


def stored(path: Path, nothing: Any) -> Any:  # JSON is of any type
    """Return what a file holds, or what stands for nothing where there is none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else nothing


def stored_by_task(path: Path, whole: Callable[..., Whole], **parts: Callable[..., object]) -> dict[str, Whole]:
    """Return a dataclass of each task; `parts` names its fields that are tuples of dataclasses, and of which."""
    return {
        name: whole(**entry | {field: tuple(part(**one) for one in entry[field]) for field, part in parts.items()})
        for name, entry in stored(path, {}).items()
    }


def store_by_task(path: Path, name: str, whole: Any) -> None:
    """Write one task's dataclass for `stored_by_task`; what others have written meanwhile stays."""
    write_text(path, json.dumps(stored(path, {}) | {name: asdict(whole)}, indent=1) + "\n")
