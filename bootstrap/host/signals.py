"""Signal handlers for a while."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    Handler: TypeAlias = Callable[[int, FrameType | None], None]

# Those by which an operator, or whoever manages this machine, asks a program to end.
CAUGHT: Final = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def handled(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    """While open, these handlers are in place of those before; only the main thread may open this."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
