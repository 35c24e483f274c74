"""The bounded wait: looks again and again, says what it saw, and ends.

One thread looks, so no two looks of a wait are ever taken at once. Between them it pauses on one event, which a
watch sets by `wake` and the run's cancellation sets too. The event is cleared before a look and not after it, so
what happens during a look is looked at next.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from bootstrap.engine.events import WaitEnded, WaitObserved, WaitStarted
from bootstrap.engine.pace import Holding, Pace
from bootstrap.engine.step import Conflict, ConflictError, Gate, Observation
from bootstrap.engine.verdict import WaitRecord
from bootstrap.host.errors import FirstlightError, InterruptedRunError, WaitTimeoutError

if TYPE_CHECKING:
    from bootstrap.engine.context import RunContext
    from bootstrap.engine.course import Course
    from bootstrap.engine.scene import Scene

ValueT = TypeVar("ValueT")

# Seconds without a word after which a person begins to wonder whether anything still happens.
HEARTBEAT_SECONDS: Final = 15.0
# What answers slowly is busy, and asking it is part of why: it is left alone for as long as its answer took. Seconds
# of it at most, since a look may also have been held up by one machine that does not answer.
MOST_RESPITE: Final = 5.0


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
        self._usual = scene.recorder.usual_seconds(course.node.path, gate.description)
        self._pace = Pace(gate.interval, gate.slowest, scene.random)
        self._holding = Holding(gate.times, gate.stable)
        self._conflict: Conflict | None = None
        self._standing = Holding(1, gate.grace)
        self._lock = threading.Lock()
        self._seen = ""
        self._spoke = self._began
        # Not the lock above: that one is held while views write, and a watch must not wait for them.
        self._wake_lock = threading.Lock()
        self._woken = threading.Event()
        self._woken_at: float | None = None

    def run(self) -> Observation[ValueT]:
        """Look until the condition held often enough in a row, and for long enough.

        Raises:
            WaitTimeoutError: a limit was reached.
            InterruptedRunError: the operator interrupted.
            StoppedError: another step failed.
            ConflictError: a conflict stood for the gate's grace.
            FirstlightError: what the check raised, when that is not transient.
        """
        path, description = self._course.node.path, self._gate.description
        self._scene.bus.emit(
            WaitStarted(path, description, self._seconds_allowed, self._limit.owner, self._usual),
        )
        held = False
        try:
            with self._scene.cancellation.telling(self._woken), self._scene.vitals.watch(self.beat), self._watching():
                observation = self._look_until_held()
            held = True
        finally:
            self._end(held=held)
        return observation

    def wake(self) -> None:
        """The condition may have changed: look at once; any thread may call this."""
        with self._wake_lock:
            if self._woken_at is None:
                self._woken_at = self._scene.clock.monotonic()
        self._woken.set()

    def beat(self) -> None:
        """Repeat what was seen last, when nothing was said for a while."""
        with self._lock:
            if self._scene.clock.monotonic() - self._spoke < HEARTBEAT_SECONDS:
                return
            self._say(heartbeat=True)

    def _watching(self) -> contextlib.AbstractContextManager[None]:
        return self._gate.watch(self._context, self.wake) if self._gate.watch else contextlib.nullcontext()

    def _look_until_held(self) -> Observation[ValueT]:
        while True:
            woken = self._take_wake_up()
            began = self._scene.clock.monotonic()
            with self._scene.meter.outside("gate"):
                observation = self._look()
            ended = self._scene.clock.monotonic()
            enough = self._holding.looked(holds=observation.holds, woken=woken, began=began, ended=ended)
            stood = self._stands(observation.conflict, woken=woken, began=began, ended=ended)
            news = self._observed(observation)
            if enough:
                return observation
            if observation.conflict is not None and stood:
                raise ConflictError(observation.conflict)
            self.beat()
            self._pause(
                news=news or observation.holds,
                respite=0.0 if observation.holds else min(ended - began, MOST_RESPITE),
            )

    def _take_wake_up(self) -> float | None:
        with self._wake_lock:
            self._woken.clear()
            woken, self._woken_at = self._woken_at, None
        return woken

    def _pause(self, *, news: bool, respite: float) -> None:
        now = self._scene.clock.monotonic()
        left = self._limit.at - now
        if left <= 0:
            raise self._expired()
        remaining = [one for one in (self._holding.remaining(now), self._standing.remaining(now)) if one is not None]
        pause = max(self._pace.next(news=news), respite)
        seconds = min(pause, left, *remaining)
        waiting_for_others = contextlib.nullcontext() if self._holding.holds else self._scene.meter.outside("gate")
        # Whatever stopped the run before the event was cleared is seen here; later, the event is set.
        if not self._leave.is_set():
            with waiting_for_others:
                self._scene.clock.pause(seconds, self._woken)
        if self._leave.is_set():
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

    def _stands(self, conflict: Conflict | None, *, woken: float | None, began: float, ended: float) -> bool:
        """Whether a conflict stood for the gate's grace; another one begins anew."""
        if self._conflict is None or conflict is None or conflict.fact != self._conflict.fact:
            self._standing = Holding(1, self._gate.grace)
        self._conflict = conflict
        return self._standing.looked(holds=conflict is not None, woken=woken, began=began, ended=ended)

    def _observed(self, observation: Observation[ValueT]) -> bool:
        """Tell what was seen where it is news; true when it is."""
        grace = f" (ends the wait when it stands for {self._gate.grace:g} s)" if observation.conflict else ""
        seen = f"{observation.seen}{self._holding.text}{grace}"
        with self._lock:
            news = seen != self._seen
            if news:
                self._seen = seen
                self._say(heartbeat=False)
        return news

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
                self._usual,
            )
        )

    def _end(self, *, held: bool) -> None:
        ended = self._scene.clock.monotonic()
        elapsed = ended - self._began
        ours, doubt = (self._holding.ours(ended), self._holding.doubt) if held else (0.0, 0.0)
        self._course.record(
            WaitRecord(
                self._gate.description,
                self._course.since_run_began(self._began),
                elapsed,
                self._seconds_allowed,
                self._seen,
                held,
                ours,
                doubt,
                self._usual,
            )
        )
        self._scene.bus.emit(
            WaitEnded(self._course.node.path, self._gate.description, self._seen, elapsed, held, ours, doubt)
        )

    def _elapsed(self) -> float:
        return self._scene.clock.monotonic() - self._began

    def _expired(self) -> WaitTimeoutError:
        node = self._course.node
        expired = WaitTimeoutError(
            f"phase {node.phase.name}, step {node.step.name}: "
            f"waited {self._elapsed():.0f} s for {self._gate.description}; {self._limit}",
            cause=f"last seen: {self._seen or 'nothing'}",
            remedy=self._gate.remedy or self._scene.resume_command,
        )
        expired.exit_code = self._gate.expires
        return expired

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
