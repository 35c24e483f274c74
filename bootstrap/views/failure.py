"""A failure as lines for a person: fact, cause, next command."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bootstrap.engine.verdict import Failure
from bootstrap.host.files import write_atomically
from bootstrap.views.text import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.errors import FirstlightError


def failure_lines(failure: Failure) -> list[str]:
    """Fact, cause, problems and next command; each one line, whatever a program said."""
    lines = [f"error: {failure.fact}"]
    if failure.cause:
        lines.append(f"  cause: {failure.cause}")
    for problem in failure.problems:
        lines.append(f"  - {problem}")
        if problem.remedy:
            lines.append(f"    next: {problem.remedy}")
    if failure.remedy:
        lines.append(f"  next: {failure.remedy}")
    return [line[: -len(line.lstrip())] + one_line(line) for line in lines]


def render_failure(error: FirstlightError) -> str:
    """The same for an error that no run met, ready for standard error."""
    return "\n".join(failure_lines(Failure.of(error)))


def render_unexpected(error: Exception, folder: Path) -> str:
    """One line for an error that nobody foresaw; its traceback goes to a file, so that nothing secret is shown.

    Args:
        error: what came up to the edge.
        folder: gets `errors/<time>.log`, mode 0600.
    """
    path = folder / "errors" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.log"
    # Frames and types without values: a value could be a secret, and no redactor reached this far.
    frames = "".join(traceback.format_tb(error.__traceback__))
    said = f"error: unexpected {type(error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        said = one_line(": ".join([said, error.strerror, *([str(error.filename)] if error.filename else [])]))
    try:
        write_atomically(path, f"{type(error).__name__}\n{frames}".encode(), mode=0o600)
    except OSError as second:
        return f"{said}; the traceback cannot be written to {path}: {second.strerror}"
    return f"{said}; the traceback is in {path}"
