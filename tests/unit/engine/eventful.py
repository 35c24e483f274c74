"""A fake clock on which things happen, for gates that somebody wakes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from bootstrap.engine.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable


class EventfulClock(FakeClock):
    """While somebody pauses, each thing happens at its time, on a thread of its own."""

    def __init__(self) -> None:
        super().__init__(now=0.0)
        self._due: list[tuple[float, Callable[[], None]]] = []

    def at(self, seconds: float, happening: Callable[[], None]) -> None:
        self._due.append((seconds, happening))

    def pause(self, seconds: float, cancelled: threading.Event) -> bool:
        until = self.monotonic() + seconds
        while not cancelled.is_set() and (due := min((one for one in self._due if one[0] <= until), default=None)):
            self._due.remove(due)
            self.advance(max(0.0, due[0] - self.monotonic()))
            thread = threading.Thread(target=due[1])
            thread.start()
            thread.join()
        return super().pause(until - self.monotonic(), cancelled)
