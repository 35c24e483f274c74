"""What a journal says: runs and how they ended, identities, what was begun and never finished, how long waits took."""

from __future__ import annotations

import dataclasses
import statistics
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from bootstrap.engine import journal_file
from bootstrap.engine.machine import FINAL_STATES, State
from bootstrap.engine.step import Changes, KillSafety
from bootstrap.host.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from bootstrap.engine.journal_file import Entry, Kept

# Runs whose waits say what is usual: enough for a median, few enough to follow a change of hardware.
RUNS_FOR_USUAL: Final = 5
# From these on a step's probe has looked at what an earlier run left behind.
_LOOKED_AT: Final = frozenset({State.ACTING, State.WAITING, State.DONE})
# In these it turned out not to be done, or not to be as it should be.
_NOT_DONE: Final = frozenset({State.ACTING, State.WAITING, State.FAILED})
# An action that changes our own files alone commits nobody to the inputs that it follows from.
_COMMITTING: Final = frozenset({Changes.MACHINES, Changes.CLUSTER})


class Kind(StrEnum):
    """The kinds of records."""

    HEADER = journal_file.HEADER
    LIFE = "life"
    """Virtual machines were made anew: identities and what was begun count no more."""
    IDENTITY = "identity"
    RUN_BEGINS = "run begins"
    ACTION_BEGINS = "action begins"
    ACTION_ENDED = "action ended"
    STEP_MOVED = "step moved"
    WAIT_ENDED = "wait ended"
    PHASE_ENDED = "phase ended"
    RUN_ENDED = "run ended"


@dataclass(frozen=True)
class BegunAction:
    """An action of which nobody knows whether its effect came about; `error` is empty when it was cut off."""

    run: str
    step: str
    index: int
    at: datetime
    description: str
    changes: Changes
    kill_safety: KillSafety
    recognised_by: str
    error: str = ""


@dataclass(frozen=True)
class StepSeen:
    """Where a step was last in a run, and where before that."""

    state: State
    before: State
    reason: str
    seconds: float


@dataclass(frozen=True)
class PhaseSeen:
    """How a phase ended, and in which run."""

    run: str
    state: State
    seconds: float


@dataclass(frozen=True)
class RunEnd:
    """How a run ended; `failures` are facts, the first decided the exit code."""

    at: datetime
    state: State
    exit_code: int
    seconds: float
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        id: of the run.
        command: what to type to go on with it.
        at: when it began.
        steps: the digest of its inputs for each step's path.
        files: the digest of each file among these.
        end: None when it was killed, or still runs.
        seen: where each step was last, by path.
        waits: seconds of the waits that held, by path and description.
    """

    id: str
    command: str
    at: datetime
    steps: Mapping[str, str]
    files: Mapping[str, str]
    end: RunEnd | None = None
    seen: dict[str, StepSeen] = field(default_factory=dict)
    waits: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether it ended well."""
        return self.end is not None and self.end.state is State.DONE

    @property
    def stopped_at(self) -> tuple[str, ...]:
        """The steps that failed, or else those that were under way when it ended; none when it is done."""
        failed = tuple(path for path, seen in self.seen.items() if seen.state is State.FAILED)
        return failed or tuple(path for path, seen in self.seen.items() if _under_way(seen))


@dataclass(frozen=True)
class Contents:
    """A journal as it is read.

    Attributes:
        cluster: whose it is; empty when there is none yet.
        life: which virtual machines it is about; empty for real ones.
        identities: whose cluster and machines were met, by kind.
        runs: in their order.
        begun: the run that began each step which changed machines or cluster and which no run ended well with since.
        unfinished: actions of which only a probe can say what became of them.
        phases: how each phase ended last, by name.
        done: paths of the steps that were done when a run last looked at them.
    """

    cluster: str = ""
    life: str = ""
    identities: dict[str, str] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    begun: dict[str, str] = field(default_factory=dict)
    unfinished: tuple[BegunAction, ...] = ()
    phases: dict[str, PhaseSeen] = field(default_factory=dict)
    done: frozenset[str] = frozenset()

    @property
    def last(self) -> Run | None:
        """The latest run."""
        return self.runs[-1] if self.runs else None

    def usual_seconds(self, path: str, description: str) -> float | None:
        """The median of what a wait took in the last runs where it held; None when it never did."""
        took = [run.waits[path, description] for run in self.runs if (path, description) in run.waits]
        return statistics.median(took[-RUNS_FOR_USUAL:]) if took else None


def read(path: Path, *, cluster: str) -> Contents:
    """Read a journal; a file that is not there is empty.

    Args:
        path: of the file.
        cluster: whose journal it must be.

    Raises:
        InputError: see `journal_file.read`; or it is another cluster's.
    """
    return understand(journal_file.read(path), path, cluster=cluster)


