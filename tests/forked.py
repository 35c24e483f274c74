"""Processes of a fork server that several threads start and wait for.

Starting one polls all others (`multiprocessing.process._cleanup`), and the fork server tells an exit code once: of two
threads that poll one process, the second reads 255. Here only one polls at a time.
"""

from __future__ import annotations

import threading
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

_POLLING = threading.Lock()


def start(process: ForkServerProcess) -> None:
    """Start a process."""
    with _POLLING:
        process.start()


def end_of(process: ForkServerProcess, seconds: float) -> int | None:
    """Wait for a process; one that hangs is killed.

    Args:
        process: was started by `start`.
        seconds: the longest to wait.

    Returns:
        The exit code, negative for the signal that ended it; None when it had to be killed.
    """
    hangs = not wait([process.sentinel], seconds)
    if hangs:
        process.kill()
        wait([process.sentinel])
    with _POLLING:
        code = process.exitcode
        process.close()
    return None if hangs else code
