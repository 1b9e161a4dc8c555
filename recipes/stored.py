"""What recipes measured: JSON files in docs/results, which are committed, and from which every page is written."""

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"


def stored(path: Path, nothing: Any) -> Any:  # JSON is of any type
    """Return what a file holds, or what stands for nothing where there is none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else nothing
