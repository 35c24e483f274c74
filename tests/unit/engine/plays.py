"""Random plays: graphs of steps that each have an outcome, a stage that notes what really happened, and its end."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from bootstrap.engine import Action, Conflict, Done, Gate, Observation, Phase, Skip, Step, StepRef, ToDo
from bootstrap.engine.events import Bus, Note
from bootstrap.engine.graph import Graph
from bootstrap.engine.machine import State
from bootstrap.engine.meter import Meter
from bootstrap.engine.run import Settings, execute
from bootstrap.engine.runner import Children
from bootstrap.engine.seams import NoRecorder
from bootstrap.engine.selection import everything, select
from bootstrap.engine.testing import FakeClock, FakeSignals, Recording
from bootstrap.host.errors import ExitCode, FirstlightError, InputError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.engine import Context, Found
    from bootstrap.engine.events import Stamped
    from bootstrap.engine.selection import Selection
    from bootstrap.engine.verdict import Verdict

# Seconds of the fake clock, which pauses move: so short that no wait of one step makes another one late.
INTERVAL = 0.01
PATIENCE = 0.05
NEVER = 1e9
# Of the real clock: long enough for another thread to run.
SLOW = 0.0005
# A deaf run fails here instead of never ending.
HEARING = 10.0


class Outcome(Enum):
    """What a step does; its value is how it ends when nothing hinders it, and with which exit code."""

    DONE = "is done", State.DONE, ExitCode.DONE
    ACTS = "acts", State.DONE, ExitCode.DONE
    WAITS = "acts, waits inside an action and for a gate", State.DONE, ExitCode.DONE
    SKIPS = "does not apply", State.SKIPPED, ExitCode.DONE
    INTERRUPTS = "sends a signal from its first action, of which it has more", State.ABORTED, ExitCode.DONE
    CONFLICTS = "finds a conflict", State.FAILED, ExitCode.INVALID
    PROBE_FAILS = "its probe fails", State.FAILED, ExitCode.FAILED
    PROBE_BREAKS = "its probe has a bug", State.FAILED, ExitCode.FAILED
    ACTION_FAILS = "its last action times out", State.FAILED, ExitCode.TIMED_OUT
    ACTION_BREAKS = "its last action has a bug", State.FAILED, ExitCode.FAILED
    NO_EFFECT = "its actions have no effect", State.FAILED, ExitCode.FAILED
    GATE_REFUSES = "its gate is refused", State.FAILED, ExitCode.INVALID
    GATE_EXPIRES = "its gate never holds", State.FAILED, ExitCode.TIMED_OUT

    @property
    def state(self) -> State:
        return self.value[1]

    @property
    def code(self) -> ExitCode:
        return self.value[2]


GATED = {Outcome.WAITS, Outcome.GATE_EXPIRES, Outcome.GATE_REFUSES}
FAILING = tuple(outcome for outcome in Outcome if outcome.state is State.FAILED)
PEACEFUL = tuple(outcome for outcome in Outcome if outcome not in {*FAILING, Outcome.INTERRUPTS})


@dataclass(frozen=True)
class Part:
    """One step of a play."""

    name: str
    phase: str
    outcome: Outcome
    needs: tuple[str, ...]
    early: bool
    actions: int
    slow: bool
    # Whether the memory calls it done, rightly or not.
    remembered: bool


@dataclass(frozen=True)
class Play:
    """What is to happen."""

    parts: tuple[Part, ...]
    only: tuple[str, ...] = ()
    start: str = ""
    skip: tuple[str, ...] = ()
    workers: int = 8
    signals: tuple[int, ...] = (2,)

    def part(self, path: str) -> Part:
        return next(part for part in self.parts if path == f"{part.phase}/{part.name}")

    def mended(self) -> Play:
        """The same without accidents, all of it."""
        parts = (replace(p, outcome=p.outcome if p.outcome in PEACEFUL else Outcome.ACTS) for p in self.parts)
        return replace(self, parts=tuple(parts), only=(), start="", skip=())


@st.composite
def plays(draw: st.DrawFn, outcomes: tuple[Outcome, ...] = tuple(Outcome), *, selecting: bool = True) -> Play:
    """Up to 3 phases of up to 4 steps that need some of the steps before them."""
    layout = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    parts: list[Part] = []
    for number, size in enumerate(layout):
        for _ in range(size):
            before = [part.name for part in parts]
            needs = draw(st.sets(st.sampled_from(before), max_size=3)) if before else set[str]()
            # Half of the steps have nothing special, or few plays would come far.
            outcome = draw(st.sampled_from((*(Outcome.ACTS for _ in outcomes), *outcomes)))
            early, actions, slow = draw(st.booleans()), draw(st.integers(1, 3)), draw(st.booleans())
            actions += outcome is Outcome.INTERRUPTS
            name = f"s{len(parts)}"
            place, ordered = f"p{number}", tuple(sorted(needs))
            parts.append(Part(name, place, outcome, ordered, early, actions, slow, remembered=draw(st.booleans())))
    names = [*(part.name for part in parts), *(f"p{number}" for number in range(len(layout)))]
    some = st.lists(st.sampled_from(names), max_size=3).map(tuple)
    play = Play(
        tuple(parts),
        workers=draw(st.integers(1, 4)),
        signals=draw(st.sampled_from([(2,), (15,), (2, 2), (15, 2)])),
    )
    if selecting and draw(st.booleans()):
        return replace(play, only=draw(some), start=draw(st.sampled_from(["", *names])), skip=draw(some))
    return play


@dataclass
class Stage(NoRecorder):
    """Which effects exist, and in which order everything happened; also the run's memory and one of its readers."""

    effects: set[tuple[str, int]] = field(default_factory=set)
    log: list[tuple[str, str, int]] = field(default_factory=list)
    signals: FakeSignals = field(default_factory=FakeSignals)
    heard: threading.Event = field(default_factory=threading.Event)
    remembered: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: dict[str, int] = field(default_factory=dict)

    def note(self, kind: str, path: str, index: int = 0) -> None:
        with self._lock:
            self.log.append((kind, path, index))

    def was_done(self, path: str) -> bool:
        return path in self.remembered

    def action_begins(self, path: str, index: int, action: Action) -> None:  # noqa: ARG002 # the protocol's
        self._open[path] = int(action.description.split()[-1])
        self.note("begins", path, self._open[path])

    def action_ended(self, path: str, index: int, seconds: float, error: str) -> None:  # noqa: ARG002 # as above
        self.note("ended", path, self._open[path])

    def step_moved(self, path: str, state: State, reason: str, seconds: float) -> None:  # noqa: ARG002 # as above
        self.note(state, path)

    def read(self, stamped: Stamped) -> None:
        """The engine says with a note that it heard a signal."""
        if isinstance(stamped.event, Note):
            self.heard.set()

    def interrupt(self, path: str, numbers: tuple[int, ...]) -> None:
        """Send signals, and go on when the run knows of the first."""
        self.note("signal", path)
        for number in numbers:
            self.signals.send(number)
        assert self.heard.wait(HEARING), "nobody heard the signal"

    def log_of(self, path: str, kind: str = "") -> list[tuple[str, int]]:
        """What happened to one step, all of it or of one kind."""
        return [(each, index) for each, where, index in self.log if where == path and kind in {"", each}]

    @property
    def interrupted(self) -> bool:
        return any(kind == "signal" for kind, _, _ in self.log)

    def perform(self, play: Play) -> Performance:
        """Run a play on this stage, with what earlier ones left on it."""
        self.log.clear()
        self.remembered = {f"{part.phase}/{part.name}" for part in play.parts if part.remembered}
        graph = Graph([self._phase(name, play) for name in dict.fromkeys(part.phase for part in play.parts)])
        try:
            selection = select(graph, only=play.only, start=play.start, skip=play.skip)
        except InputError:
            selection = everything(graph)  # it left nothing
        recording, clock = Recording(), FakeClock()
        verdict = execute(
            graph,
            selection,
            Settings(cluster="lab", resume_command="again", target=NEVER, workers=play.workers),
            bus=Bus("test", clock=clock, redact=str, readers=[recording, self]),
            clock=clock,
            meter=Meter(clock),
            children=Children(stop=lambda: None, kill=lambda: None),
            signals=self.signals,
            recorder=self,
        )
        return Performance(play, graph, selection, recording, verdict, self)

    def _phase(self, name: str, play: Play) -> Phase:
        steps = tuple(_Actor(part, self, play.signals).step for part in play.parts if part.phase == name)
        return Phase(name=name, title=name, target=NEVER, steps=steps)


