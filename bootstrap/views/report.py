"""Makes the report of a run, and writes it with everything that is a function of it."""

from __future__ import annotations

import json
import resource
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bootstrap.engine.events import Note, RunEnded, RunStarted, Stamped
from bootstrap.engine.proof import ProofKind
from bootstrap.host.files import write_atomically
from bootstrap.views.document import (
    SCHEMA_VERSION,
    ActionReport,
    NoteReport,
    PhaseReport,
    Report,
    SelectionReport,
    ShareReport,
    StepReport,
    WaitReport,
)
from bootstrap.views.encode import encode
from bootstrap.views.junit import junit
from bootstrap.views.markdown import markdown
from bootstrap.views.timeline import timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bootstrap.engine.verdict import PhaseResult, StepResult, Verdict

# What else lies beside `report.json`, by name.
RENDERINGS: Final[Mapping[str, Callable[[Report], str]]] = {
    "report.md": markdown,
    "junit.xml": junit,
    "timeline.html": timeline,
}


@dataclass(frozen=True)
class About:
    """What a run's own events do not say; see `Report` for each."""

    mark: str = ""
    command: str = ""
    only: tuple[str, ...] = ()
    start: str = ""
    skip: tuple[str, ...] = ()
    identity: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    changed_inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Chronicle:
    """Keeps of the events what the verdict does not hold, and makes the report.

    Args:
        about: asked once, when the run ends; some of it is known only then.
    """

    def __init__(self, about: Callable[[], About] = About) -> None:
        self._about = about
        self._began: Stamped | None = None
        self._notes: list[NoteReport] = []

    def read(self, stamped: Stamped) -> Report | None:
        """Take one event; the last one gives the report."""
        event = stamped.event
        if isinstance(event, RunStarted):
            self._began = stamped
        elif isinstance(event, Note):
            self._notes.append(NoteReport(_seconds(stamped.seconds), event.step, event.text))
        elif isinstance(event, RunEnded):
            return self._report(event.verdict, stamped)
        return None

    def _report(self, verdict: Verdict, ended: Stamped) -> Report:
        about = self._about()
        began = self._began
        budgets = began.event if began and isinstance(began.event, RunStarted) else None
        deadlines = {phase.name: phase.deadline for phase in budgets.phases} if budgets else {}
        return Report(
            schema=SCHEMA_VERSION,
            run=verdict.run_id,
            cluster=verdict.cluster,
            mark=about.mark,
            command=about.command,
            selection=SelectionReport(about.only, about.start, about.skip),
            identity=dict(about.identity),
            inputs=dict(about.inputs),
            changed_inputs=dict(about.changed_inputs),
            started=_wall(began or ended),
            ended=_wall(ended),
            state=verdict.state,
            exit_code=verdict.exit_code,
            nothing_to_do=verdict.nothing_to_do,
            writes=verdict.writes,
            seconds=_seconds(verdict.seconds),
            target_seconds=_seconds(verdict.target),
            deadline_seconds=_seconds(budgets.deadline) if budgets else None,
            slack_seconds=_seconds(verdict.target - verdict.seconds),
            over_target=verdict.over_target,
            ours_seconds=_seconds(verdict.ours_seconds),
            outside_seconds={kind: _seconds(seconds) for kind, seconds in verdict.outside.items()},
            # Linux counts it in KiB (getrusage(2)).
            peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            proofs={kind.value: len(verdict.proofs(kind)) for kind in ProofKind},
            failures=verdict.failures,
            phases=tuple(_phase(phase, deadlines.get(phase.name)) for phase in verdict.phases),
            notes=tuple(self._notes),
        )


class ReportWriter:
    """Writes `report.json` when the run ends, however it ends, and then what is a function of it.

    Args:
        folder: of the run; each file is replaced in one go.
        about: see `Chronicle`.
    """

    def __init__(self, folder: Path, about: Callable[[], About] = About) -> None:
        self._folder = folder
        self._chronicle = Chronicle(about)

    def read(self, stamped: Stamped) -> None:
        """Keep what the verdict does not hold; write at the end.

        Raises:
            OSError: a report cannot be written.
        """
        if report := self._chronicle.read(stamped):
            for name, render in {"report.json": as_json, **RENDERINGS}.items():
                # A path whose name is no UTF-8 must not cost the report.
                write_atomically(self._folder / name, render(report).encode(errors="replace"))


def as_json(report: Report) -> str:
    """The text of `report.json`."""
    return json.dumps(encode(report), indent=2, ensure_ascii=False) + "\n"


def _phase(phase: PhaseResult, deadline: float | None) -> PhaseReport:
    return PhaseReport(
        name=phase.name,
        title=phase.title,
        number=phase.number,
        state=phase.state,
        began_seconds=_maybe(phase.began),
        seconds=_seconds(phase.seconds),
        target_seconds=_seconds(phase.target),
        deadline_seconds=_maybe(deadline),
        slack_seconds=_seconds(phase.slack),
        over_target=phase.over_target,
        ours_seconds=_seconds(phase.ours),
        critical=tuple(
            ShareReport(each.step, each.what, _seconds(each.seconds), _seconds(each.ours)) for each in phase.critical
        ),
        steps=tuple(_step(step) for step in phase.steps),
    )


def _step(step: StepResult) -> StepReport:
    return StepReport(
        path=step.path,
        title=step.title,
        state=step.state,
        reason=step.reason,
        began_seconds=_maybe(step.began),
        seconds=_seconds(step.seconds),
        ours_seconds=_seconds(step.ours),
        actions=tuple(
            ActionReport(
                action.description,
                action.reason,
                action.kill_safety,
                action.writes,
                _seconds(action.began),
                _seconds(action.seconds),
                _seconds(action.ours),
                action.error,
            )
            for action in step.actions
        ),
        waits=tuple(
            WaitReport(
                wait.description,
                _seconds(wait.began),
                _seconds(wait.seconds),
                _seconds(wait.limit),
                _seconds(wait.ours),
                _seconds(wait.doubt),
                _maybe(wait.usual),
                wait.seen,
                wait.held,
            )
            for wait in step.waits
        ),
        proofs=step.proofs,
        failure=step.failure,
    )


def _wall(stamped: Stamped) -> str:
    return stamped.wall.isoformat(timespec="milliseconds")


def _seconds(seconds: float) -> float:
    return round(float(seconds), 3)


def _maybe(seconds: float | None) -> float | None:
    return None if seconds is None else _seconds(seconds)
