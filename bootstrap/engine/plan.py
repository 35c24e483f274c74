"""The plan of a run as a record, complete enough for every view of it to be a pure function of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from bootstrap.engine.step import Changes
from bootstrap.host.errors import ExitCode

if TYPE_CHECKING:
    from bootstrap.engine.step import KillSafety
    from bootstrap.engine.verdict import Failure, Verdict

# Path of the step, number of the action in it, its description.
Announced: TypeAlias = tuple[str, int, str]


class Outlook(StrEnum):
    """What a run would find a step to be."""

    TO_DO = "to do"
    DONE = "done"
    SKIPPED = "skipped"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class PlannedAction:
    """An action as a run would announce it; `preview` is what exactly would change, empty when nobody looked."""

    index: int
    description: str
    reason: str
    recognised_by: str
    kill_safety: KillSafety
    changes: Changes
    preview: str = ""


@dataclass(frozen=True)
class PlannedGate:
    """What is waited for after the actions, and for how many seconds at most."""

    description: str
    seconds: float


@dataclass(frozen=True)
class PlannedStep:
    """A step of a plan.

    Attributes:
        path: `phase/step`.
        title: imperative.
        outlook: what a run would find.
        text: the evidence, what is missing, or the reason; may be empty.
        known_after: what must have run before this is certain; empty when it is.
        actions: what would be done, in order.
        gate: what would be waited for then; None when nothing is.
        failure: why it is refused.
    """

    path: str
    title: str
    outlook: Outlook
    text: str = ""
    known_after: str = ""
    actions: tuple[PlannedAction, ...] = ()
    gate: PlannedGate | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class PlannedPhase:
    """A phase of a plan; `target` and `deadline` are seconds."""

    name: str
    title: str
    number: int | None
    target: float
    deadline: float
    steps: tuple[PlannedStep, ...]

    def count(self, *changes: Changes) -> int:
        """How many actions change one of these; of all actions when none is named."""
        return sum(not changes or action.changes in changes for step in self.steps for action in step.actions)


@dataclass(frozen=True)
class Plan:
    """What a run would do; `target` and `deadline` are seconds of the whole run.

    Attributes:
        cluster: its name.
        live: whether the real world was looked at.
        phases: all of them, in order.
    """

    cluster: str
    live: bool
    target: float
    deadline: float
    phases: tuple[PlannedPhase, ...]

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Why steps are refused, in the order of the list; what refuses several is told once."""
        return tuple(dict.fromkeys(step.failure for phase in self.phases for step in phase.steps if step.failure))

    @property
    def announced(self) -> tuple[Announced, ...]:
        """Every action, as a run would record it."""
        return tuple(
            (step.path, action.index, action.description)
            for phase in self.phases
            for step in phase.steps
            for action in step.actions
        )

    def count(self, *changes: Changes) -> int:
        """See `PlannedPhase.count`."""
        return sum(phase.count(*changes) for phase in self.phases)

    @property
    def exit_code(self) -> ExitCode:
        """3 when a step is refused; else 2 when the real world was looked at and would be changed; else 0."""
        if self.failures:
            return ExitCode.INVALID
        changing = self.live and self.count(Changes.MACHINES, Changes.CLUSTER)
        return ExitCode.CHANGES if changing else ExitCode.DONE


def performed(verdict: Verdict) -> tuple[Announced, ...]:
    """What a run did, in the form of `Plan.announced`."""
    return tuple(
        (step.path, index, action.description)
        for step in verdict.steps()
        for index, action in enumerate(step.actions, start=1)
    )
