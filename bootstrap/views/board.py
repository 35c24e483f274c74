"""Where a run stands, kept from its events, for a view that shows it at any time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bootstrap.engine.events import (
    ActionEnded,
    ActionStarted,
    PhaseEnded,
    PhaseStarted,
    RunStarted,
    Stamped,
    StepMoved,
    WaitEnded,
    WaitObserved,
    WaitStarted,
)
from bootstrap.engine.machine import FINAL_STATES, State

if TYPE_CHECKING:
    from bootstrap.engine.events import Event


@dataclass
class Stage:
    """A phase, or the whole run.

    Attributes:
        name: of the phase.
        target: seconds.
        deadline: seconds.
        state: pending, acting, or how it ended.
        began: seconds since the start of the run; None when it has not begun.
        seconds: what it took; None until it ended.
    """

    name: str
    target: float
    deadline: float
    state: State = State.PENDING
    began: float | None = None
    seconds: float | None = None

    def elapsed(self, now: float) -> float:
        """Seconds that it took so far."""
        if self.seconds is not None:
            return self.seconds
        return 0.0 if self.began is None else max(0.0, now - self.began)


@dataclass
class Waiting:
    """A wait that goes on; `began` counts from the start of the run, `usual` is None when nobody knows."""

    description: str
    began: float
    limit: float
    usual: float | None
    seen: str = ""


@dataclass
class Running:
    """A step that is under way.

    Attributes:
        path: `phase/step`.
        state: probing, acting or waiting.
        began: when it came into that state, or began its action; seconds since the start of the run.
        action: what it does, with its place in the row of actions; empty when it does not act.
        waits: what it waits for, by description.
    """

    path: str
    state: State
    began: float
    action: str = ""
    waits: dict[str, Waiting] = field(default_factory=dict)


class Board:
    """Where a run stands; belongs to one thread."""

    def __init__(self) -> None:
        self.cluster = ""
        self.run_id = ""
        self.stages: dict[str, Stage] = {}
        self.whole = Stage("whole run", 0.0, 0.0)
        self.running: dict[str, Running] = {}

    def read(self, stamped: Stamped) -> None:
        """Take one event."""
        event, now = stamped.event, stamped.seconds
        if isinstance(event, RunStarted):
            self.cluster, self.run_id = event.cluster, stamped.run_id
            self.stages = {each.name: Stage(each.name, each.target, each.deadline) for each in event.phases}
            self.whole = Stage("whole run", event.target, event.deadline, State.ACTING, now)
        elif isinstance(event, PhaseStarted):
            self.stages[event.phase] = Stage(event.phase, event.target, event.deadline, State.ACTING, now)
        elif isinstance(event, PhaseEnded):
            stage = self.stages[event.phase]
            stage.state, stage.seconds = event.state, event.seconds
        elif isinstance(event, StepMoved):
            self._move(event, now)
        elif running := self.running.get(getattr(event, "step", "")):
            _follow(running, event, now)

    def _move(self, event: StepMoved, now: float) -> None:
        if event.after in FINAL_STATES:
            self.running.pop(event.step, None)
        elif running := self.running.get(event.step):
            running.state, running.began = event.after, now
        else:
            self.running[event.step] = Running(event.step, event.after, now)


def _follow(running: Running, event: Event, now: float) -> None:
    if isinstance(event, ActionStarted):
        place = f"[{event.index}/{event.count}] " if event.count > 1 else ""
        running.action, running.began = f"{place}{event.description}", now
    elif isinstance(event, ActionEnded):
        running.action = ""
    elif isinstance(event, WaitStarted):
        running.waits[event.description] = Waiting(event.description, now, event.limit, event.usual)
    elif isinstance(event, WaitObserved) and event.description in running.waits:
        running.waits[event.description].seen = event.seen
    elif isinstance(event, WaitEnded):
        running.waits.pop(event.description, None)
