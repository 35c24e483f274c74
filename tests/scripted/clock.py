"""Time that passes only while everybody waits."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

# Real seconds between two looks at who waits: a step that ends, or an event that is set, tells nobody here.
LOOK_SECONDS = 0.001
# Real seconds without progress after which time goes on although a step does not wait here: it waits for one that does.
STUCK_SECONDS = 0.25


class _Pause(NamedTuple):
    end: float
    thread: int
    cancelled: threading.Event


class VirtualClock:
    """Goes on to the earliest end of a pause as soon as every thread of a step or a watch is in one.

    The engine names them `phase/step` and `watch <kind> <namespace>`; others may pause too and are not waited for.

    Args:
        now: where to begin.
    """

    missed = 0.0

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now
        self._condition = threading.Condition()
        self._pauses: set[_Pause] = set()
        self._progress = time.monotonic()

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time jump, as it does for a process that was stopped."""
        with self._condition:
            self._now += seconds
            self._condition.notify_all()

    def pause(self, seconds: float, cancelled: threading.Event) -> bool:
        """Until virtual time has gone on by `seconds`; true when `cancelled` was set before."""
        with self._condition:
            me = _Pause(self._now + seconds, threading.get_ident(), cancelled)
            self._pauses.add(me)
            self._condition.notify_all()
            try:
                while self._now < me.end and not cancelled.is_set():
                    self._wait(me)
            finally:
                self._pauses.remove(me)
                self._condition.notify_all()
        return cancelled.is_set()

    def _wait(self, me: _Pause) -> None:
        """The one whose pause ends first moves time on, or wakes those whose event was set; the others sleep."""
        if me is not min(self._pauses, key=lambda pause: (pause.end, pause.thread)):
            self._condition.wait()
        elif any(pause.cancelled.is_set() for pause in self._pauses):
            self._condition.notify_all()
            self._condition.wait(LOOK_SECONDS)
        elif self._all_wait():
            self._now = me.end
            self._progress = time.monotonic()
            self._condition.notify_all()
        else:
            self._condition.wait(LOOK_SECONDS)

    def _all_wait(self) -> bool:
        waiting = {pause.thread for pause in self._pauses}
        threads = threading.enumerate()
        steps = [thread.ident in waiting for thread in threads if "/" in thread.name]
        # A watch that its gate has left must not move time on while the next steps begin.
        if not any(steps):
            return False
        if all(steps) and all(thread.ident in waiting for thread in threads if thread.name.startswith("watch ")):
            return True
        return time.monotonic() - self._progress > STUCK_SECONDS
