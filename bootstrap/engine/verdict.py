"""The result of a run, complete enough for every report to be a pure function of it.

All times are seconds; `began` counts from the start of the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.engine.machine import State
from bootstrap.host.errors import ExitCode, FirstlightError, InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bootstrap.engine.proof import Proof, ProofKind
    from bootstrap.engine.step import KillSafety


@dataclass(frozen=True)
class Failure:
    """Why a step, or the run, ended without its result.

    Attributes:
        fact: what happened.
        cause: why; may be empty.
        remedy: the next command; may be empty.
        problems: each single thing that is wrong, where there are several.
        exit_code: what the run exits with when this came first.
        unexpected: a bug; its traceback is in the log.
    """

    fact: str
    cause: str = ""
    remedy: str = ""
    problems: tuple[Problem, ...] = ()
    exit_code: ExitCode = ExitCode.FAILED
    unexpected: bool = False

    @classmethod
    def of(cls, error: FirstlightError, *, remedy: str = "") -> Failure:
        """From an error; `remedy` fills in where the error names none."""
        problems = error.problems if isinstance(error, InputError) else ()
        return cls(error.fact, error.cause, error.remedy or remedy, problems, error.exit_code)


@dataclass(frozen=True)
class ActionRecord:
    """An action that was run; `ours` are the seconds of it in which its thread had nothing outstanding."""

    description: str
    reason: str
    kill_safety: KillSafety
    writes: bool
    began: float
    seconds: float
    error: str
    ours: float = 0.0


@dataclass(frozen=True)
class WaitRecord:
    """A wait, and what was seen last in it.

    Attributes:
        description: completes "waiting for ...".
        began: since the start of the run.
        seconds: what it took.
        limit: after which it would have ended.
        seen: what was seen last.
        held: whether the condition came to hold.
        ours: from the condition becoming visible to the end of the wait, looks left out; see `engine.meter`.
        doubt: how much of the rest may be ours too, because nobody told us when the condition became true.
        usual: the median of earlier runs; None when it never held.
    """

    description: str
    began: float
    seconds: float
    limit: float
    seen: str
    held: bool
    ours: float = 0.0
    doubt: float = 0.0
    usual: float | None = None

    @property
    def world(self) -> float:
        """The seconds that were the world's, those in doubt included."""
        return self.seconds - self.ours


@dataclass(frozen=True)
class StepResult:
    """What became of a step.

    Attributes:
        path: `phase/step`.
        title: as lists show it.
        state: where it ended.
        reason: why; the evidence of a done one.
        began: None when it never was begun.
        seconds: since it left pending.
        actions: in their order.
        waits: in their order, those inside actions included.
        proofs: what was judged.
        failure: why it failed.
        ours: seconds in which its thread had nothing outstanding elsewhere.
    """

    path: str
    title: str
    state: State
    reason: str
    began: float | None
    seconds: float
    actions: tuple[ActionRecord, ...] = ()
    waits: tuple[WaitRecord, ...] = ()
    proofs: tuple[Proof, ...] = ()
    failure: Failure | None = None
    ours: float = 0.0


@dataclass(frozen=True)
class Share:
    """A part of a phase's critical path.

    Attributes:
        step: `phase/step`.
        what: an action, or a gate as `waiting for ...`, or `looking` for what the step reads by itself.
        seconds: how much of the phase it took.
        ours: how much of that nothing was outstanding elsewhere.
    """

    step: str
    what: str
    seconds: float
    ours: float


@dataclass(frozen=True)
class PhaseResult:
    """What became of a phase; `began` None when it never was begun.

    `critical` are the parts that, one after the other, made it as long as it was; see `engine.budgets`.
    """

    name: str
    title: str
    number: int | None
    state: State
    began: float | None
    seconds: float
    target: float
    steps: tuple[StepResult, ...]
    critical: tuple[Share, ...] = ()

    @property
    def over_target(self) -> bool:
        """Whether it took longer than it should."""
        return self.seconds > self.target

    @property
    def slack(self) -> float:
        """Target less time; negative when it took longer than it should."""
        return self.target - self.seconds

    @property
    def ours(self) -> float:
        """How much of the critical path was ours."""
        return sum(share.ours for share in self.critical)

    @property
    def owner(self) -> Share | None:
        """What took the most of the critical path; None when the phase never was begun."""
        return max(self.critical, key=lambda share: share.seconds, default=None)


@dataclass(frozen=True)
class Verdict:
    """The result of a run.

    Attributes:
        run_id: of the run.
        cluster: its name.
        state: done, failed or aborted.
        phases: in their order.
        failures: in the order in which they happened; an interrupt stands first.
        seconds: wall time of the run.
        target: of the whole run.
        ours_seconds: wall time since the meter was made in which nothing was outstanding elsewhere.
        outside: seconds outstanding elsewhere by kind, summed over threads.
    """

    run_id: str
    cluster: str
    state: State
    phases: tuple[PhaseResult, ...]
    failures: tuple[Failure, ...]
    seconds: float
    target: float
    ours_seconds: float
    outside: Mapping[str, float]

    @property
    def exit_code(self) -> ExitCode:
        """Of the first failure; 0 without one."""
        return self.failures[0].exit_code if self.failures else ExitCode.DONE

    @property
    def over_target(self) -> bool:
        """Whether the run took longer than it should."""
        return self.seconds > self.target

    @property
    def owner(self) -> Share | None:
        """What took the most of any phase's critical path."""
        return max((phase.owner for phase in self.phases if phase.owner), key=lambda share: share.seconds, default=None)

    @property
    def writes(self) -> int:
        """How many writing actions were begun."""
        return sum(action.writes for step in self.steps() for action in step.actions)

    @property
    def nothing_to_do(self) -> bool:
        """Whether everything was found done and nothing was changed."""
        return self.state is State.DONE and not self.writes

    def steps(self) -> Iterator[StepResult]:
        """All steps in order."""
        for phase in self.phases:
            yield from phase.steps

    def proofs(self, kind: ProofKind | None = None) -> tuple[Proof, ...]:
        """The proofs of all steps, or those of one kind."""
        return tuple(proof for step in self.steps() for proof in step.proofs if kind is None or proof.kind is kind)


def sum_of(states: tuple[State, ...]) -> State:
    """The final state of a phase or run from those of its parts; a part without one counts as aborted."""
    if State.FAILED in states:
        return State.FAILED
    if any(state not in (State.DONE, State.SKIPPED) for state in states):
        return State.ABORTED
    return State.SKIPPED if states and set(states) == {State.SKIPPED} else State.DONE
