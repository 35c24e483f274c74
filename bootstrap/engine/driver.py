"""One step from probe to its final state."""

from __future__ import annotations

import traceback
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from bootstrap.engine.context import RunContext
from bootstrap.engine.events import ActionEnded, ActionRunning, ActionStarted, StepFailed, UnexpectedError
from bootstrap.engine.machine import State
from bootstrap.engine.retry import STEP
from bootstrap.engine.step import Action, Changes, Conflict, ConflictError, Done, KillSafety, Skip, Step, ToDo
from bootstrap.engine.verdict import ActionRecord, Failure
from bootstrap.engine.waiting import HEARTBEAT_SECONDS, StoppedError
from bootstrap.host.commands import CommandError
from bootstrap.host.errors import FirstlightError, InputError, InterruptedRunError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bootstrap.engine.course import Course
    from bootstrap.engine.proof import Proof
    from bootstrap.engine.scene import Scene
    from bootstrap.engine.step import AnyStep, Found

FactsT = TypeVar("FactsT")
ValueT = TypeVar("ValueT")


class NotYetError(FirstlightError):
    """What is to be judged has not come that far."""


def needed_but_not_selected(
    path: str, summary: str, resume_command: str, complete_command: str
) -> InputError | NotYetError:
    """The refusal of a step that is not done, is needed, and may not be acted on; see `Settings` for the commands."""
    if complete_command:
        return NotYetError(f"{path} is not done", cause=summary, remedy=complete_command)
    return InputError(
        f"{path} is not done and was not selected, but a selected step needs it",
        cause=summary,
        remedy=f"select {path} too, or run all of it: {resume_command}",
    )


def is_ours_alone(step: AnyStep, changes: Iterable[Changes]) -> bool:
    """Whether a step makes nothing but files of our own out of other files, so that it need not be selected."""
    return step.foresee is None and all(change is Changes.FILES for change in changes)


class AbortedError(Exception):
    """The step is left between two of its actions, because the run stops."""


