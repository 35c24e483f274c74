"""What is true of the events of every run, whatever happened in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bootstrap.engine.events import (
    ActionEnded,
    ActionRunning,
    ActionStarted,
    PhaseEnded,
    PhaseStarted,
    RunEnded,
    RunStarted,
    StepFailed,
    StepMoved,
    WaitEnded,
    WaitObserved,
    WaitStarted,
)
from bootstrap.engine.machine import FINAL_STATES, State, check_move

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.engine.events import Event, Stamped
    from bootstrap.engine.graph import Graph

GOOD = {State.DONE, State.SKIPPED}


@dataclass
class _Seen:
    """One step as its events tell it."""

    state: State = State.PENDING
    action: tuple[int, int] | None = None
    last_index: int = 0
    wait: str | None = None
    failed: bool = False


@dataclass
class _Reading:
    """Follows the events and asserts on the way."""

    graph: Graph
    workers: int
    steps: dict[str, _Seen] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.steps = {path: _Seen() for path in self.graph.nodes}

    def follow(self, event: Event) -> None:
        match event:
            case StepMoved():
                self._moved(event)
            case StepFailed(step=step):
                assert not self.steps[step].failed
                self.steps[step].failed = True
            case ActionStarted() | ActionRunning() | ActionEnded():
                self._action(event)
            case WaitStarted() | WaitObserved() | WaitEnded():
                self._wait(event)
            case PhaseStarted(phase=name):
                assert name not in self.begun
                self.begun.add(name)
            case PhaseEnded(phase=name):
                assert name in self.begun - self.ended
                self.ended.add(name)
                phase = next(phase for phase in self.graph.phases if phase.name == name)
                assert all(self.steps[node.path].state in FINAL_STATES for node in self.graph.steps_of(phase))
            case _:
                pass

    def _moved(self, event: StepMoved) -> None:
        step = self.steps[event.step]
        assert event.before is step.state
        check_move(event.before, event.after, event.reason)
        assert step.action is None, "a step moves between its actions"
        assert step.wait is None, "a step moves when its wait is over"
        assert (event.after is State.FAILED) == step.failed, "a failure is told before the step has failed"
        step.state = event.after
        if event.after is State.PROBING:
            node = self.graph.nodes[event.step]
            early = {before: self.steps[before].state for before in node.needs | node.after}
            assert set(early.values()) <= GOOD, f"{event.step} starts before its needs: {early}"
            running = [path for path, each in self.steps.items() if each.state not in {State.PENDING, *FINAL_STATES}]
            assert len(running) <= self.workers

    def _action(self, event: ActionStarted | ActionRunning | ActionEnded) -> None:
        step = self.steps[event.step]
        assert step.state is State.ACTING
        if isinstance(event, ActionStarted):
            assert step.action is None
            assert event.index == step.last_index + 1 <= event.count
            step.action, step.last_index = (event.index, event.count), event.index
        elif isinstance(event, ActionEnded):
            assert step.action == (event.index, event.count)
            step.action = None
        else:
            assert step.action is not None

    def _wait(self, event: WaitStarted | WaitObserved | WaitEnded) -> None:
        step = self.steps[event.step]
        assert step.state in {State.PROBING, State.ACTING, State.WAITING}
        if isinstance(event, WaitStarted):
            assert step.wait is None
            step.wait = event.description
        else:
            assert step.wait == event.description
            if isinstance(event, WaitEnded):
                step.wait = None


def check_events(stamped: Sequence[Stamped], graph: Graph, *, workers: int) -> dict[str, State]:
    """Assert what holds for the events of every run that was not stopped hard; gives each step's last state."""
    events = [each.event for each in stamped]
    assert [each.sequence for each in stamped] == list(range(1, len(stamped) + 1))
    assert [type(event) for event in events].count(RunEnded) == 1
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunEnded)
    reading = _Reading(graph, workers)
    for event in events:
        reading.follow(event)
    assert {step.state for step in reading.steps.values()} <= FINAL_STATES
    assert all(step.action is None and step.wait is None for step in reading.steps.values())
    return {path: step.state for path, step in reading.steps.items()}
