"""A tiny repository with Go recipes, and a runner that real commands pass through."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bootstrap.host.clock import SystemClock
from bootstrap.host.commands import Command, CommandRunner, Result, ShCommandRunner
from bootstrap.host.programs import Program, Question, Use
from bootstrap.host.secret import Redactor
from bootstrap.host.toolbox import Toolbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAIN = """package main

import "fmt"

var version = "unknown"

func main() { fmt.Println("hello", version) }
"""


def hello(name: str = "hello", **changes: object) -> Program:
    fields: dict[str, object] = {
        "name": name, "version": "1.2.3", "recipe": "tools/hello", "package": "example.test/hello", "use": Use.LAB,
        "asks": Question(("-v",), r"^hello (\S+)"), "variables": (("main.version", "1.2.3"),), "seconds": 5,
    }  # fmt: skip
    return Program(**{**fields, **changes})  # type: ignore[arg-type]  # a test may put anything there


class QuickClock(SystemClock):
    """Real time whose pauses are short."""

    def pause(self, seconds: float, cancelled: object) -> bool:
        return super().pause(min(seconds, 0.01), cancelled)  # type: ignore[arg-type]  # the event that came in


@dataclass
class Recorder:
    """Passes commands on and remembers them; `before` may do something first or answer instead."""

    inner: CommandRunner = field(default_factory=lambda: ShCommandRunner(Redactor()))
    before: Callable[[Command], Result | None] = lambda _: None
    commands: list[Command] = field(default_factory=list)

    def run(self, command: Command) -> Result:
        self.commands.append(command)
        return self.before(command) or self.inner.run(command)

    @property
    def builds(self) -> list[Command]:
        return [command for command in self.commands if command.arguments[:1] == ("build",)]


@dataclass
class Bench:
    """A repository, a cache and what was reported."""

    root: Path
    cache: Path
    lines: list[str] = field(default_factory=list)

    def toolbox(self, runner: CommandRunner, *programs: Program, search_path: str | None = None) -> Toolbox:
        return Toolbox(
            self.root, self.cache, runner, self.lines.append,
            os.environ["PATH"] if search_path is None else search_path,
            programs={program.name: program for program in programs or (hello(),)}, clock=QuickClock(),
        )  # fmt: skip

    @property
    def kept(self) -> list[str]:
        """Finished programs and remains of builds, by path below the cache."""
        found = (path.relative_to(self.cache / "programs") for path in self.cache.rglob("*") if path.is_file())
        return sorted(path.as_posix() for path in found if path.parts[0] not in {"locks", "failed"})
