"""Errors as a person meets them: fact, cause, next command, and the exit code of the class."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """The tool's exit codes; a child's code is never passed on."""

    DONE = 0
    FAILED = 1
    CHANGES = 2
    INVALID = 3
    LOCKED = 4
    TIMED_OUT = 5
    INTERRUPTED = 130
    TERMINATED = 143


class FirstlightError(Exception):
    """Something went wrong that the tool understands.

    Args:
        fact: what happened, one sentence without a final full stop.
        cause: why, as far as it is known; empty when the fact says it all.
        remedy: the next command to type or the thing to change; empty when there is none.

    Attributes:
        error_class: its row in the engine's table of retries; empty for what is never tried again.
        retry_after: seconds that the other side asked us to wait; 0 when it did not ask.
    """

    exit_code: ExitCode = ExitCode.FAILED
    error_class: str = ""
    retry_after: float = 0.0

    def __init__(self, fact: str, *, cause: str = "", remedy: str = "") -> None:
        super().__init__(fact)
        self.fact = fact
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        """The fact and, when known, its cause."""
        return f"{self.fact}: {self.cause}" if self.cause else self.fact


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        text: what is wrong and, where there is one, what was wanted.
        path: the file, relative to the repository; empty when it is not about a file.
        line: one-based; 0 when unknown.
        column: one-based; 0 when unknown.
        remedy: what resolves it; may be empty.
    """

    text: str
    path: str = ""
    line: int = 0
    column: int = 0
    remedy: str = ""

    def __str__(self) -> str:
        """`file:line:column: text`, the form that editors and CI read."""
        where = ":".join(str(part) for part in (self.path, self.line, self.column) if part)
        return f"{where}: {self.text}" if where else self.text


class InputError(FirstlightError):
    """The input was refused before anything was touched; holds every problem found."""

    exit_code = ExitCode.INVALID

    def __init__(self, fact: str, problems: tuple[Problem, ...] = (), *, cause: str = "", remedy: str = "") -> None:
        super().__init__(fact, cause=cause, remedy=remedy)
        self.problems = problems

    def __str__(self) -> str:
        """The fact, then one problem a line."""
        return "\n  ".join([super().__str__(), *(str(problem) for problem in self.problems)])


class LockedError(FirstlightError):
    """Somebody else holds the cluster or the lab."""

    exit_code = ExitCode.LOCKED


class UnrecordedError(FirstlightError):
    """What was to be done could not be written down before, so it is not done; no wait helps against that."""


class WaitTimeoutError(FirstlightError):
    """A wait reached its deadline; the cause is the last thing that was observed."""

    exit_code = ExitCode.TIMED_OUT


class InterruptedRunError(FirstlightError):
    """The operator asked the run to stop.

    Args:
        signal_number: 2 or 15; decides the exit code, 130 or 143.
    """

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, fact: str, *, signal_number: int, remedy: str = "") -> None:
        super().__init__(fact, remedy=remedy)
        # 15 is SIGTERM; a shell reports 128 + 15.
        self.exit_code = ExitCode.TERMINATED if signal_number == 15 else ExitCode.INTERRUPTED  # noqa: PLR2004
