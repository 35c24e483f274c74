"""Everything that happens in a run, as typed events, and the bus that hands them to their readers.

Every text of an event passes the redactor before any reader sees it. Seconds are monotonic and count from the
start of the run, unless a name says otherwise.
"""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bootstrap.engine.machine import State
    from bootstrap.engine.step import KillSafety
    from bootstrap.engine.verdict import Verdict
    from bootstrap.host.clock import Clock
    from bootstrap.host.errors import Problem

AnyT = TypeVar("AnyT")


@dataclass(frozen=True)
class StepOutline:
    """A step as a list shows it."""

    path: str
    title: str


@dataclass(frozen=True)
class PhaseOutline:
    """A phase as a list shows it; target and deadline in seconds."""

    name: str
    title: str
    number: int | None
    target: float
    deadline: float
    steps: tuple[StepOutline, ...]


@dataclass(frozen=True)
class RunStarted:
    """The run begins; target and deadline of the whole run in seconds."""

    cluster: str
    phases: tuple[PhaseOutline, ...]
    target: float
    deadline: float


@dataclass(frozen=True)
class PhaseStarted:
    """The phase before is done; the steps that waited for that may start."""

    phase: str
    title: str
    number: int | None
    target: float
    deadline: float


@dataclass(frozen=True)
class PhaseEnded:
    """Every step of the phase is in a final state; seconds since the phase started."""

    phase: str
    state: State
    seconds: float
    target: float


@dataclass(frozen=True)
class StepMoved:
    """A step went from one state to another; seconds since it left pending."""

    step: str
    before: State
    after: State
    reason: str
    seconds: float


@dataclass(frozen=True)
class StepFailed:
    """Why a step failed: fact, cause, next command; `details` is for the log only."""

    step: str
    fact: str
    cause: str
    remedy: str
    problems: tuple[Problem, ...]
    exit_code: int
    details: str


@dataclass(frozen=True)
class ActionStarted:
    """An action is about to run; `index` counts from 1 to `count` within its step."""

    step: str
    index: int
    count: int
    description: str
    reason: str
    kill_safety: KillSafety
    recognised_by: str
    writes: bool


@dataclass(frozen=True)
class ActionRunning:
    """An action still runs; sent from time to time as a sign of life."""

    step: str
    description: str
    seconds: float


@dataclass(frozen=True)
class ActionEnded:
    """An action returned (`error` empty) or raised."""

    step: str
    index: int
    count: int
    description: str
    seconds: float
    writes: bool
    error: str


@dataclass(frozen=True)
class WaitStarted:
    """A gate is waited for, at most `limit` seconds; `owner` says whose limit that is.

    `usual` is the median of the seconds that this wait took in earlier runs; None when it never held.
    """

    step: str
    description: str
    limit: float
    owner: str
    usual: float | None = None


@dataclass(frozen=True)
class WaitObserved:
    """What was seen last: sent when it changes, and again as a heartbeat; `usual` as in `WaitStarted`."""

    step: str
    description: str
    seen: str
    seconds: float
    limit: float
    heartbeat: bool
    usual: float | None = None


@dataclass(frozen=True)
class WaitEnded:
    """The condition held, or the wait ended without it; `ours` and `doubt` as in `WaitRecord`."""

    step: str
    description: str
    seen: str
    seconds: float
    held: bool
    ours: float = 0.0
    doubt: float = 0.0


@dataclass(frozen=True)
class Note:
    """Something that no other event says; `step` is empty when it is about the run."""

    text: str
    step: str = ""


@dataclass(frozen=True)
class UnexpectedError:
    """A bug was met: one line for people, the traceback for the log."""

    step: str
    summary: str
    traceback: str


@dataclass(frozen=True)
class RunEnded:
    """The run is over."""

    verdict: Verdict


Event: TypeAlias = (
    RunStarted
    | PhaseStarted
    | PhaseEnded
    | StepMoved
    | StepFailed
    | ActionStarted
    | ActionRunning
    | ActionEnded
    | WaitStarted
    | WaitObserved
    | WaitEnded
    | Note
    | UnexpectedError
    | RunEnded
)


@dataclass(frozen=True)
class Stamped:
    """An event with its place in the run.

    Attributes:
        run_id: of the run.
        sequence: 1, 2, ... in the order in which readers get them.
        monotonic: the clock's seconds.
        seconds: the same since the bus was made.
        wall: UTC.
        event: what happened, redacted.
    """

    run_id: str
    sequence: int
    monotonic: float
    seconds: float
    wall: datetime
    event: Event


class Reader(Protocol):
    """Gets every event: a view, a log, a journal."""

    def read(self, stamped: Stamped) -> None:
        """Take one event; called by any thread, never by two at once."""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Bus:
    """Hands each event, redacted, to the readers, one after the other, in one order for all.

    Args:
        run_id: stamped on each event.
        clock: monotonic time.
        redact: masks secrets in a text.
        readers: what one raises is noted once and never breaks the run.
        wall: the wall clock.
    """

    def __init__(
        self,
        run_id: str,
        *,
        clock: Clock,
        redact: Callable[[str], str],
        readers: Sequence[Reader] = (),
        wall: Callable[[], datetime] = utc_now,
    ) -> None:
        self.run_id = run_id
        self.redact = redact
        self._clock = clock
        self._wall = wall
        self._began = clock.monotonic()
        self._readers = tuple(readers)
        # Reentrant, because a reader may itself have something to say.
        self._lock = threading.RLock()
        self._sequence = 0
        self._broken: set[int] = set()
        self._closed = False

    def emit(self, event: Event) -> None:
        """Stamp, redact, deliver; after the end of the run, what a thread left behind says is dropped."""
        with self._lock:
            if self._closed:
                return
            self._closed = isinstance(event, RunEnded)
            self._hand_out(event)

    def _hand_out(self, event: Event) -> None:
        stamped = self._stamp(event)
        for note in [note for reader in self._readers if (note := self._deliver(reader, stamped))]:
            self._hand_out(note)

    def _stamp(self, event: Event) -> Stamped:
        self._sequence += 1
        now = self._clock.monotonic()
        return Stamped(
            self.run_id,
            self._sequence,
            now,
            now - self._began,
            self._wall(),
            redacted(event, self.redact),
        )

    def _deliver(self, reader: Reader, stamped: Stamped) -> Note | None:
        try:
            reader.read(stamped)
        except Exception as error:  # noqa: BLE001 # a view that cannot write must not end a bootstrap
            if id(reader) not in self._broken:
                self._broken.add(id(reader))
                return Note(f"{type(reader).__name__} failed: {type(error).__name__}: {error}")
        return None


def redacted(value: AnyT, redact: Callable[[str], str]) -> AnyT:
    """A copy of a record with every text in it redacted, to any depth."""
    return _redacted(value, redact)  # type: ignore[return-value]  # same type by construction, for each branch


def _redacted(value: object, redact: Callable[[str], str]) -> object:
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, tuple):
        return tuple(_redacted(part, redact) for part in value)
    if isinstance(value, dict):
        return {key: _redacted(part, redact) for key, part in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {field.name: _redacted(getattr(value, field.name), redact) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **changed)
    return value
