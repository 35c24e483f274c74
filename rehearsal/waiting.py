"""Waiting for what is on the same machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bootstrap.host.errors import FirstlightError

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_for(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until something holds.

    Args:
        holds: asked ten times a second.
        seconds: for how long at most.
        what: completes "waiting for ...".

    Raises:
        FirstlightError: it did not come to hold.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise FirstlightError(f"gave up waiting for {what}", cause=f"nothing within {seconds:g} s")
        time.sleep(0.1)  # a local port: asking ten times a second costs nothing
