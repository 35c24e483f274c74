"""A clock that skips what everybody only waits for, so that a run of five minutes takes seconds and is exact."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final

# Real seconds in which nobody began or ended a pause: a thread that has something to do gets a turn before that.
QUIET_SECONDS: Final = 0.02
# Real seconds between two looks whether that is so.
LOOK_SECONDS: Final = 0.002


@dataclass(eq=False)
class _Pause:
    end: float
    cancelled: threading.Event


class SkippingClock:
    """Goes on to the earliest end of a pause when nothing has happened for a moment; otherwise it stands still."""

    missed = 0.0

    def __init__(self) -> None:
        self._now = 0.0
        self._condition = threading.Condition()
        self._pauses: set[_Pause] = set()
        self._touched = time.monotonic()

    def monotonic(self) -> float:
        """Skipped seconds."""
        return self._now

    def pause(self, seconds: float, cancelled: threading.Event) -> bool:
        """Until time has gone on by `seconds`; true when `cancelled` was set before."""
        with self._condition:
            me = _Pause(self._now + seconds, cancelled)
            self._pauses.add(me)
            self._touch()
            while self._now < me.end and not cancelled.is_set():
                self._condition.wait(LOOK_SECONDS)
                self._skip()
            self._pauses.remove(me)
            self._touch()
        return cancelled.is_set()

    def _touch(self) -> None:
        self._touched = time.monotonic()

    def _skip(self) -> None:
        is_quiet = time.monotonic() - self._touched > QUIET_SECONDS
        if is_quiet and not any(pause.cancelled.is_set() for pause in self._pauses):
            self._now = max(self._now, min(pause.end for pause in self._pauses))
            self._touch()
            self._condition.notify_all()
