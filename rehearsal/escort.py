"""A command as our child on our own terminal: what it hears of the operator's signals, and how we end with it."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# What an operator, a terminal or a CI system ends a command with.
PASSED_ON: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def escort(command: Sequence[str], environment: Mapping[str, str], *, before: Callable[[], None]) -> NoReturn:
    """Run a command as our child and end as it ends.

    A signal from the terminal reaches the child by itself, because it is in our process group; one that a process
    sent to us is passed on.

    Args:
        command: argv, the program by its absolute path.
        environment: all of it.
        before: called in the child before the command is executed.
    """
    before_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED_ON, signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        try:
            before()
            signal.pthread_sigmask(signal.SIG_SETMASK, before_mask)
            os.execve(command[0], list(command), dict(environment))  # noqa: S606 # argv is a list, no shell
        except OSError as error:
            sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        finally:
            os._exit(os.EX_OSERR)
    status = _accompany(child)
    # What was buffered was the parent's before the fork and is written by it alone.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _accompany(child: int) -> int:
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