@dataclass(frozen=True)
class _Actor:
    """Plays one part."""

    part: Part
    stage: Stage
    signals: tuple[int, ...]

    @property
    def path(self) -> str:
        return f"{self.part.phase}/{self.part.name}"

    @property
    def step(self) -> Step[list[int], str]:
        return Step(
            name=self.part.name, title=self.part.name, needs=self.part.needs, early=self.part.early,
            probe=self.probe, actions=self.actions, gate=self.gate,
        )  # fmt: skip

    def probe(self, ctx: Context) -> Found[list[int], str]:
        if self.part.slow:
            time.sleep(SLOW)
        for need in self.part.needs:
            assert ctx.value(StepRef[str](need)) == need
        match self.part.outcome:
            case Outcome.CONFLICTS:
                return Conflict("it belongs to another")
            case Outcome.PROBE_FAILS:
                raise FirstlightError("it cannot be read")
            case Outcome.PROBE_BREAKS:
                raise KeyError(self.path)
            case Outcome.SKIPS:
                return Skip("it does not apply", self.part.name)
            case Outcome.DONE:
                return Done("it was always there", self.part.name)
        wanted = range(1, self.part.actions + 1)
        missing = [index for index in wanted if (self.path, index) not in self.stage.effects]
        return ToDo(missing, f"{missing} are missing") if missing else Done("it is there", self.part.name)

    def actions(self, _ctx: Context, missing: list[int]) -> list[Action]:
        return [
            Action(
                description=f"make {index}",
                reason="it is missing",
                recognised_by="it exists",
                run=partial(self.act, index=index, last=index == missing[-1]),
            )
            for index in missing
        ]

    def act(self, ctx: Context, *, index: int, last: bool) -> None:
        match self.part.outcome:
            case Outcome.WAITS:
                ctx.wait(Gate(description="the inside", check=_looks(3), interval=INTERVAL))
            case Outcome.INTERRUPTS if index == 1:
                time.sleep(4 * SLOW if self.part.slow else 0)  # another step may fail before
                self.stage.interrupt(self.path, self.signals)
            case Outcome.ACTION_FAILS if last:
                raise WaitTimeoutError("it took too long")
            case Outcome.ACTION_BREAKS if last:
                raise ZeroDivisionError
        self.stage.note("effect", self.path, index)
        if self.part.outcome is not Outcome.NO_EFFECT:
            self.stage.effects.add((self.path, index))

    def gate(self, _ctx: Context) -> Gate[str] | None:
        checks = {
            Outcome.WAITS: _looks(2),
            Outcome.GATE_EXPIRES: _looks(10**9),
            Outcome.GATE_REFUSES: _refuse,
        }
        check = checks.get(self.part.outcome)
        return Gate(description="the gate", check=check, interval=INTERVAL, timeout=PATIENCE) if check else None


def _looks(number: int) -> Callable[[Context], Observation[str]]:
    looks = iter(range(1, 10**6))

    def check(_ctx: Context) -> Observation[str]:
        look = next(looks)
        return Observation(look >= number, f"look {look}")

    return check


def _refuse(_ctx: Context) -> Observation[str]:
    raise InputError("it is somebody else's")


@dataclass(frozen=True)
class Performance:
    """What became of a play."""

    play: Play
    graph: Graph
    selection: Selection
    recording: Recording
    verdict: Verdict
    stage: Stage
