"""A fault at the first, second, third ... place of a run, until a run ends without it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# As many at the same time as the smallest machine has cores.
_TOGETHER = 2
# More places than any run has: a sweep that never ends unhit has failed.
_MANY = 100


def sweep(attempt: Callable[[int], bool]) -> int:
    """How many places there are.

    Args:
        attempt: tries the n-th place, counted from 1; false when the run had no such place.
    """
    with ThreadPoolExecutor(_TOGETHER) as pool:
        for first in range(1, _MANY, _TOGETHER):
            happened = list(pool.map(attempt, range(first, first + _TOGETHER)))
            if not all(happened):
                return first - 1 + sum(happened)
    raise AssertionError(f"after {_MANY} places there is no end")
