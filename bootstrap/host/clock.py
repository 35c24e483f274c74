"""Time, behind a protocol of two methods so that tests need not wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading


class Clock(Protocol):
    """Monotonic time and an interruptible pause."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""

    def pause(self, seconds: float, cancelled: threading.Event) -> bool:
        """Wait at most `seconds`; true when `cancelled` was set meanwhile."""


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Seconds since boot."""
        return time.monotonic()

    def pause(self, seconds: float, cancelled: threading.Event) -> bool:
        """Wait at most `seconds`; true when `cancelled` was set meanwhile."""
        return cancelled.wait(max(0.0, seconds))
