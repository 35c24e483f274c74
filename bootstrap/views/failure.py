"""A failure as lines for a person: fact, cause, next command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.engine.verdict import Failure

if TYPE_CHECKING:
    from bootstrap.host.errors import FirstlightError


def failure_lines(failure: Failure) -> list[str]:
    """Fact, cause, problems and next command."""
    lines = [f"error: {failure.fact}"]
    if failure.cause:
        lines.append(f"  cause: {failure.cause}")
    for problem in failure.problems:
        lines.append(f"  - {problem}")
        if problem.remedy:
            lines.append(f"    next: {problem.remedy}")
    if failure.remedy:
        lines.append(f"  next: {failure.remedy}")
    return lines


def render_failure(error: FirstlightError) -> str:
    """The same for an error that no run met, ready for standard error."""
    return "\n".join(failure_lines(Failure.of(error)))
