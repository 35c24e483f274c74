"""The verdict as text for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.engine.machine import State
from bootstrap.engine.proof import ProofKind
from bootstrap.views.failure import failure_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.engine.verdict import Verdict

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


def headline(verdict: Verdict) -> str:
    """The verdict in one line."""
    if verdict.nothing_to_do:
        return f"{verdict.cluster}: nothing to do, everything was found done"
    if verdict.state is State.DONE:
        return f"{verdict.cluster}: done"
    return f"{verdict.cluster}: {verdict.state.value}, exit code {int(verdict.exit_code)}"


def _table(verdict: Verdict) -> Iterator[str]:
    rows = [(phase.name, phase.state, phase.began, phase.seconds, phase.target) for phase in verdict.phases]
    rows.append(("whole run", verdict.state, 0.0, verdict.seconds, verdict.target))
    yield f"{'phase':<15}{'state':<10}{'time':>12}{'target':>12}"
    for name, state, began, seconds, target in rows:
        time = "-" if began is None else duration(seconds)
        over = f"  over target by {duration(seconds - target)}" if seconds > target else ""
        yield f"{name:<15}{state.value:<10}{time:>12}{duration(target):>12}{over}"


def _counts(verdict: Verdict) -> Iterator[str]:
    yield headline(verdict)
    writes = "1 write" if verdict.writes == 1 else f"{verdict.writes} writes"
    yield f"{writes}; {duration(verdict.ours_seconds)} of the time was ours, the rest was waiting for others"
    if not verdict.proofs():
        return
    number = {kind: len(verdict.proofs(kind)) for kind in ProofKind}
    yield (
        f"proofs: {number[ProofKind.PROVEN]} proven, {number[ProofKind.STAND_IN]} by a stand-in, "
        f"{number[ProofKind.UNPROVEN]} unproven"
    )
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
