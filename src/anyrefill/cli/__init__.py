"""The command line: one verb for each stage, one module for each verb.

A command is a flat frozen dataclass, which tyro parses, and a function that runs it. What is slow to import is
imported when a command runs, so that help and mistakes answer at once.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from errno import EACCES, ENAMETOOLONG, ENOSPC, EROFS
from itertools import dropwhile, takewhile
from typing import Any, NoReturn

import tyro
from tyro.conf import FlagCreatePairsOff

from anyrefill.cli.bench import Bench, bench
from anyrefill.cli.convert import Convert, convert
from anyrefill.cli.curate import Curate, curate
from anyrefill.cli.demo import Demo, demo
from anyrefill.cli.doctor import Doctor, doctor
from anyrefill.cli.evaluate import Evaluate, evaluate
from anyrefill.cli.paint import Paint, paint
from anyrefill.cli.tasks import ListTasks, list_tasks
from anyrefill.cli.train import train, train_options
from anyrefill.errors import UserError

__all__ = ["COMMANDS", "Command", "main"]

TOLD = {EACCES: "use", ENAMETOOLONG: "open", ENOSPC: "write", EROFS: "write"}
"""Errors of the system that are nobody's bug, and what could not be done."""

SMALLER = "smaller pictures, fewer of them at once, --offload and fewer bits (--weights) take less"
"""What to do where memory ran out."""

SPINS = "10000"
"""How long GNU's OpenMP lets a thread look for work before it sleeps. By its own default two threads hinder each other
where another program holds a core: 8 steps of deblur take 15 s instead of 0.8, and 2.2 with this (docs/log.md)."""

HELP_TEXT = " " * 8
"""How far tyro indents the help text below an argument that it complains of."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One verb.

    Attributes:
        summary: one line for the help.
        options: returns the dataclass that tyro parses.
        run: takes what was parsed.
    """

    summary: str
    options: Callable[[], type]
    run: Callable[[Any], None]


COMMANDS = {
    "tasks": Command(summary="list the tasks", options=lambda: ListTasks, run=list_tasks),
    "demo": Command(summary="paint every shipped task on bundled photographs", options=lambda: Demo, run=demo),
    "paint": Command(summary="paint the right panel from the reference on its left", options=lambda: Paint, run=paint),
    "curate": Command(summary="make a folder of pairs from photographs", options=lambda: Curate, run=curate),
    "doctor": Command(summary="examine a folder of pairs before training", options=lambda: Doctor, run=doctor),
    "train": Command(summary="train one task's adapter on a folder of pairs", options=train_options, run=train),
    "evaluate": Command(summary="score a task on held-out pairs", options=lambda: Evaluate, run=evaluate),
    "convert": Command(summary="write a LoRA in another program's layout", options=lambda: Convert, run=convert),
    "bench": Command(summary="time painting beside plain diffusers", options=lambda: Bench, run=bench),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; a user's mistake is one sentence on stderr and exit code 2."""
    _print_any_name()
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)  # read when torch is first imported
    try:
        _run(list(sys.argv[1:] if argv is None else argv))
    except UserError as error:
        _fail(str(error))
    except BrokenPipeError:  # whoever read what is printed has left, as head does
        _drop_output()
        sys.exit(141)
    except (OSError, RuntimeError) as error:
        told = _of_torch(error) if isinstance(error, RuntimeError) else _of_the_system(error)
        if not told:
            raise
        _fail(told)
    except KeyboardInterrupt:
        print("anyrefill: stopped.", file=sys.stderr)
        sys.exit(130)


def _of_the_system(error: OSError) -> str:
    """Return what to say of an error that is nobody's bug, or nothing."""
    if error.errno not in TOLD:
        return ""
    if error.filename is None:
        _drop_output()
    return f"Cannot {TOLD[error.errno]} {error.filename or 'what is printed'}: {error.strerror}."


def _of_torch(error: RuntimeError) -> str:
    """Return what to say where torch ran out of memory or has no compiler to call, or nothing."""
    if any(words in str(error) for words in ("out of memory", "can't allocate memory")):
        return f"The memory does not hold this: {SMALLER}."
    if "InvalidCxxCompiler" in str(error):
        return "Compiling needs a C++ compiler, and there is no g++: install it, or leave out --compiled or --compile."
    return ""


def _run(words: Sequence[str]) -> None:
    """Run one command and see what it printed to its end, where a full disk can still be told of."""
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_usage())
            return
        if words[0] not in COMMANDS:
            raise UserError(f"There is no command {words[0]!r}; there are {', '.join(COMMANDS)}.")
        command = COMMANDS[words[0]]
        command.run(_parse(command.options(), words))
    finally:
        print(end="", flush=True)


def _print_any_name() -> None:
    """Let stdout show names of files that its encoding lacks by backslashes."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Let what is printed go nowhere, so that Python does not complain of it once more at the end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage() -> str:
    """Return the help of the command itself."""
    lines = [f"  {name:10} {command.summary}" for name, command in COMMANDS.items()]
    head = ("usage: anyrefill COMMAND ...", "", "Reference-guided image tasks by filling one half of a canvas.", "")
    return "\n".join([*head, *lines, "", "anyrefill COMMAND --help tells more."])


def _parse(options: type, words: Sequence[str]) -> Any:  # noqa: ANN401 - an instance of the options
    """Return a command's options; tyro's framed complaint becomes one sentence."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(options, prog=f"anyrefill {words[0]}", args=words[1:], config=(FlagCreatePairsOff,))
    except SystemExit as stop:
        if not stop.code:
            raise
    raise UserError(f"{_unframed(complaint.getvalue())} (see anyrefill {words[0]} --help).")


def _unframed(box: str) -> str:
    """Return the first paragraph of a box drawn by tyro as part of a sentence, without the help texts in it."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", box).strip("\n")
    lines = dropwhile(_is_rule, [line[2:].rstrip("│ ") for line in plain.splitlines()[1:]])
    paragraph = takewhile(lambda line: line and not _is_rule(line), lines)
    text = " ".join(line.strip() for line in paragraph if not line.startswith(HELP_TEXT)).rstrip(". ")
    text = re.sub(r"^Error parsing (\S+): .*(?: from \[|base 10: )('.*')\]?$", r"\1 cannot be \2", text)
    return text.replace(". ", ": ")


def _is_rule(line: str) -> bool:
    """Return whether a line only separates; tyro draws in ASCII where the terminal has nothing else."""
    return line.startswith(("───", "---"))


def _fail(sentence: str) -> NoReturn:
    """Print one sentence and exit with code 2."""
    sentence = " ".join(sentence.split())
    print(f"anyrefill: {sentence}{'' if sentence.endswith('.') else '.'}", file=sys.stderr)
    sys.exit(2)
