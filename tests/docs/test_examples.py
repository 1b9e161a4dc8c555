"""Every example in README and docs is true: Python runs, commands run or at least parse."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from anyrefill import cli
from anyrefill.backbone.embedded import shipped
from anyrefill.pairs import Pair, write_pairs
from panels import random_panel

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
PHOTO = ROOT / "src" / "anyrefill" / "assets" / "photos" / "chelsea.jpg"


def examples(language: str) -> list[tuple[str, str]]:
    """Return (page, text) of every fenced block of a language."""
    return [
        (page.name, text)
        for page in PAGES
        for kind, text in FENCE.findall(page.read_text(encoding="utf-8"))
        if kind == language
    ]


def commands() -> list[str]:
    """Return every `anyrefill ...` line, comments cut off, continued lines joined."""
    blocks = [text.replace("\\\n", " ") for _, text in examples("sh")]
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in dict.fromkeys(lines) if line.startswith("anyrefill ")]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that the examples take for granted: photographs, a task file, pairs."""
    for name in ("photo.jpg", "old.jpg"):
        shutil.copy(PHOTO, tmp_path / name)
    guide = next(text for page, text in examples("python") if page == "teach-a-task.md")
    (tmp_path / "posterize.py").write_text(guide, encoding="utf-8")
    (tmp_path / "my_task.py").write_text(guide, encoding="utf-8")
    pairs = [Pair(reference=random_panel(128, 128, seed), target=random_panel(128, 128, seed)) for seed in range(2)]
    write_pairs(pairs, tmp_path / "pairs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_examples() -> None:
    assert len(commands()) >= 6


@pytest.mark.parametrize("line", commands())
def test_every_command_parses(line: str) -> None:
    words = shlex.split(line)[1:]
    cli._parse(cli.COMMANDS[words[0]].options(), words)


@pytest.mark.parametrize(("page", "text"), examples("json"))
def test_json_is_json(page: str, text: str) -> None:
    assert page
    json.loads(text)


@pytest.mark.skipif("deblur" not in shipped(), reason="the embedded backbone is not in this checkout")
def test_the_readme_s_python_runs(desk: Path) -> None:
    text = next(text for page, text in examples("python") if page == "README.md")
    exec(text, {})
    assert (desk / "sharp.png").stat().st_size > 1000


@pytest.mark.skipif("deblur" not in shipped(), reason="the embedded backbone is not in this checkout")
def test_the_guide_leads_from_pairs_to_a_picture(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [line for line in commands() if "posterize.py" in line and "FLUX" not in line]
    assert [shlex.split(line)[1] for line in steps] == ["train", "paint"]
    cli.main(re.sub(r"--steps \d+", "--steps 2 --batch 2", steps[0]).split()[1:])
    cli.main([*steps[1].split()[1:], "--steps", "2"])
    assert (desk / "flat.png").exists()
    assert "flat.png" in capsys.readouterr().out
