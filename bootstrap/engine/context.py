"""What the functions of one step get from the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar, cast

from bootstrap.engine.events import Note
from bootstrap.engine.machine import State
from bootstrap.engine.retry import Retry
from bootstrap.engine.waiting import Wait
from bootstrap.host.errors import FirstlightError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bootstrap.engine.course import Course
    from bootstrap.engine.retry import Patience
    from bootstrap.engine.scene import Limit, Scene
    from bootstrap.engine.step import Gate, Observation, StepRef

ValueT = TypeVar("ValueT")

# Seconds; how far ahead a question about a deadline alone looks: farther than any deadline.
FOREVER: Final = 1e9


class UndeclaredNeedError(RuntimeError):
    """A step reads the value of a step that it does not name in `needs`; a bug."""


class RunContext:
    """The context of one step of one run; see the protocol `Context`.

    Args:
        scene: what the run's steps share.
        course: this step's way.
    """

    def __init__(self, scene: Scene, course: Course) -> None:
        self._scene = scene
        self._course = course

    @property
    def path(self) -> str:
        """`phase/step`."""
        return self._course.node.path

    def value(self, step: StepRef[ValueT]) -> ValueT:
        """The value of a step that this one needs; see `Context.value`."""
        path = self._scene.path_of_name.get(step.name, step.name)
        if path not in self._course.node.needs:
            raise UndeclaredNeedError(f"{self.path} reads the value of {path} without needing it")
        if path not in self._scene.values:
            raise FirstlightError(f"{self.path} needs the value of {path}, which was skipped")
        # The step that the reference names put its own value there, so the type is the reference's.
        return cast("ValueT", self._scene.values[path])

    def wait(self, gate: Gate[ValueT]) -> Observation[ValueT]:
        """Wait until a condition holds; see `Context.wait`."""
        keep_on = self._course.state is State.ACTING
        return Wait(gate, context=self, scene=self._scene, course=self._course, keep_on=keep_on).run()

    def note(self, text: str) -> None:
        """Say something that no other event says."""
        self._scene.bus.emit(Note(text, self.path))

    def identify(self, kind: str, value: str) -> None:
        """Say whose machine or cluster answers; see `Context.identify`."""
        self._scene.recorder.identify(kind, value)

    def retry(self, call: Callable[[], ValueT], patience: Patience, *, once: bool = False) -> ValueT:
        """Call something again while it is worth it; see `Context.retry`."""
        scene = self._scene
        limit = scene.deadlines.limit(self._course.node.phase.name, FOREVER)
        retry = Retry(
            patience, clock=scene.clock, random=scene.random, cancelled=scene.cancellation.stopping, tell=self.note
        )
        began = scene.clock.monotonic()

        def too_late(error: FirstlightError) -> FirstlightError:
            node = self._course.node
            tried = f'tried "{node.step.title}" for {scene.clock.monotonic() - began:.0f} s'
            return WaitTimeoutError(
                f"phase {node.phase.name}, step {node.step.name}: {tried}; {limit}",
                cause=f"last seen: {error}",
                remedy=error.remedy or scene.resume_command,
            )

        return retry(call, seconds=max(0.0, limit.at - began), once=once, too_late=too_late)

    def outside(self, kind: str) -> AbstractContextManager[None]:
        """While open, time passes for others; see `Context.outside`."""
        return self._scene.meter.outside(kind)

    def limit(self, seconds: float) -> float:
        """A time limit cut to what the deadlines leave; see `Context.limit`."""
        limit = self._scene.deadlines.limit(self._course.node.phase.name, seconds)
        left = limit.at - self._scene.clock.monotonic()
        if left <= 0:
            raise self._too_late(limit)
        return left

    def refuse_when_late(self) -> None:
        """Refuse to begin anything after the deadline of phase or run.

        Raises:
            WaitTimeoutError: it has passed.
        """
        self.limit(FOREVER)

    def _too_late(self, limit: Limit) -> WaitTimeoutError:
        node = self._course.node
        return WaitTimeoutError(
            f"phase {node.phase.name}, step {node.step.name}: "
            f"the deadline of {limit.owner}, {limit.whole:.0f} s, has passed",
            remedy=self._scene.resume_command,
        )
