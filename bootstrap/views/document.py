"""What `report.json` holds, as records: the one thing that every other report is a function of.

A name that ends in `_seconds` counts seconds; `began_seconds` counts from the start of the run. Texts are redacted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from bootstrap.engine.machine import State
from bootstrap.engine.proof import Proof
from bootstrap.engine.step import KillSafety
from bootstrap.engine.verdict import Failure
from bootstrap.host.errors import ExitCode

# Raised when a reader of the last version would misread a report.
SCHEMA_VERSION: Final = 1


@dataclass(frozen=True)
class ActionReport:
    """An action that was run; `error` is empty when it returned, `ours_seconds` as in `StepReport`."""

    description: str
    reason: str
    kill_safety: KillSafety
    writes: bool
    began_seconds: float
    seconds: float
    ours_seconds: float
    error: str


@dataclass(frozen=True)
class WaitReport:
    """A wait.

    Attributes:
        description: completes "waiting for ...".
        began_seconds: since the start of the run.
        seconds: what it took.
        limit_seconds: what it would have ended after.
        ours_seconds: from the condition becoming visible to the end of the wait, looks left out.
        doubt_seconds: how much of the rest may be ours too, because nobody told when the condition became true.
        usual_seconds: what it took in earlier runs, the median; null when it never held.
        seen: what was seen last.
        held: whether the condition came to hold.
    """

    description: str
    began_seconds: float
    seconds: float
    limit_seconds: float
    ours_seconds: float
    doubt_seconds: float
    usual_seconds: float | None
    seen: str
    held: bool


@dataclass(frozen=True)
class StepReport:
    """What became of a step.

    Attributes:
        path: `phase/step`.
        title: as lists show it.
        state: where it ended.
        reason: why; the evidence of a done one.
        began_seconds: since the start of the run; null when it never was begun.
        seconds: since it left pending.
        ours_seconds: of its thread, while nothing was outstanding elsewhere.
        actions: in their order.
        waits: in their order, those inside actions included.
        proofs: what was judged.
        failure: why it failed.
    """

    path: str
    title: str
    state: State
    reason: str
    began_seconds: float | None
    seconds: float
    ours_seconds: float
    actions: tuple[ActionReport, ...]
    waits: tuple[WaitReport, ...]
    proofs: tuple[Proof, ...]
    failure: Failure | None


@dataclass(frozen=True)
class ShareReport:
    """A part of a phase's critical path.

    Attributes:
        step: `phase/step`.
        what: an action, or a gate as `waiting for ...`, or what the engine calls its own part.
        seconds: how much of the phase it took.
        ours_seconds: how much of that nothing was outstanding elsewhere.
    """

    step: str
    what: str
    seconds: float
    ours_seconds: float


@dataclass(frozen=True)
class PhaseReport:
    """What became of a phase.

    Attributes:
        name: one word.
        title: what a person reads.
        number: of the specification's task table; null where it has none.
        state: the sum of its steps.
        began_seconds: since the start of the run; null when it never was begun.
        seconds: what it took.
        target_seconds: what it should take.
        deadline_seconds: what its waits end after; null when nobody said.
        slack_seconds: target less time; negative when over target.
        over_target: whether it took longer than it should.
        ours_seconds: how much of the critical path was ours.
        critical: the parts that, one after the other, made it as long as it was.
        steps: in their order.
    """

    name: str
    title: str
    number: int | None
    state: State
    began_seconds: float | None
    seconds: float
    target_seconds: float
    deadline_seconds: float | None
    slack_seconds: float
    over_target: bool
    ours_seconds: float
    critical: tuple[ShareReport, ...]
    steps: tuple[StepReport, ...]


@dataclass(frozen=True)
class NoteReport:
    """Something worth saying; `step` is empty when it is about the run."""

    seconds: float
    step: str
    text: str


@dataclass(frozen=True)
class SelectionReport:
    """What the operator asked for by name: `--only`, `--from`, `--skip`."""

    only: tuple[str, ...]
    start: str
    skip: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """A run, complete enough for every other report to be a pure function of this.

    Attributes:
        schema: the version of this form.
        run: the run's id.
        cluster: its name.
        mark: `LAB` or `REHEARSAL` when the machines were virtual; empty for real ones.
        command: what to type to run, or go on with, the same.
        selection: what was asked for by name.
        identity: whose machines and cluster this was, by kind of identity.
        inputs: a digest of the files that each step follows from, by its path.
        changed_inputs: for each step whose files are not those of the last run, how each file changed.
        started: wall time, ISO 8601 in UTC.
        ended: the same.
        state: done, failed or aborted.
        exit_code: of the process.
        nothing_to_do: everything was found done and nothing was changed.
        writes: how many writing actions were begun.
        seconds: wall time of the run.
        target_seconds: what it should take.
        deadline_seconds: what its waits end after; null when nobody said.
        slack_seconds: target less time; negative when over target.
        over_target: whether it took longer than it should.
        ours_seconds: wall time in which nothing was outstanding elsewhere.
        outside_seconds: seconds outstanding elsewhere by kind, summed over threads.
        peak_memory_bytes: of this tool's own process.
        proofs: how many criteria were proven, satisfied by a stand-in, left unproven.
        failures: in the order in which they happened; an interrupt stands first.
        phases: in their order.
        notes: what else was said.
    """

    schema: Literal[1]
    run: str
    cluster: str
    mark: str
    command: str
    selection: SelectionReport
    identity: Mapping[str, str]
    inputs: Mapping[str, str]
    changed_inputs: Mapping[str, Mapping[str, str]]
    started: str
    ended: str
    state: State
    exit_code: ExitCode
    nothing_to_do: bool
    writes: int
    seconds: float
    target_seconds: float
    deadline_seconds: float | None
    slack_seconds: float
    over_target: bool
    ours_seconds: float
    outside_seconds: Mapping[str, float]
    peak_memory_bytes: int
    proofs: Mapping[str, int]
    failures: tuple[Failure, ...]
    phases: tuple[PhaseReport, ...]
    notes: tuple[NoteReport, ...]
