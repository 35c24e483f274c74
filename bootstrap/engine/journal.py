"""The journal: what the engine remembers between runs, one append-only file a cluster.

A record is on disk before the effect that it announces and after the effect that it records. It is a hint for
speed and a record for people: what it calls done is probed again. `journal_file` knows the file, `journal_contents`
what the records mean.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from bootstrap.engine import journal_file
from bootstrap.engine.events import redacted, utc_now
from bootstrap.engine.journal_contents import Contents, Kind, understand
from bootstrap.engine.journal_file import Appender, Disk, Entry, Kept
from bootstrap.host.errors import FirstlightError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from bootstrap.engine.inputs import Inputs
    from bootstrap.engine.machine import State
    from bootstrap.engine.step import Action
    from bootstrap.engine.verdict import Verdict

FILE: Final = "journal.jsonl"
# Bytes that are still read in a fraction of a second; some hundred runs.
COMPACT_ABOVE: Final = 5_000_000
# Runs that a compacted journal keeps: far more than what is usual is computed from.
RUNS_KEPT: Final = 20


class Journal:
    """The `Recorder` that remembers; a context manager that closes the file.

    Args:
        contents: what earlier runs left.
        appender: of the file.
        redact: masks secrets in every text.
        life: names the virtual machines that this is about; empty for real ones. With virtual machines another
            identity is no mistake: they were made anew, or a snapshot was loaded.
    """

    def __init__(self, contents: Contents, appender: Appender, *, redact: Callable[[str], str], life: str) -> None:
        self.contents = contents
        self._appender = appender
        self._redact = redact
        self._life = life
        self._files: Mapping[str, str] = {}
        self._identities = dict(contents.identities)
        self._met: set[str] = set()
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        cluster: str,
        tool: str,
        redact: Callable[[str], str],
        life: str = "",
        wall: Callable[[], datetime] = utc_now,
        disk: Disk | None = None,
    ) -> Self:
        """Open a cluster's journal for the run that holds its lock; one is begun where there is none.

        A torn tail is cut off, a journal that grew large and whose last run is done is compacted, and machines
        of another life than before are noted.

        Args:
            path: of the file; its folder exists.
            cluster: whose journal it is.
            tool: our version.
            redact: masks secrets in every text.
            life: see the class.
            wall: the wall clock.
            disk: how records get to disk.

        Raises:
            InputError: it is read-only, damaged, another cluster's or a later version's.
            FirstlightError: it could not be written.
        """
        journal_file.refuse_unwritable(path)
        kept = journal_file.read(path)
        contents = understand(kept, path, cluster=cluster)
        entries = _compacted(kept, contents) if kept.size > COMPACT_ABOVE else kept.entries
        if not entries:
            header = {"schema": journal_file.SCHEMA, "cluster": cluster, "tool": tool}
            entries = (Entry(Kind.HEADER, wall(), header),)
        if len(entries) != len(kept.entries):
            journal_file.create(path, entries)
            kept = journal_file.read(path)
            contents = understand(kept, path, cluster=cluster)
        appender = Appender(path, kept, wall=wall, disk=disk or Disk())
        if life and life != contents.life:
            appender.append(Kind.LIFE, {"life": life, "reason": "these are other virtual machines"}, durable=True)
            contents = Contents(cluster, life, runs=contents.runs)
        return cls(contents, appender, redact=redact, life=life)

    def follow(self, inputs: Inputs, *, accept: bool) -> None:
        """Take the files that this run follows from.

        Args:
            inputs: of every step.
            accept: whether the operator accepts that those of steps that were begun changed.

        Raises:
            InputError: they did, and the operator has not accepted it; names files and steps.
        """
        if not accept:
            inputs.refuse_changes(self.contents)
        self._files = inputs.files

    @property
    def identities(self) -> dict[str, str]:
        """Whose machines and cluster this is, by kind, as far as it is known."""
        with self._lock:
            return dict(self._identities)

    @property
    def trouble(self) -> str:
        """Why nothing is written any more; empty while all is well."""
        return self._appender.trouble

    def run_begins(self, run_id: str, command: str, steps: Mapping[str, str]) -> None:
        """A run begins; see `Recorder.run_begins`."""
        holds = {"run": run_id, "command": command, "steps": dict(steps), "files": dict(self._files)}
        self._write(Kind.RUN_BEGINS, holds)

    def action_begins(self, path: str, index: int, action: Action) -> None:
        """On disk before the action's effect; see `Recorder.action_begins`."""
        holds = {
            "step": path,
            "index": index,
            "description": action.description,
            "changes": action.changes.value,
            "kill_safety": action.kill_safety.value,
            "recognised_by": action.recognised_by,
        }
        self._write(Kind.ACTION_BEGINS, holds)

    def action_ended(self, path: str, index: int, seconds: float, error: str) -> None:
        """On disk after the effect; see `Recorder.action_ended`."""
        self._tell(
            Kind.ACTION_ENDED,
            {"step": path, "index": index, "seconds": _rounded(seconds), "error": error},
            durable=True,
        )

    def step_moved(self, path: str, state: State, reason: str, seconds: float) -> None:
        """A step reached another state; see `Recorder.step_moved`."""
        holds = {"step": path, "state": state.value, "reason": reason, "seconds": _rounded(seconds)}
        self._tell(Kind.STEP_MOVED, holds)

    def wait_ended(self, path: str, description: str, seconds: float, *, held: bool) -> None:
        """A wait ended; see `Recorder.wait_ended`."""
        holds = {"step": path, "description": description, "seconds": _rounded(seconds), "held": held}
        self._tell(Kind.WAIT_ENDED, holds)

    def phase_ended(self, name: str, state: State, seconds: float) -> None:
        """Every step of a phase is in a final state; see `Recorder.phase_ended`."""
        self._tell(Kind.PHASE_ENDED, {"phase": name, "state": state.value, "seconds": _rounded(seconds)})

    def run_ended(self, verdict: Verdict) -> None:
        """A run ended in its verdict; see `Recorder.run_ended`."""
        holds = {
            "state": verdict.state.value,
            "exit_code": int(verdict.exit_code),
            "seconds": _rounded(verdict.seconds),
            "failures": tuple(failure.fact for failure in verdict.failures),
        }
        self._tell(Kind.RUN_ENDED, holds, durable=True)

    def was_done(self, path: str) -> bool:
        """Whether a step was done when a run last looked at it; see `Recorder.was_done`."""
        return path in self.contents.done

    def usual_seconds(self, path: str, description: str) -> float | None:
        """What a wait took in earlier runs; see `Recorder.usual_seconds`."""
        return self.contents.usual_seconds(path, self._redact(description))

    def identify(self, kind: str, value: str) -> None:
        """Learn, or compare, whose machine or cluster this is; see `Recorder.identify`."""
        value = self._redact(value)
        with self._lock:
            known = self._identities.get(kind)
            if known not in {None, value}:
                if not self._life or kind in self._met:
                    raise self._foreign(kind, value)
                self._begin_life(kind)
                known = None
            if known is None:
                self._write(Kind.IDENTITY, {"kind": kind, "value": value})
                self._identities[kind] = value
            self._met.add(kind)

    def _begin_life(self, kind: str) -> None:
        """Forget the identities of other virtual machines, but for those that this run has met."""
        self._write(Kind.LIFE, {"life": self._life, "reason": f"another {kind}"})
        self._identities = {met: self._identities[met] for met in self._met}
        for met, value in self._identities.items():
            self._write(Kind.IDENTITY, {"kind": met, "value": value})

    def _foreign(self, kind: str, value: str) -> InputError:
        known, cluster = self._identities[kind], self.contents.cluster
        return InputError(
            f"the {kind} is {value}, but the journal of {cluster} has {known}",
            cause="the journal belongs to another cluster or machine than the one that answers",
            remedy="check the inventory's addresses; if the cluster was made anew, bootstrap with --rebuild-journal",
        )

    def _write(self, kind: Kind, holds: dict[str, Any]) -> None:
        self._appender.append(kind.value, redacted(holds, self._redact), durable=True)

    def _tell(self, kind: Kind, holds: dict[str, Any], *, durable: bool = False) -> None:
        """As `_write`, but what follows does not depend on it; a kill alone loses nothing that is not durable."""
        with contextlib.suppress(FirstlightError):
            self._appender.append(kind.value, redacted(holds, self._redact), durable=durable)

    def close(self) -> None:
        """The run is over."""
        self._appender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _compacted(kept: Kept, contents: Contents) -> tuple[Entry, ...]:
    """The records without those of old runs, when the last run is done; identities stay."""
    begins = [place for place, entry in enumerate(kept.entries) if entry.kind == Kind.RUN_BEGINS]
    if contents.last is None or not contents.last.done or len(begins) <= RUNS_KEPT:
        return kept.entries
    header, *before = kept.entries[: begins[-RUNS_KEPT]]
    lives = [place for place, entry in enumerate(before) if entry.kind == Kind.LIFE]
    standing = before[lives[-1] if lives else 0 :]
    identities = tuple(entry for entry in standing if entry.kind in {Kind.LIFE, Kind.IDENTITY})
    return (header, *identities, *kept.entries[begins[-RUNS_KEPT] :])


def _rounded(seconds: float) -> float:
    return round(seconds, 3)
