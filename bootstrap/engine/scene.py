"""What all steps of one run share."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from bootstrap.engine.ahead import Ahead
from bootstrap.engine.seams import Lease, NoLease, NoRecorder, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bootstrap.engine.cancellation import Cancellation
    from bootstrap.engine.events import Bus
    from bootstrap.engine.meter import Meter
    from bootstrap.engine.phase import Phase
    from bootstrap.host.clock import Clock


@dataclass(frozen=True)
class Limit:
    """When a wait ends at the latest.

    Attributes:
        at: the clock's seconds.
        owner: whose limit it is, for messages: `the gate`, `phase talos`, `the run`.
        whole: how many seconds the owner had in all.
    """

    at: float
    owner: str
    whole: float

    def __str__(self) -> str:
        return f"the limit of {self.owner} is {self.whole:.0f} s"


class Deadlines:
    """The deadline of the run and, once they have started, those of the phases.

    Args:
        clock: monotonic time.
        run_seconds: the run's deadline from now on.
    """

    def __init__(self, clock: Clock, run_seconds: float) -> None:
        self._clock = clock
        self._run = Limit(clock.monotonic() + run_seconds, "the run", run_seconds)
        self._phases: dict[str, Limit] = {}

    def start(self, phase: Phase) -> None:
        """The phase's deadline counts from now."""
        at = self._clock.monotonic() + phase.limit
        self._phases[phase.name] = Limit(at, f"phase {phase.name}", phase.limit)

    def limit(self, phase: str, seconds: float) -> Limit:
        """The earliest of: so many seconds from now, the phase's deadline if it has started, the run's."""
        own = Limit(self._clock.monotonic() + seconds, "the gate", seconds)
        return min(own, self._phases.get(phase, self._run), self._run, key=lambda limit: limit.at)


class Vitals:
    """Signs of life of all that is going on; the runner asks for them from time to time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._beats: dict[int, Callable[[], None]] = {}
        self._next = 0

    @contextlib.contextmanager
    def watch(self, beat: Callable[[], None]) -> Iterator[None]:
        """While open, `beat` is called from time to time, by another thread."""
        with self._lock:
            self._next += 1
            key = self._next
            self._beats[key] = beat
        try:
            yield
        finally:
            with self._lock:
                del self._beats[key]

    def beat(self) -> None:
        """Let everything that goes on say that it does."""
        with self._lock:
            beats = tuple(self._beats.values())
        for beat in beats:
            beat()


@dataclass(frozen=True)
class Scene:
    """What all steps of one run share.

    Attributes:
        clock: monotonic time.
        bus: hears of everything.
        meter: whose time it is.
        cancellation: whether the run is to stop.
        deadlines: of run and phases.
        resume_command: the next command when nothing better is known.
        complete_command: see `run.Settings`.
        path_of_name: the path of each step by its name.
        values: what the steps gave so far, by path.
        ahead: looks at steps before their turn.
        vitals: signs of life.
        recorder: the memory between runs.
        lease: asked before each write to Kubernetes.
        random: of the jitter of pauses.
    """

    clock: Clock
    bus: Bus
    meter: Meter
    cancellation: Cancellation
    deadlines: Deadlines
    resume_command: str
    path_of_name: Mapping[str, str]
    complete_command: str = ""
    values: dict[str, object] = field(default_factory=dict)
    ahead: Ahead = field(default_factory=Ahead)
    vitals: Vitals = field(default_factory=Vitals)
    recorder: Recorder = field(default_factory=NoRecorder)
    lease: Lease = field(default_factory=NoLease)
    random: Random = field(default_factory=Random)
