"""Whose time it is: ours, or somebody's that we wait for.

Time is the world's while a child process, a request, a look of a gate or a watch is outstanding; all the rest is
ours, our own sleeps included. What that means for each:

- A child process and a request are the world's from start to end, whatever they do.
- A look of a gate is the world's: it is a request or a child in all but name.
- The pause between two looks of a gate is the world's as long as the last look did not hold. Once it held, a
  pause (`times`, `stable`) is a sleep of our own choosing, so ours, as is the pause before a retry.
- A gate's own time (`WaitRecord.ours`) goes from the moment at which its condition became visible to the end of
  the wait, looks left out. It becomes visible when the watch calls `wake`; without a watch when the first look
  that held began.
- Nobody tells when a polled condition became true: it was some time after the last look that did not hold. That
  pause is the world's and is reported as `WaitRecord.doubt`, at most one interval; it is 0 for what was woken and
  for what held at the first look.

Three sums follow. The meter's own counts time in which nothing was outstanding on any thread, so that it never
charges us for work beside a wait. A step's counts that of its thread alone. A phase's adds those of its critical
path: the chain of steps that made the phase as long as it was.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from bootstrap.engine.failures import error_class
from bootstrap.host.commands import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.host.clock import Clock
    from bootstrap.host.commands import Command, CommandRunner, Result


class _Thread(threading.local):
    """What one thread has outstanding."""

    depth = 0
    since = 0.0
    outside = 0.0


class Meter:
    """Counts the time in which a child process, request, gate or pause was outstanding.

    All the rest since the meter was made is ours. Safe to use from several threads.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock.monotonic()
        self._outstanding = 0
        self._since = 0.0
        self._outside = 0.0
        self._by_kind: dict[str, float] = {}
        self._thread = _Thread()

    @contextlib.contextmanager
    def outside(self, kind: str) -> Iterator[None]:
        """While open, time passes for others; `kind` is `command`, `request`, `gate` or `pause`."""
        began = self._open()
        try:
            yield
        finally:
            self._close(kind, began)

    def _open(self) -> float:
        with self._lock:
            now = self._clock.monotonic()
            if self._outstanding == 0:
                self._since = now
            self._outstanding += 1
        if self._thread.depth == 0:
            self._thread.since = now
        self._thread.depth += 1
        return now

    def _close(self, kind: str, began: float) -> None:
        with self._lock:
            now = self._clock.monotonic()
            self._outstanding -= 1
            if self._outstanding == 0:
                self._outside += now - self._since
            self._by_kind[kind] = self._by_kind.get(kind, 0.0) + now - began
        self._thread.depth -= 1
        if self._thread.depth == 0:
            self._thread.outside += now - self._thread.since

    @property
    def ours_seconds(self) -> float:
        """Seconds since the meter was made in which nothing was outstanding on any thread."""
        with self._lock:
            now = self._clock.monotonic()
            still_open = now - self._since if self._outstanding else 0.0
            return now - self._began - self._outside - still_open

    @property
    def thread_outside_seconds(self) -> float:
        """Seconds in which the calling thread had something outstanding, ended intervals only."""
        return self._thread.outside

    @property
    def by_kind(self) -> dict[str, float]:
        """Seconds outstanding by kind, summed over threads, ended intervals only."""
        with self._lock:
            return dict(sorted(self._by_kind.items()))


class MeteredCommandRunner:
    """A command runner whose children's time counts as outside, and whose errors name their class.

    Args:
        runner: starts the programs.
        meter: counts.
    """

    def __init__(self, runner: CommandRunner, meter: Meter) -> None:
        self._runner = runner
        self._meter = meter

    def run(self, command: Command) -> Result:
        """Run to the end; see `CommandRunner.run`."""
        try:
            with self._meter.outside("command"):
                return self._runner.run(command)
        except CommandError as error:
            error.error_class = error_class(command.program.name, error)
            raise
