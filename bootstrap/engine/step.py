"""A step as data: three functions, the records that they exchange, and the context that they receive."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar

from bootstrap.host.errors import (
    ExitCode,
    FirstlightError,
    InputError,
    InterruptedRunError,
    LockedError,
    Problem,
    UnrecordedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from bootstrap.engine.proof import Proof
    from bootstrap.engine.retry import Patience

FactsT = TypeVar("FactsT")
FactsT_co = TypeVar("FactsT_co", covariant=True)
ValueT = TypeVar("ValueT")
ValueT_co = TypeVar("ValueT_co", covariant=True)

# Seconds between two looks: short beside what a machine does, long enough for one command under emulation.
DEFAULT_INTERVAL: Final = 1.0
# Seconds; a gate without a limit of its own is as patient as a machine that reboots under emulation.
DEFAULT_TIMEOUT: Final = 300.0


@dataclass(frozen=True)
class StepRef(Generic[ValueT_co]):
    """Names a step and the type of its value; a `Step` is its own reference.

    Attributes:
        name: the step's name, unique in the whole run.
    """

    name: str


@dataclass(frozen=True)
class Done(Generic[ValueT_co]):
    """The probe found the step's effect.

    Attributes:
        evidence: what was seen that shows it, one line.
        value: what dependants get from `ctx.value`.
        proofs: criteria that were judged on the way.
    """

    evidence: str
    value: ValueT_co
    proofs: tuple[Proof, ...] = ()


@dataclass(frozen=True)
class ToDo(Generic[FactsT_co]):
    """The probe did not find the step's effect.

    Attributes:
        facts: what was found; handed to `actions`.
        summary: what is missing, one line.
    """

    facts: FactsT_co
    summary: str = ""


@dataclass(frozen=True)
class Skip(Generic[ValueT_co]):
    """The step does not apply here.

    Attributes:
        reason: why, one line.
        value: what dependants get all the same.
    """

    reason: str
    value: ValueT_co


@dataclass(frozen=True)
class Conflict:
    """The probe found something that must not be touched, or a gate something that no waiting mends.

    Attributes:
        fact: what was found.
        cause: why that is refused.
        remedy: the next command, or what to change.
        problems: each single problem where there are several.
        exit_code: of the run when this is what ended it.
    """

    fact: str
    cause: str = ""
    remedy: str = ""
    problems: tuple[Problem, ...] = ()
    exit_code: ExitCode = ExitCode.INVALID


class ConflictError(InputError):
    """A probe found something that must not be touched, or a gate something that no waiting mends."""

    def __init__(self, conflict: Conflict) -> None:
        super().__init__(conflict.fact, conflict.problems, cause=conflict.cause, remedy=conflict.remedy)
        self.exit_code = conflict.exit_code


@dataclass(frozen=True)
class Foreseen(Generic[FactsT_co, ValueT_co]):
    """What a step will find where nothing is there yet, and what it will give; for the plan.

    Attributes:
        facts: as `ToDo` would bring them; None with `done` means nothing is to do.
        value: what dependants get in the plan.
        known_after: what must have run before the facts are certain, for example `install`; empty when the files
            say it all.
        done: true when there is nothing to do even in an empty world.
        summary: what is foreseen, one line; empty when title and actions say it all.
    """

    facts: FactsT_co
    value: ValueT_co
    known_after: str = ""
    done: bool = False
    summary: str = ""


Found: TypeAlias = ToDo[FactsT] | Done[ValueT] | Skip[ValueT] | Conflict


@dataclass(frozen=True)
class Observation(Generic[ValueT_co]):
    """One look at a gate's condition.

    Attributes:
        holds: whether the condition held.
        seen: what was seen, one line; shown while waiting and when the wait expires.
        value: the step's value, where the look gives it; None makes the engine probe again.
        proofs: criteria that were judged; those of the last look count.
        conflict: what was seen that no waiting mends; it ends the wait once it stood for the gate's `grace`. Its
            fact says which one it is, so that is to stay the same while cause and wording vary.
    """

    holds: bool
    seen: str
    value: ValueT_co | None = None
    proofs: tuple[Proof, ...] = ()
    conflict: Conflict | None = None


def is_transient(error: FirstlightError) -> bool:
    """Whether a check that raised this may be asked again: all but refusals, interrupts and a full disk of ours."""
    return not isinstance(error, InputError | LockedError | InterruptedRunError | UnrecordedError)


@dataclass(frozen=True, kw_only=True)
class Gate(Generic[ValueT]):
    """A condition that must hold before dependants start.

    Attributes:
        description: completes "waiting for ...", for example `etcd to be healthy`.
        check: looks once; reads only.
        interval: seconds between two looks; more, up to `MOST_RESPITE`, after one that took longer and saw nothing.
        times: how often in a row the condition must hold, for what can flap.
        timeout: seconds; the deadlines of phase and run may end the wait earlier.
        remedy: the next command when it expires; empty means the run's resume command.
        expires: exit code of the run when it expires.
        transient: whether an error that a check raised is only an observation.
        slowest: seconds; looks that see nothing new come ever later, up to this, with a jitter of a tenth;
            None keeps `interval`, exactly.
        stable: seconds for which the condition must have held without a break, as far as looks can tell.
        grace: seconds for which a conflict that a look brings must have stood without a break before it ends the wait.
        watch: while the context manager that it returns is open, the function given to it is called, by any
            thread, whenever the condition may have changed; the next look then comes at once.
    """

    description: str
    check: Callable[[Context], Observation[ValueT]]
    interval: float = DEFAULT_INTERVAL
    times: int = 1
    timeout: float = DEFAULT_TIMEOUT
    remedy: str = ""
    expires: ExitCode = ExitCode.TIMED_OUT
    transient: Callable[[FirstlightError], bool] = is_transient
    slowest: float | None = None
    stable: float = 0.0
    grace: float = 0.0
    watch: Callable[[Context, Callable[[], None]], AbstractContextManager[None]] | None = None


class Changes(StrEnum):
    """What an action changes."""

    NOTHING = "nothing"
    """It is a costly reading."""
    FILES = "files"
    """Files of our own on this host."""
    MACHINES = "machines"
    """A machine, through its Talos API."""
    CLUSTER = "cluster"
    """Objects in Kubernetes; wants the lease."""


class KillSafety(StrEnum):
    """What a kill in the middle of an action leaves behind."""

    REPEATABLE = "repeatable"
    """Nothing to care about: the same action again gives the same world."""
    ATOMIC = "atomic"
    """All or nothing; the probe tells which."""
    PARTIAL = "partial"
    """Possibly a part; the probe finds what is left to do."""
    ONCE = "once"
    """All or nothing, and never again before the probe has shown that it did not happen."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """One change, or one costly reading, with a boundary at which a run may be killed.

    Attributes:
        description: what is done, imperative: `apply the configuration to lab-01`.
        reason: which fact makes it necessary.
        run: does it; reports trouble by raising `FirstlightError`.
        recognised_by: how its effect is recognised afterwards.
        kill_safety: what a kill in the middle leaves behind.
        changes: what it changes.
        preview: what exactly would change in the world as it is, reads only; None when the description says it all.
    """

    description: str
    reason: str
    run: Callable[[Context], None]
    recognised_by: str
    kill_safety: KillSafety = KillSafety.REPEATABLE
    changes: Changes = Changes.CLUSTER
    preview: Callable[[Context], str] | None = None

    @property
    def writes(self) -> bool:
        """Whether it changes something outside this host."""
        return self.changes in {Changes.MACHINES, Changes.CLUSTER}


class Context(Protocol):
    """What the functions of a step may ask of the engine."""

    @property
    def path(self) -> str:
        """`phase/step`."""

    def value(self, step: StepRef[ValueT]) -> ValueT:
        """The value of a step that this one needs, directly or through others.

        Raises:
            FirstlightError: that step has no value because it was skipped.
            UndeclaredNeedError: this step does not name it in `needs`; a bug.
        """

    def wait(self, gate: Gate[ValueT]) -> Observation[ValueT]:
        """Wait until a condition holds; for a wait inside an action or a probe.

        Returns:
            The observation that held.

        Raises:
            WaitTimeoutError: the gate's limit, the phase's or the run's deadline was reached.
            InterruptedRunError: the operator asked the run to stop.
            FirstlightError: what the check raised, when that is not transient.
        """

    def note(self, text: str) -> None:
        """Say something that no other event says."""

    def identify(self, kind: str, value: str) -> None:
        """Say whose machine or cluster answers; remembered for as long as the journal lives.

        Args:
            kind: what identifies it, for example `kube-system UID`.
            value: no secret.

        Raises:
            InputError: an earlier run met another one under this name; both are named.
        """

    def retry(self, call: Callable[[], ValueT], patience: Patience, *, once: bool = False) -> ValueT:
        """Call something again while its errors are worth it and the deadlines allow; see `engine.retry.Retry`.

        A step's probe and its actions are called so by the engine; this is for parts of them that collect errors.
        """

    def outside(self, kind: str) -> AbstractContextManager[None]:
        """While open, time passes for others: a `command`, a `request`, a `pause`."""

    def limit(self, seconds: float) -> float:
        """A time limit cut to what the deadlines of phase and run leave; seconds, above 0.

        Raises:
            WaitTimeoutError: nothing is left.
        """


def no_actions(_ctx: Context, _facts: object) -> tuple[Action, ...]:
    """For a step that only reads."""
    return ()


def no_gate(_ctx: Context) -> None:
    """For a step whose actions are done when they return."""


@dataclass(frozen=True, kw_only=True)
class Step(StepRef[ValueT], Generic[FactsT, ValueT]):
    """A step of a phase.

    Attributes:
        title: what a person reads in lists, imperative.
        probe: reads the world.
        actions: what to do about what the probe found; pure.
        gate: what must hold before dependants start.
        needs: names of steps, in any phase, that must be done before this one starts.
        after: names of steps whose failure keeps this one from starting, and whose values it does not read: who leaves
            one of them out runs this one without it.
        early: needs no cluster, so that it starts at once instead of with its phase.
        inputs: files and folders, relative to the repository, that its actions follow from.
        reads: names of those of `needs` whose values its probe reads; None means all. Once these are there, a step that
            an earlier run finished is looked at; see `engine.ahead`.
        foresee: what it will find in an empty world; None for a step that reads files alone: the plan then probes
            it and runs those of its actions that write nothing.
    """

    title: str
    probe: Callable[[Context], Found[FactsT, ValueT]]
    actions: Callable[[Context, FactsT], Sequence[Action]] = no_actions
    gate: Callable[[Context], Gate[ValueT] | None] = no_gate
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    early: bool = False
    inputs: tuple[str, ...] = ()
    reads: tuple[str, ...] | None = None
    foresee: Callable[[Context], Foreseen[FactsT, ValueT]] | None = None


# A phase holds steps of all kinds; the pairing of facts and value lives inside each step.
AnyStep: TypeAlias = Step[Any, Any]
