"""The catalogues of Sweet Home 3D: what each model is called, whose it is, and the picture that shows it.

Reallusion's people are left out. One in eight models is held out by the hash of its path.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = {
    "BlendSwap-CC-0": "CC0-1.0",
    "BlendSwap-CC-BY": "CC-BY-3.0",
    "KatorLegaz": "CC-BY-3.0",
    "Scopia": "CC-BY-3.0",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A catalogue's entry: the library's folder, its licence, and the facts by name (name, model, icon, width, ...)."""

    folder: Path
    licence: str
    facts: dict[str, str]

    @property
    def words(self) -> str:
        """The name in lower case."""
        return re.sub(r"[^a-z -]", "", self.facts["name"].lower()).strip()

    @property
    def key(self) -> str:
        """What the split goes by."""
        return f"{self.folder.name}{self.facts['model']}"


def entries(world: Path) -> Iterator[Entry]:
    """Yield every entry of every library."""
    for library, licence in LIBRARIES.items():
        folder = world / "furniture" / library
        facts: dict[str, dict[str, str]] = {}
        catalogue = folder / "PluginFurnitureCatalog.properties"
        for line in catalogue.read_text(encoding="latin1").splitlines() if catalogue.is_file() else ():
            if match := re.match(r"(\w+)#(\d+)=(.*)", line.strip()):
                facts.setdefault(match[2], {})[match[1]] = match[3]
        yield from (Entry(folder=folder, licence=licence, facts=each) for each in facts.values())
