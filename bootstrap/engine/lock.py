"""One run a cluster on one machine: the kernel's lock decides, the owner file beside it informs."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from typing import IO, TYPE_CHECKING, Final, Self

from bootstrap.engine.events import PhaseStarted, Stamped
from bootstrap.host.commands import GRACE_SECONDS
from bootstrap.host.errors import InputError, LockedError, Problem
from bootstrap.host.files import write_atomically
from bootstrap.host.locks import is_held, try_lock
from bootstrap.host.orphans import end_orphans
from bootstrap.host.process import Process, this_process, user_name

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

LOCK_FILE: Final = "lock"
OWNER_FILE: Final = "owner.json"
# Seconds for whoever just took the lock to say who it is: two small writes and an fsync on a busy disk.
INTRODUCTION_SECONDS: Final = 1.0
# Seconds between two looks at that; somebody who only looks at the lock has it for less.
LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Owner:
    """Who works on a cluster.

    Attributes:
        user: name of the operator.
        process: the run's process, by its place.
        since: when the run began, UTC, ISO 8601.
        phase: the phase that runs; empty before the first one.
        run: the run's id.
        command: the command line to type again.
    """

    user: str
    process: Process
    since: str
    phase: str
    run: str
    command: str

    @classmethod
    def of_this_process(cls, run: str, command: str, now: datetime) -> Owner:
        """The calling process, before its first phase."""
        return cls(user_name(), this_process(), now.isoformat(timespec="seconds"), "", run, command)

    def __str__(self) -> str:
        """One line: who, pid, host, since, phase, run and command."""
        elsewhere = "" if self.process.namespace == this_process().namespace else " of another PID namespace"
        doing = f"in phase {self.phase}" if self.phase else "before its first phase"
        return (
            f"{self.user}, pid {self.process.pid}{elsewhere} on {self.process.host}, since {self.since}, {doing}, "
            f"run {self.run}: {self.command}"
        )


def read_owner(folder: Path) -> Owner | None:
    """Who works on a cluster at this moment.

    Args:
        folder: `.firstlight/<cluster>`.

    Returns:
        None when nobody does, or when somebody has just begun and did not say yet who it is.
    """
    try:
        with (folder / LOCK_FILE).open() as file:
            return _written(folder) if is_held(file) else None
    except OSError:
        return None


class RunLock:
    """A cluster's folder to ourselves for as long as this process lives; a context manager.

    Programs that a killed run left are ended first, while its owner file still names it: whoever is killed over that
    leaves the same to the next. It is also a reader of events: the phase in the owner file follows the run.

    Args:
        folder: `.firstlight/<cluster>`; made when missing, mode 0700.
        owner: what others are told.
        cluster: its name.

    Attributes:
        left_behind: the owner of a run that ended without giving the lock back; None when there was none.
        ended: programs of that run that still lived and were ended.
    """

    def __init__(self, folder: Path, owner: Owner, *, cluster: str) -> None:
        self.left_behind: Owner | None = None
        self.ended: tuple[str, ...] = ()
        self._folder = folder
        self._owner = owner
        self._cluster = cluster
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Take it.

        Raises:
            LockedError: another run has it; names who, pid, host, since, phase.
            InputError: the folder cannot be written, or its file system has no locks.
        """
        with ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                # Appending, so that opening changes nothing; Python keeps the descriptor from children.
                file = stack.enter_context((self._folder / LOCK_FILE).open("a"))
            except OSError as error:
                raise self._refused(error, "make the folder and its files writable for you") from None
            self._take(file)
            self.left_behind = _written(self._folder)
            if self.left_behind:
                self.ended = end_orphans(self.left_behind.run, grace=GRACE_SECONDS)
            stack.callback(self._forget)
            try:
                self._tell()
            except OSError as error:
                raise self._refused(error, "make room on the disk, and the folder writable for you") from None
            self._held = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def read(self, stamped: Stamped) -> None:
        """Follow the run's phases.

        Raises:
            OSError: the owner file cannot be written.
        """
        if isinstance(stamped.event, PhaseStarted):
            self._owner = replace(self._owner, phase=stamped.event.phase)
            self._tell()

    def _take(self, file: IO[str]) -> None:
        looks = 0
        deadline = time.monotonic() + INTRODUCTION_SECONDS
        try:
            while not try_lock(file):
                looks += 1
                owner = _written(self._folder)
                # Somebody who only looks has the lock for a moment, and an owner just beginning a stale file.
                if owner and looks > 1 and not owner.process.is_surely_dead:
                    raise self._locked(str(owner))
                if time.monotonic() > deadline:
                    raise self._locked("it has not said who it is")
                time.sleep(LOOK_SECONDS)
        except OSError as error:
            remedy = "put the repository on a local file system"
            raise self._refused(error, remedy) from None

    def _tell(self) -> None:
        content = json.dumps(asdict(self._owner), indent=1) + "\n"
        write_atomically(self._folder / OWNER_FILE, content.encode(), mode=0o600)

    def _forget(self) -> None:
        with suppress(OSError):
            (self._folder / OWNER_FILE).unlink()

    def _locked(self, cause: str) -> LockedError:
        return LockedError(
            f"another run works on cluster {self._cluster}",
            cause=cause,
            remedy=f"./invoke status --cluster {self._cluster}",
        )

    def _refused(self, error: OSError, remedy: str) -> InputError:
        problem = Problem(error.strerror or str(error), os.fspath(error.filename or self._folder / LOCK_FILE))
        return InputError(f"cluster {self._cluster} cannot be locked; nothing was changed", (problem,), remedy=remedy)


def _written(folder: Path) -> Owner | None:
    """What the owner file says; None when there is none or nobody can read it."""
    try:
        content = json.loads((folder / OWNER_FILE).read_bytes())
        return Owner(**{**content, "process": Process(**content["process"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
