"""Processors that hang under emulation, and the reset that ends it.

QEMU's multi-threaded emulation loses an end of interrupt now and then, on a loaded host and mostly while a kernel
boots (seen with 10.0.2): the local APIC keeps the timer's interrupt in service for ever and takes no other, so the
processor never wakes again and the machine stands still. Hardware has no such accident, so the lab ends it.
"""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bootstrap.host.errors import FirstlightError

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds between two looks; each holds the monitor for less than a millisecond.
INTERVAL: Final = 2.0
# An interrupt is served in microseconds. Ten seconds with the same one are no slow host: its threads are scheduled
# many times in that.
LOOKS: Final = 5
IN_SERVICE: Final = re.compile(r"^ISR\s+([\d ]+)", re.MULTILINE)


class Hangs:
    """Counts how long each processor has served the same interrupts.

    Args:
        processors: how many there are.
    """

    def __init__(self, processors: int) -> None:
        self._served: dict[int, tuple[str, int]] = {}
        self._processors = processors

    def look(self, ask: Callable[[int], str]) -> int | None:
        """Look at every processor once.

        Args:
            ask: what QEMU's `info lapic` prints for a processor.

        Returns:
            The processor that hangs, None when none does.
        """
        for processor in range(self._processors):
            found = IN_SERVICE.search(ask(processor))
            vectors = found[1].strip() if found else ""
            before, looks = self._served.get(processor, ("", 0))
            looks = looks + 1 if vectors and vectors == before else int(bool(vectors))
            self._served[processor] = (vectors, looks)
            if looks >= LOOKS:
                return processor
        return None

    def forget(self) -> None:
        """Begin anew: the machine was stopped or reset."""
        self._served.clear()


def guard(
    processors: int,
    *,
    lives: Callable[[], bool],
    runs: Callable[[], bool],
    ask: Callable[[int], str],
    reset: Callable[[int], None],
) -> None:
    """Reset a machine whose processor hangs, for as long as it lives, in a thread of its own.

    Args:
        processors: how many it has.
        lives: whether its QEMU runs.
        runs: whether its processors do; a stopped one serves its interrupt for as long as it is stopped.
        ask: what QEMU's `info lapic` prints for a processor.
        reset: told which processor hangs.
    """

    def watch() -> None:
        hangs = Hangs(processors)
        while lives():
            time.sleep(INTERVAL)
            if not runs():
                hangs.forget()
                continue
            with suppress(FirstlightError):  # QEMU ends, or saves its memory
                hanging = hangs.look(ask)
                if hanging is not None:
                    reset(hanging)
                    hangs.forget()

    threading.Thread(target=watch, name="processors", daemon=True).start()
