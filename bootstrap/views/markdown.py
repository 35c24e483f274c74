"""`report.md`: a run for people and for a CI system's summary; a function of the report alone."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from bootstrap.views.failure import failure_lines
from bootstrap.views.summary import changes, duration, headline, late, overrun, proof_counts
from bootstrap.views.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bootstrap.views.document import Report, StepReport


def markdown(report: Report) -> str:
    """The whole text: the verdict, what went wrong, times, what was changed, waited for and proven."""
    parts = (_head, _failures, _phases, _steps, _changes, _waits, _proofs, _notes)
    return "\n\n".join(text for part in parts if (text := "\n".join(part(report)))) + "\n"


def _head(report: Report) -> Iterator[str]:
    yield f"# {_inline(f'{report.mark} {headline(report)}')}"
    yield ""
    yield f"{_inline(late(report))}; {duration(report.ours_seconds)} of it ours, the rest was waiting for others."
    yield f"Writes: {report.writes}. Proofs: {proof_counts(report.proofs)}."
    yield ""
    facts = [
        ("run", report.run),
        ("begun", report.started),
        ("command", report.command),
        *report.identity.items(),
        *((f"files of {step}", changes(files)) for step, files in report.changed_inputs.items()),
    ]
    yield from (f"- {_inline(name)}: {_inline(value)}" for name, value in facts if value)


def _failures(report: Report) -> Iterator[str]:
    if report.failures:
        yield "## Failures"
    for failure in report.failures:
        # Each of these lines begins with a word or a dash, so none can end the block.
        yield from ("```text", *failure_lines(failure), "```")


def _phases(report: Report) -> Iterator[str]:
    rows = [
        (
            phase.name,
            phase.state,
            "not begun" if phase.began_seconds is None else late(phase),
            overrun(phase) if phase.over_target else "",
        )
        for phase in report.phases
    ]
    yield from _table("Phases", ("phase", "state", "time", "remark"), rows)


def _steps(report: Report) -> Iterator[str]:
    rows = [(step.path, step.state, _time(step), step.reason) for step in _all(report)]
    yield from _table("Steps", ("step", "state", "time", "what was found"), rows)


def _changes(report: Report) -> Iterator[str]:
    rows = [
        (step.path, action.description, action.reason, duration(action.seconds), action.error)
        for step in _all(report)
        for action in step.actions
        if action.writes
    ]
    yield from _table("Changes", ("step", "action", "reason", "time", "error"), rows)


def _waits(report: Report) -> Iterator[str]:
    rows = [
        (
            step.path,
            wait.description,
            f"{duration(wait.seconds)} of {duration(wait.limit_seconds)}",
            _maybe(wait.usual_seconds),
            duration(wait.ours_seconds),
            wait.seen if wait.held else f"did not hold: {wait.seen}",
        )
        for step in _all(report)
        for wait in step.waits
    ]
    yield from _table("Waits", ("step", "waited for", "time", "usually", "ours", "seen last"), rows)


def _proofs(report: Report) -> Iterator[str]:
    rows = [
        (duration((step.began_seconds or 0.0) + step.seconds), proof.criterion, proof.kind, proof.evidence)
        for step in _all(report)
        for proof in step.proofs
    ]
    yield from _table("Proofs", ("at", "criterion", "how", "what was seen"), rows)


def _notes(report: Report) -> Iterator[str]:
    rows = [(duration(note.seconds), note.step or "run", note.text) for note in report.notes]
    yield from _table("Notes", ("at", "step", "note"), rows)


def _table(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    lines = [f"| {' | '.join(_inline(cell) for cell in row)} |" for row in rows]
    if lines:
        yield from (f"## {title}", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}", *lines)


def _all(report: Report) -> Iterator[StepReport]:
    return (step for phase in report.phases for step in phase.steps)


def _time(step: StepReport) -> str:
    return "-" if step.began_seconds is None else duration(step.seconds)


def _maybe(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)


def _inline(text: str) -> str:
    """A text of others as one cell: no HTML, no markup, no border of its own."""
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", escape(one_line(text), quote=False))
