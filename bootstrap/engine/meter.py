"""Whose time it is: ours, or somebody's that we wait for."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.host.clock import Clock
    from bootstrap.host.commands import Command, CommandRunner, Result


class Meter:
    """Counts the time in which a child process, request, gate or pause was outstanding on any thread.

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
            return now

    def _close(self, kind: str, began: float) -> None:
        with self._lock:
            now = self._clock.monotonic()
            self._outstanding -= 1
            if self._outstanding == 0:
                self._outside += now - self._since
            self._by_kind[kind] = self._by_kind.get(kind, 0.0) + now - began

    @property
    def ours_seconds(self) -> float:
        """Seconds since the meter was made in which nothing was outstanding on any thread."""
        with self._lock:
            now = self._clock.monotonic()
            still_open = now - self._since if self._outstanding else 0.0
            return now - self._began - self._outside - still_open

    @property
    def by_kind(self) -> dict[str, float]:
        """Seconds outstanding by kind, summed over threads, ended intervals only."""
        with self._lock:
            return dict(sorted(self._by_kind.items()))


class MeteredCommandRunner:
    """A command runner whose children's time counts as outside.

    Args:
        runner: starts the programs.
        meter: counts.
    """

    def __init__(self, runner: CommandRunner, meter: Meter) -> None:
        self._runner = runner
        self._meter = meter

    def run(self, command: Command) -> Result:
        """Run to the end; see `CommandRunner.run`."""
        with self._meter.outside("command"):
            return self._runner.run(command)
