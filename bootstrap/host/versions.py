"""Asks a program which version it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command, CommandError, CommandRunner
from bootstrap.host.programs import Program, Stamp

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.toolchain import Go

# A first start from a cold disk under load was seen to take 5 s.
ASK_SECONDS: Final = 30.0
# What another program with the same name says is shown no longer than this.
SHOWN_CHARACTERS: Final = 80


@dataclass(frozen=True)
class Version:
    """What a program answered.

    Attributes:
        number: its version without `v`; empty when it is not the program that was meant.
        said: the version or, when that is unknown, the first line of its answer.
    """

    number: str
    said: str


def build_of(program: Path) -> str:
    """What tells one build of a program from another without starting it; empty where there is no such file."""
    try:
        file = program.resolve().stat()
    except FileNotFoundError:
        return ""
    return f"{file.st_ino} {file.st_size} {file.st_mtime_ns}"


def version_of(program: Program, path: Path, runner: CommandRunner, go: Go | None) -> Version:
    """Ask a program for its version; whatever it does, this gives an answer.

    Args:
        program: what is meant.
        path: what is asked.
        runner: starts it.
        go: reads the version that a build stamped into a program; only for programs that ask for a `Stamp`.
    """
    if program.asks is None:
        return Version("", "one of our own")
    if isinstance(program.asks, Stamp):
        return _stamped(program.asks, path, runner, go)
    command = Command(path, program.asks.arguments, timeout=ASK_SECONDS, allowed=frozenset(range(256)))
    try:
        answer = runner.run(command)
    except CommandError as error:
        return Version("", f"nothing: {error}")
    for output in (answer.text, answer.stderr.decode("utf-8", "replace")):
        match = re.search(program.asks.pattern, output, re.MULTILINE)
        if match:
            return Version(match.group(1), match.group(1))
    return Version("", _first_line(answer.text) or _first_line(answer.stderr.decode("utf-8", "replace")))


def _stamped(asks: Stamp, path: Path, runner: CommandRunner, go: Go | None) -> Version:
    if go is None:
        return Version("", "nothing: only `go version -m` knows its version")
    try:
        answer = runner.run(Command(go.program, ("version", "-m", str(path)), timeout=ASK_SECONDS))
    except CommandError as error:
        return Version("", f"nothing: {error}")
    match = re.search(rf"^\s+(?:mod|dep)\s+{re.escape(asks.module)}\s+v(\S+)", answer.text, re.MULTILINE)
    return Version(match.group(1), match.group(1)) if match else Version("", _first_line(answer.text))


def _first_line(text: str) -> str:
    return next((line.strip()[:SHOWN_CHARACTERS] for line in text.splitlines() if line.strip()), "")