class Driver:
    """Takes one step to a final state.

    Args:
        course: the step, pending.
        scene: what the run's steps share.
    """

    def __init__(self, course: Course, scene: Scene) -> None:
        self._course = course
        self._scene = scene
        self._path = course.node.path
        self._context = RunContext(scene, course)

    def drive(self, *, acting: bool) -> None:
        """To the end, whatever the step's functions raise.

        Args:
            acting: false when the step was not selected and is only there for its value; see `is_ours_alone`.
        """
        try:
            self._drive(self._course.node.step, acting=acting)
        except (StoppedError, AbortedError) as error:
            self._course.move(State.ABORTED, str(error))
        except FirstlightError as error:
            self._end_badly(error)
        except BaseException as error:  # noqa: BLE001 # whatever a step raises ends that step, not its thread
            self._end_unexpectedly(error)
        finally:
            self._course.outside = self._scene.meter.thread_outside_seconds

    def _drive(self, step: Step[FactsT, ValueT], *, acting: bool) -> None:
        self._course.move(State.PROBING)
        found = self._seen_ahead() or self._probe(step)
        if isinstance(found, Conflict):
            raise ConflictError(found)
        if isinstance(found, ToDo):
            actions = step.actions(self._context, found.facts)
            if not acting and not is_ours_alone(step, (action.changes for action in actions)):
                scene = self._scene
                raise needed_but_not_selected(self._path, found.summary, scene.resume_command, scene.complete_command)
            acting = True
            self._act(actions)
            found = self._settle(step)
        self._scene.values[self._path] = found.value
        if isinstance(found, Skip):
            self._course.move(State.SKIPPED, found.reason)
            return
        self._course.proofs += found.proofs
        if acting:
            self._course.move(State.DONE, found.evidence)
        else:
            self._course.move(State.SKIPPED, f"not selected; found done: {found.evidence}")

    def _seen_ahead(self) -> Done[Any] | None:
        look = self._scene.ahead.take(self._path, self._scene)
        if look is None:
            return None
        for note in look.notes:
            self._context.note(note)
        for kind, value in look.identities:
            self._context.identify(kind, value)
        return look.found

    def _probe(self, step: Step[FactsT, ValueT]) -> Found[FactsT, ValueT]:
        return self._context.retry(lambda: step.probe(self._context), STEP)

    def _act(self, actions: Sequence[Action]) -> None:
        for index, action in enumerate(actions, start=1):
            if self._scene.cancellation.stopping.is_set():
                reason = self._scene.cancellation.reason
                raise AbortedError(f"{reason} before action {index} of {len(actions)}: {action.description}")
            self._context.refuse_when_late()
            if self._course.state is not State.ACTING:
                self._course.move(State.ACTING)
            if action.writes:
                self._scene.ahead.end()
            self._run_action(action, index, len(actions))

    def _run_action(self, action: Action, index: int, count: int) -> None:
        if action.changes is Changes.CLUSTER:
            self._scene.lease.hold(self._context)
        self._scene.recorder.action_begins(self._path, index, action)
        pulse = _Pulse(self._path, action.description, self._scene)
        began, outside = self._scene.clock.monotonic(), self._scene.meter.thread_outside_seconds
        error = ""
        self._announce(action, index, count)
        try:
            with self._scene.vitals.watch(pulse.beat):
                self._context.retry(partial(self._attempt, action), STEP, once=_is_for_the_probe_to_tell(action))
        except BaseException as raised:
            error = str(raised) or type(raised).__name__
            raise
        finally:
            seconds = self._scene.clock.monotonic() - began
            self._scene.recorder.action_ended(self._path, index, seconds, error)
            self._course.record(
                ActionRecord(
                    action.description,
                    action.reason,
                    action.kill_safety,
                    action.writes,
                    self._course.since_run_began(began),
                    seconds,
                    error,
                    seconds - (self._scene.meter.thread_outside_seconds - outside),
                )
            )
            self._scene.bus.emit(
                ActionEnded(self._path, index, count, action.description, seconds, action.writes, error)
            )
        if action.changes is Changes.CLUSTER:
            # Whoever had the lease meanwhile may have written as well: what was done is then not known to stand.
            self._scene.lease.hold(self._context)

    def _attempt(self, action: Action) -> None:
        if action.changes is Changes.CLUSTER:
            # Again, because the pause before a further attempt may have outlasted the lease.
            self._scene.lease.hold(self._context)
        action.run(self._context)

    def _announce(self, action: Action, index: int, count: int) -> None:
        self._scene.bus.emit(
            ActionStarted(
                self._path,
                index,
                count,
                action.description,
                action.reason,
                action.kill_safety,
                action.recognised_by,
                action.writes,
            )
        )

    def _settle(self, step: Step[FactsT, ValueT]) -> Done[ValueT]:
        """After the actions: wait for the gate, then take the value from it or from a second probe."""
        gate = step.gate(self._context)
        proofs: tuple[Proof, ...] = ()
        if gate is not None:
            self._scene.ahead.end()
            self._course.move(State.WAITING)
            observation = self._context.wait(gate)
            proofs = observation.proofs
            if observation.value is not None:
                return Done(observation.seen, observation.value, proofs)
        found = self._probe(step)
        if isinstance(found, Conflict):
            raise ConflictError(found)
        if isinstance(found, ToDo):
            raise FirstlightError(
                f"{self._path} did what it had to, but its effect is not there",
                cause=found.summary,
                remedy=self._scene.resume_command,
            )
        if isinstance(found, Skip):
            return Done(found.reason, found.value, proofs)
        # The probe looks later than the gate did: what both judged stands as the probe saw it.
        judged = {proof.criterion for proof in found.proofs}
        earlier = tuple(proof for proof in proofs if proof.criterion not in judged)
        return Done(found.evidence, found.value, earlier + found.proofs)

    def _end_badly(self, error: FirstlightError) -> None:
        if isinstance(error, InterruptedRunError):
            self._course.move(State.ABORTED, error.fact)
            return
        if self._scene.cancellation.interrupted.is_set():
            # A child that was asked to end fails; that is the interrupt's doing, not the step's.
            self._course.move(State.ABORTED, f"{self._scene.cancellation.reason} while {self._course.state}")
            return
        details = ""
        # A deadline that ended the attempts hides what the last of them said.
        last = error.__cause__ if isinstance(error, WaitTimeoutError) else error
        if isinstance(last, CommandError):
            details = "\n".join(text for text in (last.stdout, last.stderr) if text)
        failure = Failure.of(error, remedy=self._scene.resume_command)
        self._fail(failure, str(error).splitlines()[0], details)

    def _end_unexpectedly(self, error: BaseException) -> None:
        # Masked before it is made one line: a secret that spans lines is known only as it is.
        message = " ".join(self._scene.bus.redact(str(error)).split())
        summary = f"unexpected error: {type(error).__name__}: {message}"
        text = "".join(traceback.format_exception(error))
        self._scene.bus.emit(UnexpectedError(self._path, summary, text))
        self._fail(Failure(summary, unexpected=True), summary, "")

    def _fail(self, failure: Failure, reason: str, details: str) -> None:
        self._scene.cancellation.fail(self._path)
        self._course.failure = failure
        self._scene.bus.emit(
            StepFailed(
                self._path,
                failure.fact,
                failure.cause,
                failure.remedy,
                failure.problems,
                int(failure.exit_code),
                details,
            )
        )
        self._course.move(State.FAILED, reason)


def _is_for_the_probe_to_tell(action: Action) -> bool:
    """Whether an action that may have had its effect must not be sent again without a look at the world."""
    is_all_or_nothing = action.kill_safety is KillSafety.ATOMIC and action.writes
    return is_all_or_nothing or action.kill_safety is KillSafety.ONCE


class _Pulse:
    """Says from time to time that an action still runs."""

    def __init__(self, path: str, description: str, scene: Scene) -> None:
        self._path = path
        self._description = description
        self._scene = scene
        self._began = self._spoke = scene.clock.monotonic()

    def beat(self) -> None:
        now = self._scene.clock.monotonic()
        if now - self._spoke >= HEARTBEAT_SECONDS:
            self._spoke = now
            self._scene.bus.emit(ActionRunning(self._path, self._description, now - self._began))
