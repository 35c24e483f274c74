"""A program to run and what became of it, as records; `bootstrap.host.commands` does the running."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from bootstrap.host.errors import FirstlightError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bootstrap.host.secret import Secret

# What a child may inherit; everything else (tokens, proxies, the user's own kubeconfig) stays here.
ALLOWED_ENVIRONMENT: Final = (
    "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TERM", "TMPDIR", "TZ", "USER",
)  # fmt: skip


@dataclass(frozen=True)
class MemoryFile:
    """An argument that is the path of a memory file: a secret for a program that wants a file.

    Attributes:
        secret: what the program reads.
        prefix: text before the path in the same argument, for example `--config-patch=@`.
    """

    secret: Secret
    prefix: str = ""

    def __str__(self) -> str:
        """The secret by its reference."""
        return f"{self.prefix}{self.secret}"


@dataclass(frozen=True)
class Command:
    """A program to run.

    Attributes:
        program: its absolute path, as the registry of programs gave it.
        arguments: argv without the program; secrets travel as `MemoryFile`, never as text.
        environment: added to the allow-listed environment; holds no secret but those in `secret_environment`.
        stdin: what the program reads; None gives an empty input.
        timeout: seconds; the whole process group is ended when it is over.
        allowed: exit codes that are answers, not errors.
        folder: working folder; None means the current one.
        hint: how a line begins that the program adds to its errors and that is never their cause; empty for none.
    """

    program: Path
    arguments: tuple[str | MemoryFile, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes | Secret | None = None
    timeout: float = 60.0
    allowed: frozenset[int] = frozenset({0})
    folder: Path | None = None
    hint: str = ""

    def __str__(self) -> str:
        """The command line as a person would type it, secrets by their reference."""
        return " ".join([self.program.name, *map(str, self.arguments)])


@dataclass(frozen=True)
class Result:
    """What a program did.

    Attributes:
        exit_code: one of the allowed ones.
        stdout: all of it.
        stderr: all of it.
        seconds: wall time.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode("utf-8", "replace")


class CommandError(FirstlightError):
    """A program failed, could not be started or took too long.

    Attributes:
        exit_code_seen: the child's code; None when it was ended by us or could not be started.
        stderr: its error output, redacted.
        stdout: its output, redacted.
        timed_out: whether its time limit ended it.
    """

    def __init__(
        self, fact: str, *, cause: str, stdout: str = "", stderr: str = "", exit_code_seen: int | None = None,
        timed_out: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(fact, cause=cause)
        self.exit_code_seen = exit_code_seen
        self.stdout = stdout
        self.stderr = stderr
        self.timed_out = timed_out


class CommandRunner(Protocol):
    """Runs programs; fakes replay what real programs said."""

    def run(self, command: Command) -> Result:
        """Run to the end.

        Raises:
            CommandError: exit code not allowed, not startable, or out of time.
        """


def child_environment(added: Mapping[str, str]) -> dict[str, str]:
    """The allow-listed part of our environment plus what a command adds."""
    inherited = {name: os.environ[name] for name in ALLOWED_ENVIRONMENT if name in os.environ}
    return {**inherited, **added}
