"""Process groups: a child, and all that it starts, ended together."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from bootstrap.host.process import read_stat

# Seconds for the kernel to end a killed process, and for us to see that it did.
KILL_SECONDS: Final = 1.0
# Seconds between two looks at a group that ends; short beside the second that a hard stop may take.
LOOK_SECONDS: Final = 0.02


def signal_group(group: int, number: int) -> None:
    """Send a signal to all of a group; nothing happens when it is gone."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def outlast(group: int, grace: float) -> None:
    """Wait for what an ended child had started in its group, and kill what outstays its grace.

    Args:
        group: the child's process id.
        grace: seconds.
    """
    if not _gone_within(group, grace):
        signal_group(group, signal.SIGKILL)
        _gone_within(group, KILL_SECONDS)


def has_ended(child: int) -> bool:
    """Whether a child of ours has ended, seen by somebody or not."""
    try:
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _gone_within(group: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _lives(group):
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    # A container whose first process reaps nobody keeps the dead in their groups.
    stats = [read_stat(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return not stats or any(stat and stat.group == group and not stat.is_dead for stat in stats)
