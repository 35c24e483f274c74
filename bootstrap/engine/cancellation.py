"""Why a run is to stop, as every thread of it sees it."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cancellation:
    """Set once by the first failure, once more by an interrupt; never taken back.

    Attributes:
        stopping: a step failed or the operator interrupted: no new action starts and gates are left.
        interrupted: the operator interrupted: waits inside an action end as well.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.interrupted = threading.Event()
        self._lock = threading.Lock()
        self._failed = ""
        self._signal_number = 0
        self._told: list[threading.Event] = []

    @contextlib.contextmanager
    def telling(self, event: threading.Event) -> Iterator[None]:
        """While open, whatever stops the run sets `event` too, after the events above."""
        with self._lock:
            self._told.append(event)
        try:
            yield
        finally:
            with self._lock:
                self._told.remove(event)

    def fail(self, path: str) -> None:
        """The step `path` failed; only the first one is kept."""
        with self._lock:
            self._failed = self._failed or path
        self.stopping.set()
        self._tell()

    def interrupt(self, signal_number: int) -> None:
        """The operator's first signal; not to be called from a signal handler, because it takes locks."""
        with self._lock:
            self._signal_number = self._signal_number or signal_number
        self.interrupted.set()
        self.stopping.set()
        self._tell()

    @property
    def signal_number(self) -> int:
        """The first signal; 0 when there was none."""
        return self._signal_number

    @property
    def reason(self) -> str:
        """Why the run stops; empty while it does not."""
        if self._signal_number:
            return f"interrupted by {signal.Signals(self._signal_number).name}"
        return f"{self._failed} failed" if self._failed else ""

    def _tell(self) -> None:
        with self._lock:
            for event in self._told:
                event.set()
