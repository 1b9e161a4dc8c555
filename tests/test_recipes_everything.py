"""One command rebuilds the embedded backbone: every command of it is one that its recipe takes."""

import argparse
import importlib.util
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from recipes.micro import everything
from torch.distributed import run as torchrun


class Parsed(BaseException):
    """A recipe has read its command line."""


def called(command: list[str]) -> tuple[str, list[str]]:
    """Return the recipe's module and its words, torchrun's taken off."""
    assert command[1] == "-m"
    if command[2] != torchrun.__name__:
        return command[2], command[3:]
    both = torchrun.parse_args(command[3:])
    assert both.module
    return both.training_script, both.training_script_args


def parse(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a recipe read its command line, and go no further."""
    module, words = called(command)
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    if "ArgumentParser(" not in Path(spec.origin).read_text(encoding="utf-8"):
        assert not words, f"{module} takes none"
        return
    original = argparse.ArgumentParser.parse_args

    def parsed(parser: argparse.ArgumentParser) -> None:
        original(parser, words)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed)
    monkeypatch.delitem(sys.modules, module, raising=False)  # runpy warns of a module that is imported already
    with pytest.raises(Parsed):
        runpy.run_module(module, run_name="__main__")


COMMANDS = everything.commands(1.5, 3)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: called(command)[0])
def test_every_command_parses(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy", reason="scipy is the renderer's")
    parse(command, monkeypatch)


def test_a_flag_that_a_recipe_does_not_know_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    command = next(command for command in COMMANDS if "recipes.micro.transformer" in command)
    with pytest.raises(SystemExit):
        parse([*command, "--renamed", "1"], monkeypatch)


def test_a_dry_run_prints_and_runs_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a command was run"))
    monkeypatch.setattr(sys, "argv", ["everything", "--hours-transformer", "2", "--dry-run"])
    everything.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(COMMANDS)
    assert "recipes.micro.transformer --hours 2 --decay 0.6" in "\n".join(lines)


def test_the_first_that_fails_ends_it_in_a_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def python(code: str) -> list[str]:
        return [sys.executable, "-c", code]

    last = tmp_path / "last"
    every = [python("print('one')"), python("raise SystemExit(3)"), python(f"open({str(last)!r}, 'w')")]
    with pytest.raises(SystemExit, match=r"Command 2 ended with code 3; .* --first 2\."):
        everything.run(every)
    assert "one\n[1/3] took 0.0 minutes\n[2/3]" in capfd.readouterr().out
    assert not last.exists()
    everything.run(every, first=3)
    assert "[1/3]" not in capfd.readouterr().out
    assert last.exists()
