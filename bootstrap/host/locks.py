"""Locks on files: held by a process for as long as it lives, whatever ends it."""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import IO


def try_lock(file: IO[str]) -> bool:
    """Take the lock of an open file for as long as it stays open; false when somebody else holds it.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(file: IO[str]) -> bool:
    """Whether somebody else holds the lock of an open file; those who only look do not see each other.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def kill_holder(path: Path) -> None:
    """End the process that holds a lock at once."""
    inode = str(path.stat().st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        # number: FLOCK ADVISORY WRITE pid major:minor:inode start end, proc_locks(5)
        match line.split():
            case [_, "FLOCK", _, "WRITE", pid, place, *_] if place.endswith(f":{inode}") and int(pid) > 1:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
