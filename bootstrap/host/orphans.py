"""Programs that outlive the run that started them: told by a variable of theirs, and ended by the next run.

Every program of a run has a session of its own, so nothing ends it when the run itself is killed.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from bootstrap.host.groups import KILL_SECONDS, LOOK_SECONDS

# Holds the id of the run; children hand it on to what they start.
RUN_VARIABLE: Final = "FIRSTLIGHT_RUN"


def end_orphans(run: str, *, grace: float) -> tuple[str, ...]:
    """End every program of a run that is over; those of other users are neither seen nor touched.

    Args:
        run: its id.
        grace: seconds between SIGTERM and SIGKILL.

    Returns:
        What lived, as `helm (pid 4711)`.
    """
    found = _of(run)
    names = tuple(f"{_name(pid)} (pid {pid})" for pid in found)
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_SECONDS)):
        _signal(found, number)
        deadline = time.monotonic() + seconds
        while (found := _of(run)) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
    return names


def _of(run: str) -> list[int]:
    """The living processes of a run; a dead one has no environment."""
    wanted = f"{RUN_VARIABLE}={run}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return sorted(found)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a program"


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
