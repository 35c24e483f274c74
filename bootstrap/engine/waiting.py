"""The bounded wait: looks again and again, says what it saw, and ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from bootstrap.engine.events import WaitEnded, WaitObserved, WaitStarted
from bootstrap.engine.step import Gate, Observation
from bootstrap.engine.verdict import WaitRecord
from bootstrap.host.errors import FirstlightError, InterruptedRunError, WaitTimeoutError

if TYPE_CHECKING:
    from bootstrap.engine.context import RunContext
    from bootstrap.engine.course import Course
    from bootstrap.engine.scene import Scene

ValueT = TypeVar("ValueT")

# Seconds without a word after which a person begins to wonder whether anything still happens.
HEARTBEAT_SECONDS: Final = 15.0


class StoppedError(Exception):
    """A wait was left because another step failed."""


class Wait(Generic[ValueT]):
    """One wait for one gate.

    Args:
        gate: what is waited for.
        context: handed to the gate's check.
        scene: clock, deadlines, cancellation and bus.
        course: the step that waits.
        keep_on: whether the wait goes on when another step fails, because it stands inside an action.
    """

    def __init__(self, gate: Gate[ValueT], *, context: RunContext, scene: Scene, course: Course, keep_on: bool) -> None:
        self._gate = gate
        self._context = context
        self._scene = scene
        self._course = course
        cancellation = scene.cancellation
        self._leave = cancellation.interrupted if keep_on else cancellation.stopping
        self._began = scene.clock.monotonic()
        self._limit = scene.deadlines.limit(course.node.phase.name, gate.timeout)
        self._seconds_allowed = max(0.0, self._limit.at - self._began)
        self._lock = threading.Lock()
        self._seen = ""
        self._spoke = self._began

    def run(self) -> Observation[ValueT]:
        """Look until the condition held often enough in a row.

        Raises:
            WaitTimeoutError: a limit was reached.
            InterruptedRunError: the operator interrupted.
            StoppedError: another step failed.
            FirstlightError: what the check raised, when that is not transient.
        """
        path, description = self._course.node.path, self._gate.description
        self._scene.bus.emit(WaitStarted(path, description, self._seconds_allowed, self._limit.owner))
        held = False
        try:
            with self._scene.meter.outside("gate"), self._scene.vitals.watch(self.beat):
                observation = self._look_until_held()
            held = True
        finally:
            elapsed = self._elapsed()
            self._course.record(
                WaitRecord(
                    description,
                    self._course.since_run_began(self._began),
                    elapsed,
                    self._seconds_allowed,
                    self._seen,
                    held,
                )
            )
            self._scene.bus.emit(WaitEnded(path, description, self._seen, elapsed, held))
        return observation

    def beat(self) -> None:
        """Repeat what was seen last, when nothing was said for a while."""
        with self._lock:
            if self._scene.clock.monotonic() - self._spoke < HEARTBEAT_SECONDS:
                return
            self._say(heartbeat=True)

    def _look_until_held(self) -> Observation[ValueT]:
        in_a_row = 0
        while True:
            observation = self._look()
            in_a_row = in_a_row + 1 if observation.holds else 0
            self._observed(observation, in_a_row)
            if in_a_row >= self._gate.times:
                return observation
            self.beat()
            left = self._limit.at - self._scene.clock.monotonic()
            if left <= 0:
                raise self._expired()
            if self._scene.clock.pause(min(self._gate.interval, left), self._leave):
                raise self._left()

    def _look(self) -> Observation[ValueT]:
        try:
            return self._gate.check(self._context)
        except FirstlightError as error:
            if self._scene.cancellation.interrupted.is_set():
                raise self._left() from error
            if not self._gate.transient(error):
                raise
            return Observation(holds=False, seen=str(error))

    def _observed(self, observation: Observation[ValueT], in_a_row: int) -> None:
        several = observation.holds and self._gate.times > 1
        seen = f"{observation.seen} ({in_a_row} of {self._gate.times} in a row)" if several else observation.seen
        with self._lock:
            if seen != self._seen:
                self._seen = seen
                self._say(heartbeat=False)

    def _say(self, *, heartbeat: bool) -> None:
        self._spoke = self._scene.clock.monotonic()
        self._scene.bus.emit(
            WaitObserved(
                self._course.node.path,
                self._gate.description,
                self._seen,
                self._elapsed(),
                self._seconds_allowed,
                heartbeat,
            )
        )

    def _elapsed(self) -> float:
        return self._scene.clock.monotonic() - self._began

    def _expired(self) -> WaitTimeoutError:
        node = self._course.node
        limit = f"the limit of {self._limit.owner} is {self._limit.whole:.0f} s"
        return WaitTimeoutError(
            f"phase {node.phase.name}, step {node.step.name}: "
            f"waited {self._elapsed():.0f} s for {self._gate.description}; {limit}",
            cause=f"last seen: {self._seen or 'nothing'}",
            remedy=self._gate.remedy or self._scene.resume_command,
        )

    def _left(self) -> Exception:
        what = f"waiting for {self._gate.description}, last seen: {self._seen or 'nothing'}"
        cancellation = self._scene.cancellation
        if cancellation.interrupted.is_set():
            return InterruptedRunError(
                f"{cancellation.reason} while {what}",
                signal_number=cancellation.signal_number,
                remedy=self._scene.resume_command,
            )
        return StoppedError(f"{cancellation.reason} while this was {what}")
