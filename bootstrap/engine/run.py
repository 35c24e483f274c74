"""`execute`: phases in, verdict out."""

from __future__ import annotations

import dataclasses
import secrets
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from bootstrap.engine.budgets import critical_path, missed_targets
from bootstrap.engine.cancellation import Cancellation
from bootstrap.engine.course import Course
from bootstrap.engine.events import (
    Bus,
    PhaseOutline,
    RunEnded,
    RunStarted,
    StepOutline,
    UnexpectedError,
    redacted,
)
from bootstrap.engine.interrupts import delivered_to
from bootstrap.engine.machine import FINAL_STATES, State
from bootstrap.engine.phase import DEADLINE_FACTOR, Phase
from bootstrap.engine.runner import Children, Runner
from bootstrap.engine.scene import Deadlines, Scene
from bootstrap.engine.seams import NoLease, NoRecorder
from bootstrap.engine.verdict import Failure, PhaseResult, StepResult, Verdict, sum_of
from bootstrap.host.errors import InterruptedRunError
from bootstrap.host.settings import DEFAULT_WORKERS

if TYPE_CHECKING:
    from datetime import datetime

    from bootstrap.engine.graph import Graph
    from bootstrap.engine.meter import Meter
    from bootstrap.engine.seams import Lease, Recorder
    from bootstrap.engine.selection import Selection
    from bootstrap.host.clock import Clock

Signals = Callable[[Callable[[int], None]], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is told apart from its steps.

    Attributes:
        cluster: the cluster's name.
        resume_command: what to type to go on after a failure or an interrupt.
        target: seconds to ready of the whole run; judged, not enforced.
        deadline: seconds after which waits end; None means twice the target.
        workers: how many steps run at the same time.
        inputs: the digest of what each step follows from, by path; kept by the recorder.
        strict_budgets: whether a missed target makes the run fail.
        complete_command: what does everything, where this run only judges; empty where steps are the operator's choice.
    """

    cluster: str
    resume_command: str
    target: float
    deadline: float | None = None
    workers: int = DEFAULT_WORKERS
    inputs: Mapping[str, str] = field(default_factory=dict)
    strict_budgets: bool = False
    complete_command: str = ""

    @property
    def limit(self) -> float:
        """The deadline in seconds, default included."""
        return self.target * DEADLINE_FACTOR if self.deadline is None else self.deadline


def new_run_id(now: datetime) -> str:
    """A name for a run that sorts by time and that two runs of the same second do not share."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def execute(
    graph: Graph,
    selection: Selection,
    settings: Settings,
    *,
    bus: Bus,
    clock: Clock,
    meter: Meter,
    children: Children,
    signals: Signals = delivered_to,
    recorder: Recorder | None = None,
    lease: Lease | None = None,
    random: Random | None = None,
) -> Verdict:
    """Run the steps and judge the result.

    Args:
        graph: phases and steps.
        selection: which of them; see `selection.select` and `selection.everything`.
        settings: cluster, budgets, resume command.
        bus: hears of everything; its redactor masks the verdict too.
        clock: monotonic time.
        meter: made when the process began its work; command runners count on it.
        children: ends child processes on interrupts.
        signals: catches the operator's signals; the default needs the main thread.
        recorder: the memory between runs; None remembers nothing.
        lease: the cluster to ourselves; None for a cluster that nobody else knows of.
        random: of the jitter of pauses; None takes one of its own.

    Returns:
        The verdict, redacted. What goes wrong in a run, bugs included, is in it and not raised.
    """
    began = clock.monotonic()
    recorder, lease = recorder or NoRecorder(), lease or NoLease()
    scene = Scene(
        clock=clock,
        bus=bus,
        meter=meter,
        cancellation=Cancellation(),
        deadlines=Deadlines(clock, settings.limit),
        resume_command=settings.resume_command,
        complete_command=settings.complete_command,
        path_of_name={node.step.name: path for path, node in graph.nodes.items()},
        recorder=recorder,
        lease=lease,
        random=random or Random(),  # noqa: S311 # jitter is no secret
    )
    courses = {
        path: Course(node, bus=bus, clock=clock, run_began=began, recorder=recorder)
        for path, node in graph.nodes.items()
    }
    runner = Runner(graph, selection, scene, courses=courses, workers=settings.workers, children=children)
    recorder.run_begins(bus.run_id, settings.resume_command, settings.inputs)
    bus.emit(_started(graph, settings))
    bug: tuple[Failure, ...] = ()
    with signals(runner.mailbox.put):
        try:
            runner.run()
        except Exception as error:  # noqa: BLE001 # a bug of the engine itself still ends in a verdict and a report
            bug = (_bug(error, bus),)
        if runner.idle:
            lease.release()
        verdict = _Judge(graph, settings, scene, runner, courses, began).verdict(bug)
        recorder.run_ended(verdict)
        bus.emit(RunEnded(verdict))
    return verdict


