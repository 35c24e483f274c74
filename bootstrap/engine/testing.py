"""Fakes for the tests of whoever writes steps."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from bootstrap.engine.events import Bus, Event, Reader, Stamped
from bootstrap.engine.graph import Graph
from bootstrap.engine.meter import Meter
from bootstrap.engine.phase import Phase
from bootstrap.engine.run import Settings, execute
from bootstrap.engine.runner import Children
from bootstrap.engine.selection import Selection, everything
from bootstrap.engine.step import Done, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bootstrap.engine.seams import Lease, Recorder
    from bootstrap.engine.verdict import Verdict
    from bootstrap.host.clock import Clock


class FakeClock:
    """Time that passes only by pauses, and then at once."""

    missed = 0.0

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now += seconds

    def pause(self, seconds: float, cancelled: threading.Event) -> bool:
        """Let time pass, unless cancelled already."""
        if cancelled.is_set():
            return True
        self.advance(seconds)
        return cancelled.is_set()


class Recording:
    """A reader that keeps everything."""

    def __init__(self) -> None:
        self.stamped: list[Stamped] = []

    def read(self, stamped: Stamped) -> None:
        """Keep one event."""
        self.stamped.append(stamped)

    @property
    def events(self) -> list[Event]:
        """The events without their stamps."""
        return [stamped.event for stamped in self.stamped]


@dataclass
class FakeSignals:
    """Stands for the operator: `send` delivers a signal's number as the handler would."""

    send: Callable[[int], None] = field(default=lambda _number: None)

    @contextlib.contextmanager
    def __call__(self, deliver: Callable[[int], None]) -> Iterator[None]:
        """Hand the deliverer out while open."""
        self.send = deliver
        yield


def given(name: str, value: object) -> Step[None, object]:
    """A step that is done and has a value; stands for what a phase under test needs of others."""
    return Step(name=name, title=name, probe=lambda _ctx: Done("given", value))


def run_phases(
    phases: Sequence[Phase],
    *,
    values: Mapping[str, object] | None = None,
    readers: Sequence[Reader] = (),
    clock: Clock | None = None,
    selection: Callable[[Graph], Selection] = everything,
    signals: FakeSignals | None = None,
    children: Children | None = None,
    redact: Callable[[str], str] = str,
    workers: int = 8,
    target: float = 600.0,
    recorder: Recorder | None = None,
    lease: Lease | None = None,
    strict_budgets: bool = False,
) -> Verdict:
    """Execute phases on a fake clock.

    Args:
        phases: as a run would get them.
        values: values of steps that the phases need and that are not in them, by name.
        readers: get the events.
        clock: the fake clock, to be advanced by the steps.
        selection: chooses steps.
        signals: the operator.
        children: ends child processes; none by default.
        redact: masks texts.
        workers: how many steps run at the same time; see `Settings`.
        target: of the run, seconds.
        recorder: the memory between runs.
        lease: asked before each write to Kubernetes.
        strict_budgets: whether a missed target makes the run fail.
    """
    clock = clock or FakeClock()
    steps = tuple(given(name, value) for name, value in (values or {}).items())
    # The deadline of what stands for other phases is never reached: nothing in it waits.
    before = (Phase(name="given", title="given", steps=steps, target=1.0),) if steps else ()
    graph = Graph((*before, *phases))
    return execute(
        graph,
        selection(graph),
        Settings(
            cluster="lab",
            resume_command="invoke bootstrap --cluster lab",
            target=target,
            workers=workers,
            strict_budgets=strict_budgets,
        ),
        bus=Bus("test", clock=clock, redact=redact, readers=readers),
        clock=clock,
        meter=Meter(clock),
        children=children or Children(stop=lambda: None, kill=lambda: None),
        signals=signals or FakeSignals(),
        recorder=recorder,
        lease=lease,
        # Jitter of its own for every run, the same in each.
        random=Random(0),  # noqa: S311 # jitter is no secret
    )
