"""Progress as plain lines, for terminals without more, pipes and CI."""

from __future__ import annotations

from typing import Final, TextIO

from bootstrap.engine.events import (
    ActionEnded,
    ActionRunning,
    ActionStarted,
    Event,
    Note,
    PhaseEnded,
    PhaseStarted,
    RunEnded,
    RunStarted,
    Stamped,
    StepMoved,
    WaitEnded,
    WaitObserved,
    WaitStarted,
)
from bootstrap.engine.machine import FINAL_STATES, State
from bootstrap.views.summary import duration, headline, summary, usually
from bootstrap.views.text import one_line

# Shorter actions are told once, when they start.
WORTH_AN_END_SECONDS: Final = 1.0


class PlainLines:
    """One line for each thing that a person wants to know: time, step, text. No colour, nothing is rewritten.

    Args:
        stream: standard error.
        log: the log's path, shown when a run fails.
        mark: `LAB` or `REHEARSAL`; empty for real machines.
    """

    def __init__(self, stream: TextIO, *, log: str = "", mark: str = "") -> None:
        self._stream = stream
        self._log = log
        self._mark = mark

    def read(self, stamped: Stamped) -> None:
        """Write what the event is worth.

        Raises:
            OSError: nobody reads any more.
        """
        event = stamped.event
        if isinstance(event, RunEnded):
            marked = [f"{self._mark} {headline(event.verdict)}"] if self._mark else []
            lines = ["", *marked, *summary(event.verdict, log=self._log)]
        else:
            lines = [line] if (line := line_of(stamped)) else []
        if lines:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()


def line_of(stamped: Stamped) -> str:
    """What an event is worth: time, step or phase, text; empty when it is worth no line."""
    text = one_line(_text(stamped.event, stamped.run_id))
    where = getattr(stamped.event, "step", "") or getattr(stamped.event, "phase", "") or "run"
    return f"{stamped.seconds:8.1f} s  {where:<26} {text}" if text else ""


def _text(event: Event, run_id: str) -> str:
    """What a line says; empty when the event is not worth one."""
    return _run_text(event, run_id) or _step_text(event) or _action_text(event) or _wait_text(event)


def _run_text(event: Event, run_id: str) -> str:
    if isinstance(event, RunStarted):
        budget = f"target {duration(event.target)}, deadline {duration(event.deadline)}"
        return f"cluster {event.cluster}, run {run_id}; {budget}"
    if isinstance(event, PhaseStarted):
        number = "" if event.number is None else f" (phase {event.number})"
        return f"begins{number}: {event.title}; target {duration(event.target)}"
    if isinstance(event, PhaseEnded):
        return f"{event.state} in {duration(event.seconds)}; target {duration(event.target)}"
    return event.text if isinstance(event, Note) else ""


def _step_text(event: Event) -> str:
    # A step that was never begun is told by the verdict's table, not by a line of its own.
    if not isinstance(event, StepMoved) or event.before is State.PENDING or event.after not in FINAL_STATES:
        return ""
    return f"{event.after}: {event.reason}" if event.reason else f"{event.after}"


def _action_text(event: Event) -> str:
    if isinstance(event, ActionStarted):
        which = f" [{event.index}/{event.count}]" if event.count > 1 else ""
        return f"{event.description}{which}: {event.reason}"
    if isinstance(event, ActionRunning):
        return f"still at it: {event.description}, for {duration(event.seconds)}"
    if isinstance(event, ActionEnded) and not event.error and event.seconds >= WORTH_AN_END_SECONDS:
        return f"{event.description}: took {duration(event.seconds)}"
    return ""


def _wait_text(event: Event) -> str:
    if isinstance(event, WaitStarted):
        limit = f"at most {duration(event.limit)} (limit of {event.owner}){usually(event.usual)}"
        return f"waiting for {event.description}, {limit}"
    if isinstance(event, WaitObserved):
        passed = f" ({duration(event.seconds)} of {duration(event.limit)}{usually(event.usual)})"
        passed = passed if event.heartbeat else ""
        return f"{'still ' if event.heartbeat else ''}waiting for {event.description}: {event.seen}{passed}"
    if isinstance(event, WaitEnded) and event.held:
        return f"waited {duration(event.seconds)} for {event.description}: {event.seen}"
    return ""
