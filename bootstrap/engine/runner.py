"""The whole graph in a bounded pool of threads."""

from __future__ import annotations

import queue
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.engine.driver import Driver
from bootstrap.engine.events import Note, PhaseEnded, PhaseStarted
from bootstrap.engine.machine import State
from bootstrap.engine.verdict import sum_of
from bootstrap.host.commands import GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bootstrap.engine.course import Course
    from bootstrap.engine.graph import Graph, Node
    from bootstrap.engine.phase import Phase
    from bootstrap.engine.scene import Scene
    from bootstrap.engine.selection import Selection

# Seconds between two looks at what goes on without a message; far below the heartbeat that it feeds.
TICK_SECONDS: Final = 1.0
# The same once an interrupt has set limits of seconds.
INTERRUPTED_TICK_SECONDS: Final = 0.05
# Seconds that threads get to notice that their children were killed, before the run ends without them.
LEAVE_SECONDS: Final = 0.5

GOOD: Final = frozenset({State.DONE, State.SKIPPED})


@dataclass(frozen=True)
class Children:
    """How child processes are ended; see `ShCommandRunner.stop_all` and `kill_all`."""

    stop: Callable[[], None]
    kill: Callable[[], None]


class Runner:
    """Runs a graph once.

    One thread, the caller's, decides; each step that runs has a thread of its own. Those are daemons, so that
    a call that never returns cannot keep the process alive after a hard stop.

    Args:
        graph: all steps.
        selection: what is done with each.
        scene: what the steps share.
        courses: one per step, pending.
        workers: how many steps run at the same time.
        children: ends child processes on interrupts.
    """

    def __init__(
        self,
        graph: Graph,
        selection: Selection,
        scene: Scene,
        *,
        courses: Mapping[str, Course],
        workers: int,
        children: Children,
    ) -> None:
        self._graph = graph
        self._selection = selection
        self._scene = scene
        self._courses = courses
        self._workers = workers
        self._children = children
        # A step's path when it ended, a signal's number when one came; safe to fill from a signal handler.
        self.mailbox: queue.SimpleQueue[str | int] = queue.SimpleQueue()
        self.failed: list[str] = []
        self.phase_began: dict[str, float] = {}
        self.phase_ended: dict[str, float] = {}
        self._running: set[str] = set()
        # Those of them that only look ahead of their turn; no step waits for them to get a thread.
        self._looking: set[str] = set()
        self._missed = scene.clock.missed
        self._kill_at: float | None = None
        self._leave_at: float | None = None

    def run(self) -> None:
        """Until every step is in a final state, or a hard stop leaves the rest behind."""
        for path, course in self._courses.items():
            if path not in self._selection.acting | self._selection.probing:
                course.move(State.SKIPPED, "not selected")
        while True:
            self._abort_hindered()
            self._move_phases()
            self._start_ready()
            self._look_ahead()
            if not self._running or self._left_behind():
                break
            self._take_message()
            self._tell_gap()
        self._move_phases()

    @property
    def idle(self) -> bool:
        """Whether no step runs; false after a hard stop that left some behind, which may still write."""
        return not self._running

    def _tell_gap(self) -> None:
        gap = self._scene.clock.missed - self._missed
        if gap > 0:
            self._missed += gap
            self._scene.bus.emit(Note(f"this process did not run for {gap:.0f} s; deadlines were moved by that"))

    def _abort_hindered(self) -> None:
        for path, course in self._courses.items():
            if course.state is State.PENDING and (reason := self._hindrance(self._graph.nodes[path])):
                course.move(State.ABORTED, reason)

    def _hindrance(self, node: Node) -> str:
        """Why a pending step can never start; empty when it still can."""
        cancellation = self._scene.cancellation
        if cancellation.interrupted.is_set():
            return cancellation.reason
        for state in (State.FAILED, State.ABORTED):
            for path, course in self._courses.items():
                if course.state is not state or not self._is_over(path):
                    continue
                if path in node.needs:
                    return f"needs {path}, which {_became(state)}"
                if path in node.after:
                    return f"comes after {path}, which {_became(state)}"
        if self.failed and self._waits_for_its_phase(node):
            return f"{cancellation.reason} before phase {node.phase.name} began"
        return ""

    def _move_phases(self) -> None:
        for phase in self._graph.phases:
            courses = [self._courses[node.path] for node in self._graph.steps_of(phase)]
            states = tuple(course.state for course in courses)
            if self._is_part(phase) and not self._scene.cancellation.stopping.is_set():
                self._begin_phase(phase)
            if not all(course.ended and self._is_over(course.node.path) for course in courses):
                return
            self._end_phase(phase, sum_of(states))
            if not all(state in GOOD for state in states):
                return

    def _is_part(self, phase: Phase) -> bool:
        return any(node.path in self._selection.acting for node in self._graph.steps_of(phase))

    def _waits_for_its_phase(self, node: Node) -> bool:
        return not node.step.early and self._is_part(node.phase) and node.phase.name not in self.phase_began

    def _begin_phase(self, phase: Phase) -> None:
        if phase.name in self.phase_began:
            return
        self.phase_began[phase.name] = self._scene.clock.monotonic()
        self._scene.deadlines.start(phase)
        self._scene.bus.emit(PhaseStarted(phase.name, phase.title, phase.number, phase.target, phase.limit))

    def _end_phase(self, phase: Phase, state: State) -> None:
        if phase.name in self.phase_ended or phase.name not in self.phase_began:
            return
        self.phase_ended[phase.name] = self._scene.clock.monotonic()
        seconds = self.phase_ended[phase.name] - self.phase_began[phase.name]
        self._scene.recorder.phase_ended(phase.name, state, seconds)
        self._scene.bus.emit(PhaseEnded(phase.name, state, seconds, phase.target))

    def _start_ready(self) -> None:
        for path, course in self._courses.items():
            if len(self._running - self._looking) >= self._workers:
                return
            if course.state is State.PENDING and path not in self._running and self._ready(path):
                self._running.add(path)
                threading.Thread(target=self._work, args=(path,), name=path, daemon=True).start()

    def _look_ahead(self) -> None:
        ahead, scene = self._scene.ahead, self._scene
        for path, course in self._courses.items():
            if len(self._running) >= self._workers or scene.cancellation.stopping.is_set():
                return
            if course.state is State.PENDING and path not in self._running:
                node = self._graph.nodes[path]
                if ahead.may_begin(node, scene):
                    self._running.add(path)
                    self._looking.add(path)
                    threading.Thread(target=self._look, args=(node,), name=f"{path} ahead", daemon=True).start()

    def _ready(self, path: str) -> bool:
        node = self._graph.nodes[path]
        return not self._waits_for_its_phase(node) and all(
            self._courses[before].state in GOOD and self._is_over(before) for before in node.needs | node.after
        )

    def _is_over(self, path: str) -> bool:
        """Whether a step's thread is through: its state is final before journal and readers know of it."""
        return path not in self._running - self._looking

    def _work(self, path: str) -> None:
        try:
            Driver(self._courses[path], self._scene).drive(acting=path in self._selection.acting)
        finally:
            self.mailbox.put(path)

    def _look(self, node: Node) -> None:
        try:
            self._scene.ahead.look(node, self._scene)
        finally:
            self.mailbox.put(node.path)

    def _take_message(self) -> None:
        interrupted = self._scene.cancellation.interrupted.is_set()
        try:
            message = self.mailbox.get(timeout=INTERRUPTED_TICK_SECONDS if interrupted else TICK_SECONDS)
        except queue.Empty:
            self._scene.vitals.beat()
            return
        if isinstance(message, str):
            self._running.discard(message)
            self._looking.discard(message)
            if self._courses[message].state is State.FAILED:
                self.failed.append(message)
        else:
            self._interrupt(message)

    def _interrupt(self, number: int) -> None:
        cancellation, now = self._scene.cancellation, self._scene.clock.monotonic()
        if cancellation.interrupted.is_set():
            self._kill_at = now
            self._scene.bus.emit(Note("second signal: everything is ended at once"))
            return
        cancellation.interrupt(number)
        self._kill_at = now + GRACE_SECONDS
        self._scene.bus.emit(
            Note(
                f"{signal.Signals(number).name}: no new action starts, running programs are asked to end "
                f"and get {GRACE_SECONDS:.0f} s; a second signal ends them at once"
            )
        )
        self._children.stop()

    def _left_behind(self) -> bool:
        """After an interrupt: kill what outstays its grace; true when the run ends without the rest."""
        now = self._scene.clock.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            self._leave_at = now + LEAVE_SECONDS
            self._children.kill()
        return self._leave_at is not None and now >= self._leave_at


def _became(state: State) -> str:
    return "failed" if state is State.FAILED else "was aborted"
