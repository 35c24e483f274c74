"""What a cluster's journal says, for `./invoke status`: the last run, what it left, and what the next one would do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.engine.machine import State
from bootstrap.engine.step import KillSafety
from bootstrap.views.summary import duration
from bootstrap.views.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from bootstrap.engine.graph import Graph
    from bootstrap.engine.inputs import Changed
    from bootstrap.engine.journal_contents import BegunAction, Contents, Run
    from bootstrap.engine.lock import Owner
    from bootstrap.engine.phase import Phase

NEXT: Final = {
    KillSafety.REPEATABLE: "the next run probes it, and does it again when its effect is missing",
    KillSafety.ATOMIC: "the next run probes it: its effect is there as a whole or not at all",
    KillSafety.PARTIAL: "the next run probes it, and does what is left",
    KillSafety.ONCE: "the next run probes it, and does it only where that shows that it never happened",
}


@dataclass(frozen=True)
class PhaseStatus:
    """How far a phase came: in which run, `seconds` None when it did not end."""

    name: str
    state: str
    seconds: float | None
    run: str


@dataclass(frozen=True)
class Status:
    """What is known of a cluster without asking it.

    Attributes:
        cluster: its name.
        journal: path of the file.
        contents: of the journal.
        phases: of the list, in order.
        owner: who works on it at this moment; None when nobody does.
        changed: steps whose inputs are not those of the last run.
        command: what begins a run.
    """

    cluster: str
    journal: str
    contents: Contents
    phases: tuple[PhaseStatus, ...]
    owner: Owner | None
    changed: tuple[Changed, ...]
    command: str

    @property
    def outlook(self) -> str:
        """What the next run would do, one sentence."""
        run = self.contents.last
        if self.owner:
            return "a run is under way; no other one can begin"
        if run is None:
            return "no run has been made; the first one probes every step and does what is missing"
        if refused := [one.step for one in self.changed if one.begun]:
            return f"files changed that {', '.join(refused)} follow from: it is refused without --accept-changed-plan"
        if not run.done:
            where = f" and goes on at {', '.join(run.stopped_at)}" if run.stopped_at else ""
            return f"it probes every step before anything is done{where}"
        taken = " with the files as they are" if self.changed else ""
        return f"the last run is done; another one probes every step{taken} and does what is missing"

    @property
    def next_command(self) -> str:
        """What to type to go on; empty while a run is under way."""
        if self.owner:
            return ""
        if any(one.begun for one in self.changed):
            return f"{self.command} --accept-changed-plan"
        run = self.contents.last
        return run.command if run and not run.done else self.command


def phases_of(graph: Graph, contents: Contents, *, running: bool) -> tuple[PhaseStatus, ...]:
    """How far each phase came.

    Args:
        graph: the phases.
        contents: of the journal.
        running: whether the last run goes on.
    """
    return tuple(_phase(graph, phase, contents, running=running) for phase in graph.phases)


def as_text(status: Status) -> str:
    """Lines of a word and what there is to say about it."""
    contents = status.contents
    rows = [("cluster", status.cluster), ("journal", f"{status.journal}, {_count(len(contents.runs), 'run')}")]
    rows += [("identity", f"{kind}: {value}") for kind, value in sorted(contents.identities.items())]
    rows.append(("running", str(status.owner) if status.owner else "nobody works on it"))
    rows += _last_run(status)
    rows += [("phase", _phase_text(each, contents.last)) for each in status.phases]
    rows += [("unfinished", _unfinished_text(action)) for action in contents.unfinished]
    rows += [("changed", _changed_text(one)) for one in status.changed]
    rows.append(("next", status.outlook))
    if status.next_command:
        rows.append(("command", status.next_command))
    return "".join(f"{word:<11}{one_line(text)}\n" for word, text in rows)


def as_json(status: Status) -> str:
    """The same as one object."""
    contents = status.contents
    found = {
        "cluster": status.cluster,
        "journal": status.journal,
        "runs": len(contents.runs),
        "identities": contents.identities,
        "running": asdict(status.owner) if status.owner else None,
        "last_run": _run_json(contents.last) if contents.last else None,
        "phases": [asdict(each) for each in status.phases],
        "unfinished_actions": [
            {**asdict(action), "at": _time(action.at), "next": NEXT[action.kill_safety]}
            for action in contents.unfinished
        ],
        "changed_inputs": [asdict(one) for one in status.changed],
        "next": status.outlook,
        "command": status.next_command,
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _phase(graph: Graph, phase: Phase, contents: Contents, *, running: bool) -> PhaseStatus:
    run, ended = contents.last, contents.phases.get(phase.name)
    if run and not (ended and ended.run == run.id):
        # Early steps run before their phase; a step that never left pending says nothing.
        begun = [
            node.path
            for node in graph.steps_of(phase)
            if not node.step.early and node.path in run.seen and _was_begun(run, node.path)
        ]
        if begun:
            return PhaseStatus(phase.name, "under way" if running else "cut off", None, run.id)
    if ended:
        return PhaseStatus(phase.name, ended.state.value, ended.seconds, ended.run)
    return PhaseStatus(phase.name, "not begun", None, "")


def _was_begun(run: Run, path: str) -> bool:
    seen = run.seen[path]
    return seen.before is not State.PENDING or seen.state not in {State.ABORTED, State.SKIPPED}


def _last_run(status: Status) -> Iterator[tuple[str, str]]:
    run = status.contents.last
    if run is None:
        return
    where = f" at {', '.join(run.stopped_at)}" if run.stopped_at else ""
    if run.end:
        told = f"{run.end.state.value}{where} after {duration(run.end.seconds)}, exit code {run.end.exit_code}"
    else:
        told = f"{'under way' if status.owner else 'cut off'}{where}"
    yield "last run", f"{run.id}, {_time(run.at)}: {told}"
    yield "", run.command
    for fact in run.end.failures if run.end else ():
        yield "", fact


def _phase_text(phase: PhaseStatus, last: Run | None) -> str:
    took = "" if phase.seconds is None else f" in {duration(phase.seconds)}"
    earlier = f" (run {phase.run})" if phase.run and last and phase.run != last.id else ""
    return f"{phase.name}: {phase.state}{took}{earlier}"


def _unfinished_text(action: BegunAction) -> str:
    how = f"failed: {action.error}" if action.error else f"cut off, begun {_time(action.at)}"
    return (
        f"{action.step}: {action.description} ({how}); {action.kill_safety.value}: {NEXT[action.kill_safety]} "
        f"({action.recognised_by})"
    )


def _changed_text(one: Changed) -> str:
    files = ", ".join(f"{name} {how}" for name, how in one.files.items()) or "the list of its files"
    return f"{one.step}: {files}" + (f"; begun by {one.begun}, which did not end well" if one.begun else "")


def _run_json(run: Run) -> dict[str, object]:
    end = run.end
    return {
        "id": run.id,
        "command": run.command,
        "at": _time(run.at),
        "state": end.state.value if end else "",
        "exit_code": end.exit_code if end else None,
        "seconds": end.seconds if end else None,
        "stopped_at": list(run.stopped_at),
        "failures": list(end.failures) if end else [],
    }


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
