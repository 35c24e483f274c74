"""SIGINT and SIGTERM as messages."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

CAUGHT: Final = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def delivered_to(deliver: Callable[[int], None]) -> Iterator[None]:
    """While open, SIGINT and SIGTERM are handed over instead of ending the process.

    Only the main thread may open this. A handler runs between any two instructions of that thread, which may
    hold a lock, so `deliver` must be reentrant: `queue.SimpleQueue.put` is.

    Args:
        deliver: gets each signal's number.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        deliver(number)

    before = {number: signal.signal(number, handle) for number in CAUGHT}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