def understand(kept: Kept, path: Path, *, cluster: str) -> Contents:
    """What records say.

    Args:
        kept: of the file.
        path: for messages.
        cluster: whose journal it must be.

    Raises:
        InputError: a record lacks what its kind has, or the journal is another cluster's.
    """
    reading = _Reading()
    for number, entry in enumerate(kept.entries, start=1):
        try:
            reading.take(entry)
        except (LookupError, ValueError, TypeError, AttributeError):
            raise journal_file.damaged(path, number, f'a record of kind "{entry.kind}" lacks what it has') from None
    if reading.cluster not in {"", cluster}:
        problem = Problem(f'it is the journal of cluster "{reading.cluster}", not of "{cluster}"', str(path), 1)
        remedy = f"put it back to its own folder, or {journal_file.REBUILD}"
        raise InputError("this is another cluster's journal", (problem,), remedy=remedy)
    return reading.contents()


class _Reading:
    """Takes records one by one."""

    def __init__(self) -> None:
        self.cluster = ""
        self._life = ""
        self._identities: dict[str, str] = {}
        self._runs: list[Run] = []
        self._begun: dict[str, str] = {}
        self._unfinished: dict[tuple[str, int], BegunAction] = {}
        self._phases: dict[str, PhaseSeen] = {}
        self._done: set[str] = set()
        self._readers = {
            Kind.HEADER: self._header,
            Kind.LIFE: self._new_life,
            Kind.IDENTITY: self._identity,
            Kind.RUN_BEGINS: self._run_begins,
            Kind.ACTION_BEGINS: self._action_begins,
            Kind.ACTION_ENDED: self._action_ended,
            Kind.STEP_MOVED: self._step_moved,
            Kind.WAIT_ENDED: self._wait_ended,
            Kind.PHASE_ENDED: self._phase_ended,
            Kind.RUN_ENDED: self._run_ended,
        }

    def take(self, entry: Entry) -> None:
        self._readers[Kind(entry.kind)](entry.at, entry.holds)

    def contents(self) -> Contents:
        return Contents(
            self.cluster,
            self._life,
            self._identities,
            tuple(self._runs),
            self._begun,
            tuple(self._unfinished.values()),
            self._phases,
            frozenset(self._done),
        )

    def _header(self, _at: datetime, holds: Mapping[str, Any]) -> None:
        self.cluster = str(holds["cluster"])

    def _new_life(self, _at: datetime, holds: Mapping[str, Any]) -> None:
        self._life = str(holds["life"])
        for remembered in (self._identities, self._begun, self._unfinished, self._phases, self._done):
            remembered.clear()

    def _identity(self, _at: datetime, holds: Mapping[str, Any]) -> None:
        self._identities[holds["kind"]] = holds["value"]

    def _run_begins(self, at: datetime, holds: Mapping[str, Any]) -> None:
        self._runs.append(Run(holds["run"], holds["command"], at, dict(holds["steps"]), dict(holds["files"])))

    def _action_begins(self, at: datetime, holds: Mapping[str, Any]) -> None:
        action = BegunAction(
            self._runs[-1].id,
            holds["step"],
            holds["index"],
            at,
            holds["description"],
            Changes(holds["changes"]),
            KillSafety(holds["kill_safety"]),
            holds["recognised_by"],
        )
        self._unfinished[action.step, action.index] = action
        if action.changes in _COMMITTING:
            self._begun[action.step] = action.run

    def _action_ended(self, _at: datetime, holds: Mapping[str, Any]) -> None:
        key = (holds["step"], holds["index"])
        action = self._unfinished.pop(key, None)
        if action and holds["error"]:
            self._unfinished[key] = dataclasses.replace(action, error=holds["error"])

    def _step_moved(self, _at: datetime, holds: Mapping[str, Any]) -> None:
        path, state, seen = holds["step"], State(holds["state"]), self._runs[-1].seen
        before = seen[path].state if path in seen else State.PENDING
        seen[path] = StepSeen(state, before, holds["reason"], holds["seconds"])
        if state is State.DONE:
            self._done.add(path)
        elif state in _NOT_DONE:
            self._done.discard(path)
        if state in _LOOKED_AT:
            for key in [key for key in self._unfinished if key[0] == path]:
                del self._unfinished[key]

    def _wait_ended(self, _at: datetime, holds: Mapping[str, Any]) -> None:
        if holds["held"]:
            waits, key = self._runs[-1].waits, (holds["step"], holds["description"])
            waits[key] = max(waits.get(key, 0.0), holds["seconds"])

    def _phase_ended(self, _at: datetime, holds: Mapping[str, Any]) -> None:
        self._phases[holds["phase"]] = PhaseSeen(self._runs[-1].id, State(holds["state"]), holds["seconds"])

    def _run_ended(self, at: datetime, holds: Mapping[str, Any]) -> None:
        end = RunEnd(at, State(holds["state"]), holds["exit_code"], holds["seconds"], tuple(holds["failures"]))
        self._runs[-1] = run = dataclasses.replace(self._runs[-1], end=end)
        if run.done:
            for path in [path for path in self._begun if path in run.seen and run.seen[path].state is State.DONE]:
                del self._begun[path]


def _under_way(seen: StepSeen) -> bool:
    began = seen.before is not State.PENDING or seen.state is not State.ABORTED
    return began and (seen.state not in FINAL_STATES or seen.state is State.ABORTED)
