"""Every example in README and docs is true: Python runs, commands run or at least parse."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from anyrefill import cli
from anyrefill.backbone.embedded import shipped

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


def commands(only: str = "") -> list[str]:
    """Return every `anyrefill ...` line, of one page or all, comments cut off, continued lines joined."""
    blocks = [text.replace("\\\n", " ") for page, text in examples("sh") if only in ("", page)]
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in dict.fromkeys(lines) if line.startswith("anyrefill ")]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that the examples take for granted: photographs and the guide's task file."""
    for name in ("photo.jpg", "old.jpg", "edges.png"):
        shutil.copy(PHOTO, tmp_path / name)
    for number, photo in enumerate(sorted(PHOTO.parent.glob("*.jpg"))):
        folder = tmp_path / ("photos", "other-photos")[number % 2]
        folder.mkdir(exist_ok=True)
        shutil.copy(photo, folder)
    guide = next(text for page, text in examples("python") if page == "teach-a-task.md")
    (tmp_path / "my_task.py").write_text(guide, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_examples() -> None:
    assert len(commands()) >= 6


@pytest.mark.parametrize("line", commands())
def test_every_command_parses(line: str) -> None:
    words = shlex.split(line)[1:]
    cli._parse(cli.COMMANDS[words[0]].options(), words)


@pytest.mark.skipif("deblur" not in shipped(), reason="the embedded backbone is not in this checkout")
def test_what_the_guide_shows_as_refused_is_refused_so(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = (line for line in commands("paint.md") if "deblur" in line and "--best-of" in line)
    (sentence,) = (text for page, text in examples("text") if page == "paint.md")
    with pytest.raises(SystemExit, match="2"):
        cli.main(shlex.split(line)[1:])
    assert capsys.readouterr().err.splitlines()[-1].split() == sentence.split()
    assert not (desk / "sharp.png").exists()


@pytest.mark.parametrize(("page", "text"), examples("json"))
def test_json_is_json(page: str, text: str) -> None:
    assert page
    json.loads(text)


@pytest.mark.skipif("deblur" not in shipped(), reason="the embedded backbone is not in this checkout")
@pytest.mark.parametrize(("page", "text"), examples("python"))
def test_python_runs(page: str, text: str, desk: Path) -> None:
    before = set(desk.iterdir())
    exec(text, {"__name__": "example"})
    pictures = re.findall(r"(?:save\(f?\"|images\.save\(.*\")([^\"{]+)", text)
    found = [path for path in desk.iterdir() if path not in before]
    assert page
    for name in pictures:
        assert any(path.name.startswith(name) and path.stat().st_size > 1000 for path in found), name


def test_the_guide_s_task_is_the_one_that_its_figures_are_of() -> None:
    (guide,) = (text for page, text in examples("python") if page == "teach-a-task.md")
    assert guide == (ROOT / "benchmarks" / "poster.py").read_text(encoding="utf-8")


@pytest.mark.skipif("deblur" not in shipped(), reason="the embedded backbone is not in this checkout")
def test_the_guide_leads_from_photographs_to_a_scored_picture(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [line for line in commands("teach-a-task.md") if "FLUX" not in line and "my-left" not in line]
    assert [shlex.split(line)[1] for line in steps] == ["curate", "curate", "doctor", "train", "paint", "evaluate"]
    for line in steps:
        words = re.sub(r"--steps \d+|$", " --steps 2", line, count=1)
        cli.main(shlex.split(words if shlex.split(line)[1] in ("train", "paint", "evaluate") else line)[1:])
    assert (desk / "painted.png").exists()
    said = capsys.readouterr().out
    assert "painted.png" in said
    assert "| without the adapter " in said
