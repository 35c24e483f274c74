"""Time, behind a small protocol so that tests need not wait."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

# Seconds between two looks at the time that a running process is sure to take; rare enough to cost nothing.
PULSE_SECONDS: Final = 1.0
# Seconds without a single look that mean a stop or a sleep: a loaded machine gives every thread a turn before that.
GAP_SECONDS: Final = 5.0


class Clock(Protocol):
    """Monotonic time and an interruptible pause."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""

    def pause(self, seconds: float, cancelled: threading.Event) -> bool:
        """Wait at most `seconds`; true when `cancelled` was set meanwhile."""

    @property
    def missed(self) -> float:
        """Seconds so far that are no part of `monotonic`, because this process did not run."""


class SystemClock:
    """The machine's own clock."""

    missed = 0.0

    def monotonic(self) -> float:
        """Seconds since boot."""
        return time.monotonic()

    def pause(self, seconds: float, cancelled: threading.Event) -> bool:
        """Wait at most `seconds`; true when `cancelled` was set meanwhile."""
        return cancelled.wait(max(0.0, seconds))


def since_boot() -> float:
    """Seconds since boot, those in which the machine slept included: what others see pass."""
    # Where there is no such clock (macOS), the monotonic one counts sleep.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class AwakeClock:
    """Time that stands still while this process is stopped (SIGSTOP) or the machine sleeps.

    So a deadline never passes unseen: what was left of it before the stop is left after it. While it is open, a
    thread looks at the time once a pulse; whoever looks first after a gap, that thread or any other, takes the gap
    out, so that nobody ever sees it as time that passed. A context manager.

    Args:
        now: seconds that go on during stop and sleep.
        pulse: seconds between two looks.
        gap: seconds without a look that mean that the process did not run; more than a few pulses.
    """

    def __init__(
        self, now: Callable[[], float] = since_boot, *, pulse: float = PULSE_SECONDS, gap: float = GAP_SECONDS
    ) -> None:
        self._now = now
        self._pulse = pulse
        self._gap = gap
        self._lock = threading.Lock()
        self._seen = now()
        self._missed = 0.0
        self._closed = threading.Event()

    def monotonic(self) -> float:
        """Seconds in which this process could run; never goes back."""
        with self._lock:
            now = self._now()
            if now - self._seen > self._gap:
                self._missed += now - self._seen
            self._seen = now
            return now - self._missed

    def pause(self, seconds: float, cancelled: threading.Event) -> bool:
        """Wait at most `seconds`; true when `cancelled` was set meanwhile."""
        return cancelled.wait(max(0.0, seconds))

    @property
    def missed(self) -> float:
        """Seconds so far in which this process did not run."""
        self.monotonic()
        return self._missed

    def __enter__(self) -> Self:
        threading.Thread(target=self._look, name="clock", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()

    def _look(self) -> None:
        while not self._closed.wait(self._pulse):
            self.monotonic()
