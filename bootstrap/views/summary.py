"""The verdict as text for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.engine.machine import State
from bootstrap.engine.proof import ProofKind
from bootstrap.views.failure import failure_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bootstrap.engine.verdict import Verdict
    from bootstrap.views.document import PhaseReport, Report

# Shorter times are shown with a decimal, longer ones in minutes.
MINUTE: Final = 60.0


def duration(seconds: float) -> str:
    """Seconds as a person reads them: `4.2 s`, `3 min 5 s`."""
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s"


def summary(verdict: Verdict, *, log: str = "") -> list[str]:
    """The lines that end a run: times against targets, counts, proofs, failures with their next command.

    Args:
        verdict: redacted.
        log: the log's path; shown when something failed; empty when there is none.
    """
    return [*_table(verdict), "", *_counts(verdict), *_failures(verdict, log)]


def headline(verdict: Verdict | Report) -> str:
    """The verdict in one line."""
    if verdict.nothing_to_do:
        return f"{verdict.cluster}: nothing to do, everything was found done"
    if verdict.state is State.DONE:
        return f"{verdict.cluster}: done"
    return f"{verdict.cluster}: {verdict.state.value}, exit code {int(verdict.exit_code)}"


def slack(part: PhaseReport | Report) -> str:
    """How much of the target was left, or how much too long it took."""
    if part.over_target:
        return f"over by {duration(-part.slack_seconds)}"
    return f"{duration(part.slack_seconds)} left"


def late(part: PhaseReport | Report) -> str:
    """A time beside its target."""
    return f"{duration(part.seconds)} of {duration(part.target_seconds)}, {slack(part)}"


def overrun(phase: PhaseReport) -> str:
    """What took most of the time of a phase that is over target, and whether it always does."""
    owner = max(phase.critical, key=lambda share: share.seconds, default=None)
    if owner is None:
        return ""
    usual = [
        usually(wait.usual_seconds)
        for step in phase.steps
        for wait in step.waits
        if step.path == owner.step and owner.what.endswith(wait.description)
    ]
    return f"most of it: {owner.step}, {owner.what}, {duration(owner.seconds)}{''.join(usual[:1])}"


def usually(seconds: float | None) -> str:
    """How long a wait took in earlier runs, to be added to what it takes in this one; empty when nobody knows."""
    return "" if seconds is None else f", usually {duration(seconds)} here"


def changes(files: Mapping[str, str]) -> str:
    """Which files changed since an earlier run, and how."""
    return ", ".join(f"{name} {how}" for name, how in files.items())


def proof_counts(counts: Mapping[str, int]) -> str:
    """How many criteria were proven, and how many were not."""
    return f"{counts['proven']} proven, {counts['stand-in']} by a stand-in, {counts['unproven']} unproven"


def _table(verdict: Verdict) -> Iterator[str]:
    rows = [
        (phase.name, phase.state, phase.began, phase.seconds, phase.target, phase.owner) for phase in verdict.phases
    ]
    rows.append(("whole run", verdict.state, 0.0, verdict.seconds, verdict.target, None))
    yield f"{'phase':<15}{'state':<10}{'time':>12}{'target':>12}"
    for name, state, began, seconds, target, owner in rows:
        time = "-" if began is None else duration(seconds)
        over = f"  over target by {duration(seconds - target)}" if seconds > target else ""
        yield f"{name:<15}{state.value:<10}{time:>12}{duration(target):>12}{over}"
        if over and owner:
            yield f"  most of it: {owner.step}, {owner.what}, {duration(owner.seconds)}"


def _counts(verdict: Verdict) -> Iterator[str]:
    yield headline(verdict)
    writes = "1 write" if verdict.writes == 1 else f"{verdict.writes} writes"
    yield f"{writes}; {duration(verdict.ours_seconds)} of the time was ours, the rest was waiting for others"
    if not verdict.proofs():
        return
    yield f"proofs: {proof_counts({kind.value: len(verdict.proofs(kind)) for kind in ProofKind})}"
    for kind in (ProofKind.STAND_IN, ProofKind.UNPROVEN):
        for proof in verdict.proofs(kind):
            yield f"  {kind.value:<9} {proof.criterion}: {proof.evidence}"


def _failures(verdict: Verdict, log: str) -> Iterator[str]:
    for failure in verdict.failures:
        yield ""
        yield from failure_lines(failure)
    if verdict.failures and log:
        yield ""
        yield f"log: {log}"
