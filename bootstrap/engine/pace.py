"""When a gate looks next, and since when its condition has held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

# A pause without news makes the next one longer by half: from 0.5 s to 10 s within eight looks.
GROWTH: Final = 1.5
# A tenth either way keeps several runs, and the gates of one, from asking in step.
JITTER: Final = 0.1


class Pace:
    """Pauses between attempts that grow while there is no news.

    Args:
        interval: seconds of the first pause, and of the one after any news.
        slowest: seconds up to which pauses grow; None keeps `interval`, exactly.
        random: of the jitter.
    """

    def __init__(self, interval: float, slowest: float | None, random: Random) -> None:
        self._interval = interval
        self._slowest = slowest
        self._random = random
        self._pause = 0.0

    def next(self, *, news: bool) -> float:
        """Seconds until the next attempt that nobody asks for."""
        if self._slowest is None:
            return self._interval
        longer = min(self._pause * GROWTH, self._slowest)
        self._pause = self._interval if news else max(longer, self._interval)
        return self._pause * self._random.uniform(1 - JITTER, 1 + JITTER)


class Holding:
    """How often in a row and for how long a condition has held, and how much of that was our time.

    All times are the clock's seconds.

    Args:
        times: how often in a row it must hold.
        stable: seconds between the end of the first look of the row and the beginning of the last one.
    """

    def __init__(self, times: int, stable: float) -> None:
        self._times = times
        self._stable = stable
        self._in_a_row = 0
        self._visible = 0.0
        self._until = 0.0
        self._looking = 0.0
        self._doubt = 0.0
        self._missed: float | None = None

    def looked(self, *, holds: bool, woken: float | None, began: float, ended: float) -> bool:
        """Take one look; true when the condition has held for long enough.

        Args:
            holds: what was seen.
            woken: when a watch asked for this look; None when nobody did.
            began: of the look.
            ended: of the look.
        """
        if not holds:
            self._in_a_row, self._missed = 0, ended
            return False
        if self._in_a_row == 0:
            self._until = ended + self._stable
            self._visible = began if woken is None else woken
            self._doubt = 0.0 if self._missed is None or woken is not None else began - self._missed
            self._looking = 0.0
        self._in_a_row += 1
        self._looking += ended - began
        return self._in_a_row >= self._times and (not self._stable or began >= self._until)

    def remaining(self, now: float) -> float | None:
        """Seconds until the one look that is still missing ends the wait; None when more than that is missing."""
        is_last = self._in_a_row > 0 and self._in_a_row + 1 >= self._times
        return self._until - now if is_last and now < self._until else None

    @property
    def holds(self) -> bool:
        """Whether it held at the last look."""
        return self._in_a_row > 0

    @property
    def text(self) -> str:
        """What is still wanted of a condition that holds; empty where one look is enough."""
        wanted = [f"{self._in_a_row} of {self._times} in a row"] if self._times > 1 else []
        if self._stable:
            wanted.append(f"has to hold for {self._stable:g} s")
        return f" ({', '.join(wanted)})" if self.holds and wanted else ""

    def ours(self, ended: float) -> float:
        """Seconds of ours in a wait that ended now; 0 when the condition does not hold."""
        return ended - self._visible - self._looking if self.holds else 0.0

    @property
    def doubt(self) -> float:
        """Seconds within which a condition that holds had become true unseen."""
        return self._doubt if self.holds else 0.0
