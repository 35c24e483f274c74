"""`report.json`: everything about a run that any other report shows."""

from __future__ import annotations

import json
import resource
from typing import TYPE_CHECKING, Final

from bootstrap.engine.events import Note, RunEnded, RunStarted, Stamped
from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.host.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bootstrap.engine.verdict import ActionRecord, Failure, PhaseResult, StepResult, Verdict, WaitRecord

# Raised when a reader of the last version would misread a report.
SCHEMA_VERSION: Final = 1

Record = dict[str, object]


def document(
    verdict: Verdict, *, inputs_digest: str = "", started: str = "", ended: str = "", notes: Sequence[Record] = ()
) -> Record:
    """The report as JSON-ready values.

    Args:
        verdict: redacted, as `execute` returns it.
        inputs_digest: of the files that the run read; empty when nobody computed it.
        started: wall time, ISO 8601 in UTC.
        ended: the same.
        notes: `seconds`, `step` and `text` of each.
    """
    return {
        "schema": SCHEMA_VERSION,
        "run": verdict.run_id,
        "cluster": verdict.cluster,
        "inputs_digest": inputs_digest,
        "started": started,
        "ended": ended,
        "state": verdict.state.value,
        "exit_code": int(verdict.exit_code),
        "nothing_to_do": verdict.nothing_to_do,
        "writes": verdict.writes,
        "seconds": _seconds(verdict.seconds),
        "target_seconds": _seconds(verdict.target),
        "over_target": verdict.over_target,
        "ours_seconds": _seconds(verdict.ours_seconds),
        # Linux counts it in KiB (getrusage(2)).
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "outside_seconds": {kind: _seconds(seconds) for kind, seconds in verdict.outside.items()},
        "failures": [_failure(failure) for failure in verdict.failures],
        "phases": [_phase(phase) for phase in verdict.phases],
        "notes": list(notes),
    }


class ReportWriter:
    """Writes `report.json` when the run ends, however it ends.

    Args:
        path: the file; replaced in one go.
        inputs_digest: see `document`.
    """

    def __init__(self, path: Path, *, inputs_digest: str = "") -> None:
        self._path = path
        self._inputs_digest = inputs_digest
        self._started = ""
        self._notes: list[Record] = []

    def read(self, stamped: Stamped) -> None:
        """Keep what the verdict does not hold; write at the end.

        Raises:
            OSError: the report cannot be written.
        """
        event, wall = stamped.event, stamped.wall.isoformat(timespec="milliseconds")
        if isinstance(event, RunStarted):
            self._started = wall
        elif isinstance(event, Note):
            self._notes.append({"seconds": _seconds(stamped.seconds), "step": event.step, "text": event.text})
        elif isinstance(event, RunEnded):
            report = document(
                event.verdict,
                inputs_digest=self._inputs_digest,
                started=self._started,
                ended=wall,
                notes=self._notes,
            )
            write_atomically(self._path, json.dumps(report, indent=2, ensure_ascii=False).encode() + b"\n")


def _phase(phase: PhaseResult) -> Record:
    return {
        "name": phase.name,
        "title": phase.title,
        "number": phase.number,
        "state": phase.state.value,
        "began_seconds": _seconds(phase.began),
        "seconds": _seconds(phase.seconds),
        "target_seconds": _seconds(phase.target),
        "over_target": phase.over_target,
        "steps": [_step(step) for step in phase.steps],
    }


def _step(step: StepResult) -> Record:
    return {
        "path": step.path,
        "title": step.title,
        "state": step.state.value,
        "reason": step.reason,
        "began_seconds": _seconds(step.began),
        "seconds": _seconds(step.seconds),
        "actions": [_action(action) for action in step.actions],
        "waits": [_wait(wait) for wait in step.waits],
        "proofs": [_proof(proof) for proof in step.proofs],
        "failure": _failure(step.failure) if step.failure else None,
    }


def _action(action: ActionRecord) -> Record:
    return {
        "description": action.description,
        "reason": action.reason,
        "kill_safety": action.kill_safety.value,
        "writes": action.writes,
        "began_seconds": _seconds(action.began),
        "seconds": _seconds(action.seconds),
        "error": action.error,
    }


def _wait(wait: WaitRecord) -> Record:
    return {
        "description": wait.description,
        "began_seconds": _seconds(wait.began),
        "seconds": _seconds(wait.seconds),
        "limit_seconds": _seconds(wait.limit),
        "seen": wait.seen,
        "held": wait.held,
    }


def _proof(proof: Proof) -> Record:
    return {
        "criterion": proof.criterion,
        "evidence": proof.evidence,
        "kind": proof.kind.value,
        "stand_in": proof.kind is ProofKind.STAND_IN,
    }


def _failure(failure: Failure) -> Record:
    return {
        "fact": failure.fact,
        "cause": failure.cause,
        "remedy": failure.remedy,
        "exit_code": int(failure.exit_code),
        "unexpected": failure.unexpected,
        "problems": [
            {"text": each.text, "path": each.path, "line": each.line, "column": each.column, "remedy": each.remedy}
            for each in failure.problems
        ],
    }


def _seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
