"""SIGINT, SIGTERM and SIGHUP: as messages to a run, as an exit code elsewhere."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from bootstrap.host.signals import CAUGHT, handled
from bootstrap.host.streams import leave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

# What a shell adds to the number of the signal that ended a program.
SHELL_OFFSET: Final = 128
# Seconds; timeout(1), CI systems and the lab's escort signal us and then our group, no finger is as quick.
ECHO_SECONDS: Final = 0.05
# Seconds; by then the callback that swallowed the signal has returned.
AGAIN_SECONDS: Final = 0.05


@contextlib.contextmanager
def delivered_to(deliver: Callable[[int], None]) -> Iterator[None]:
    """While open, SIGINT and SIGTERM are handed over instead of ending the process, and SIGHUP does nothing.

    A run outlives its terminal: log and journal go on, and its end can be read there. The first signal is also the
    one by which `exiting` around it ends the process, whatever comes after the run, because the verdict names it.
    Only the main thread may open this. A handler runs between any two instructions of that thread, which may
    hold a lock, so `deliver` must be reentrant: `queue.SimpleQueue.put` is.

    Args:
        deliver: gets each signal's number; one that follows another at once is the same one to a person.
    """
    heard: dict[int, float] = {}
    around = [getattr(signal.getsignal(number), "__self__", None) for number in CAUGHT]
    stoppers = [one for one in around if isinstance(one, _Stopper)]

    def handle(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - heard.get(number, -ECHO_SECONDS) >= ECHO_SECONDS:
            for stopper in stoppers:
                stopper.number = stopper.number or number
            deliver(number)
        heard[number] = now

    def outlive(_number: int, _frame: FrameType | None) -> None:
        """A handler and not `SIG_IGN`, because children would inherit that."""

    with handled({**dict.fromkeys(CAUGHT, handle), signal.SIGHUP: outlive}):
        yield


@contextlib.contextmanager
def exiting() -> Iterator[None]:
    """While open, the first SIGINT or SIGTERM raises `SystemExit` in the main thread and ends the process.

    For all that is done before and after a run: whoever has a child ends it on the way out. At the end of that way
    the process exits with the code that a shell expects, whatever its other threads do.
    """
    stopper = _Stopper()
    with handled(dict.fromkeys(CAUGHT, stopper.stop)), stopper.insisting():
        try:
            yield
        except BaseException:
            # The interpreter may wrap what was raised: one that comes in a __set_name__ arrives as RuntimeError.
            if stopper.stopped:
                leave(SHELL_OFFSET + stopper.number, sys.stdout, sys.stderr)
            raise


class _StoppedError(SystemExit):
    """A signal came."""

    def __init__(self, number: int) -> None:
        super().__init__(SHELL_OFFSET + number)
        self.number = number


class _Stopper:
    """Raises once: a second exception would hit the way out that the first one takes.

    Attributes:
        stopped: whether it raised.
        number: the first signal, whoever it was told to; 0 while there is none.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.number = 0

    def stop(self, number: int, _frame: FrameType | None) -> None:
        if not self.stopped:
            self.stopped = True
            self.number = self.number or number
            raise _StoppedError(self.number)

    @contextlib.contextmanager
    def insisting(self) -> Iterator[None]:
        """While open, a signal whose exception the interpreter swallowed comes once more.

        It does that in callbacks of its own, those of every import among them.
        """
        before = sys.unraisablehook

        def send_again(lost: sys.UnraisableHookArgs) -> None:
            if not isinstance(lost.exc_value, _StoppedError):
                before(lost)
                return
            self.stopped = False
            timer = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), lost.exc_value.number))
            timer.daemon = True
            timer.start()

        sys.unraisablehook = send_again
        try:
            yield
        finally:
            sys.unraisablehook = before
