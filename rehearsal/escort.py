"""A child of ours on our own terminal: what it hears of the operator's signals, and how we end with it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

# What an operator, a terminal or a CI system ends a command with.
PASSED_ON: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
# linux/prctl.h
PR_SET_PDEATHSIG: Final = 1


def escort(play: Callable[[], NoReturn]) -> NoReturn:
    """Do something in a child of one thread and end as it ends; see `accompany`."""
    status = accompany(play)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def accompany(play: Callable[[], NoReturn], beside: Callable[[], None] = lambda: None) -> int:
    """Do something in a child of one thread and wait for its end; when we are killed, so is the child.

    A signal from the terminal reaches the child by itself, because it is in our process group; one that a process
    sent to us is passed on.

    Args:
        play: called in the child; executes a program, or escorts somebody itself. Its signals stay blocked here
            afterwards, so that what is to be cleaned up is.
        beside: called here as soon as there is a child; may begin threads.

    Returns:
        The child's exit code, or 128 and the signal that ended it.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED_ON, signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        die_with_parent()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            play()
        except OSError as error:
            sys.stderr.write(f"error: {error.filename or 'the command'} cannot be run: {error.strerror}\n")
        finally:
            os._exit(os.EX_OSERR)
    beside()
    return _await(child)


def die_with_parent() -> None:
    """Have the kernel end us when our parent is ended, so that `kill -9` of the command reaches the run."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _await(child: int) -> int:
    """Pass signals on until the child has ended; its exit code, or 128 and the signal that ended it."""
    while True:
        info = signal.sigwaitinfo({*PASSED_ON, signal.SIGCHLD})
        # The kernel, for the terminal, names no sender (sigaction(2), SI_KERNEL).
        if info.si_signo in PASSED_ON and info.si_pid:
            os.kill(child, info.si_signo)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
