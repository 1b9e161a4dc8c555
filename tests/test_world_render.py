"""Renderers that share the work: none makes what another one makes, and what one was stopped at is made again."""

from pathlib import Path

import pytest
from PIL import Image
from recipes.world import render

SEEDS = [1, 2, 3]


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Draw plain squares for people, and return where they go."""

    def square(seed: int, side: int, _samples: int) -> tuple[dict[str, Image.Image], dict[str, object]]:
        return {"0.png": Image.new("L", (side, side), seed)}, {"seed": seed}

    monkeypatch.setattr(render, "render_person", square)
    return tmp_path / "people" / "train"


def rendered(people: Path) -> list[str]:
    render.render_all(["people"], SEEDS, 8, 1, root=people.parents[1])
    assert not [path for path in people.iterdir() if path.suffix in (".lock", ".part")]
    return sorted(path.name for path in people.iterdir() if path.is_dir())


def test_what_another_renderer_makes_is_left_to_it(people: Path) -> None:
    with render.claimed(people / "000002") as mine:
        assert mine
        with render.claimed(people / "000002") as other:
            assert not other
        render.render_all(["people"], SEEDS, 8, 1, root=people.parents[1])
        assert not (people / "000002").exists()
    assert rendered(people) == ["000001", "000002", "000003"], "where it was stopped, the same command goes on"


def test_what_is_there_stays(people: Path) -> None:
    first = rendered(people)
    (people / "000001" / "0.png").write_bytes(b"")
    assert rendered(people) == first
    assert (people / "000001" / "0.png").read_bytes() == b""
    assert len((people / "manifest.jsonl").read_text().splitlines()) == 3