def _started(graph: Graph, settings: Settings) -> RunStarted:
    phases = tuple(
        PhaseOutline(
            phase.name,
            phase.title,
            phase.number,
            phase.target,
            phase.limit,
            tuple(StepOutline(node.path, node.step.title) for node in graph.steps_of(phase)),
        )
        for phase in graph.phases
    )
    return RunStarted(settings.cluster, phases, settings.target, settings.limit)


@dataclass(frozen=True)
class _Judge:
    """Makes the verdict of what a runner left."""

    graph: Graph
    settings: Settings
    scene: Scene
    runner: Runner
    courses: Mapping[str, Course]
    began: float

    def verdict(self, bug: tuple[Failure, ...]) -> Verdict:
        steps = {path: self._step(course.result()) for path, course in self.courses.items()}
        phases = tuple(self._phase(phase, steps) for phase in self.graph.phases)
        state = sum_of(tuple(phase.state for phase in phases))
        failures = (*bug, *self._failures(state))
        if bug:
            state = State.FAILED
        verdict = Verdict(
            run_id=self.scene.bus.run_id,
            cluster=self.settings.cluster,
            state=State.DONE if state is State.SKIPPED else state,
            phases=phases,
            failures=failures,
            seconds=self.scene.clock.monotonic() - self.began,
            target=self.settings.target,
            ours_seconds=self.scene.meter.ours_seconds,
            outside=self.scene.meter.by_kind,
        )
        missed = missed_targets(verdict) if self.settings.strict_budgets else ()
        if missed:
            state = State.FAILED if verdict.state is State.DONE else verdict.state
            verdict = dataclasses.replace(verdict, state=state, failures=(*failures, *missed))
        return redacted(verdict, self.scene.bus.redact)

    def _phase(self, phase: Phase, results: Mapping[str, StepResult]) -> PhaseResult:
        steps = tuple(results[node.path] for node in self.graph.steps_of(phase))
        needs = {path: node.needs for path, node in self.graph.nodes.items()}
        began = self.runner.phase_began.get(phase.name)
        ended = self.runner.phase_ended.get(phase.name, self.scene.clock.monotonic())
        return PhaseResult(
            name=phase.name,
            title=phase.title,
            number=phase.number,
            state=sum_of(tuple(step.state for step in steps)),
            began=None if began is None else began - self.began,
            seconds=0.0 if began is None else ended - began,
            target=phase.target,
            steps=steps,
            critical=() if began is None else critical_path(steps, results, needs, began - self.began),
        )

    def _step(self, result: StepResult) -> StepResult:
        """A step that a hard stop left behind is aborted, whatever its thread still does."""
        if result.state in FINAL_STATES:
            return result
        reason = f"{self.scene.cancellation.reason or 'the run ended'} while {result.state}"
        return dataclasses.replace(result, state=State.ABORTED, reason=reason)

    def _failures(self, state: State) -> tuple[Failure, ...]:
        found = [failure for path in self.runner.failed if (failure := self.courses[path].failure)]
        cancellation = self.scene.cancellation
        # A signal that came when everything was done has stopped nothing.
        if cancellation.signal_number and state not in {State.DONE, State.SKIPPED}:
            stopped = InterruptedRunError(
                f"the run was {cancellation.reason}",
                signal_number=cancellation.signal_number,
                remedy=self.settings.resume_command,
            )
            found.insert(0, Failure.of(stopped))
        return tuple(found)


def _bug(error: Exception, bus: Bus) -> Failure:
    message = " ".join(bus.redact(str(error)).split())
    summary = f"unexpected error: {type(error).__name__}: {message}"
    bus.emit(UnexpectedError("", summary, "".join(traceback.format_exception(error))))
    return Failure(summary, unexpected=True)
