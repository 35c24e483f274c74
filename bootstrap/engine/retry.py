"""Trying again: one table of what is worth it, and one way to do it.

Every error of a program or an API that a run calls names its class in `FirstlightError.error_class`; the table says
whether the same call may succeed later without anybody changing anything. What is in no row is never tried again.
Classes are plain texts, so that the table needs to import nobody.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, TypeVar

from bootstrap.engine.retry_table import NO_ROW, TABLE, Again, Row
from bootstrap.host.errors import FirstlightError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tenacity import RetryCallState

    from bootstrap.host.clock import Clock

ValueT = TypeVar("ValueT")

# A pause is at least this part of its whole, so that jitter spreads calls and still leaves the other side time.
LEAST_PART: Final = 0.5


@dataclass(frozen=True)
class Patience:
    """How often and how long something is tried.

    Attributes:
        attempts: in all, the first one included.
        seconds: after which no attempt begins.
        first: seconds of the first pause; each further one is twice as long.
        slowest: seconds of the longest pause, unless the other side asks for more.
        again: which rows of the table are tried again.
    """

    attempts: int
    seconds: float
    first: float
    slowest: float
    again: frozenset[Again] = frozenset({Again.SOON, Again.LATER})


# A step: 1 + 2 + 4 + 8 s, then every 15 s, some two and a half minutes: a control plane that restarts is back by then.
STEP: Final = Patience(attempts=12, seconds=300.0, first=1.0, slowest=15.0)
# One request inside a step: a storm of errors or a leader election of etcd (1 to 3 s) passes within it. Whatever
# has to come back first is for the step to wait for.
REQUEST: Final = Patience(attempts=8, seconds=10.0, first=0.05, slowest=2.0, again=frozenset({Again.SOON}))
# Reading one secret: two of them stay below half a minute, after which a person wants to know.
SECRET: Final = Patience(attempts=5, seconds=10.0, first=0.5, slowest=4.0)


def row_of(error: BaseException) -> Row:
    """The table's row for an error."""
    return TABLE.get(error.error_class, NO_ROW) if isinstance(error, FirstlightError) else NO_ROW


def had_no_effect(error: FirstlightError) -> bool:
    """Whether a call that failed so may be sent again although it may be carried out only once."""
    row = row_of(error)
    return row.again is not Again.NEVER and not row.effect


class Retry:
    """Calls something until it succeeds, fails for good, or patience ends; then the last error is raised.

    Args:
        patience: how often and how long.
        clock: measures time and pauses.
        random: of the jitter.
        cancelled: ends a pause, and with it all further attempts.
        tell: told before each pause what failed and when the next attempt comes.
    """

    def __init__(
        self,
        patience: Patience,
        *,
        clock: Clock,
        random: Random,
        cancelled: threading.Event | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._random = random
        self._cancelled = cancelled or threading.Event()
        self._tell = tell

    def __call__(
        self,
        call: Callable[[], ValueT],
        *,
        seconds: float | None = None,
        once: bool = False,
        too_late: Callable[[FirstlightError], FirstlightError] | None = None,
    ) -> ValueT:
        """The result of the first call that succeeds.

        Args:
            call: what is tried.
            seconds: after which no attempt begins, when that is earlier than patience says.
            once: the call may be carried out only once, so it is repeated only after an error without effect.
            too_late: what is raised in place of the last error when `seconds` ended what patience had not.
        """
        from tenacity import Retrying, retry_if_exception

        began = self._clock.monotonic()
        allowed = self._patience.seconds if seconds is None else min(seconds, self._patience.seconds)
        was_cut = False

        def give_up(state: RetryCallState) -> bool:
            nonlocal was_cut
            is_too_late = self._clock.monotonic() - began + state.upcoming_sleep > allowed
            at_end = state.attempt_number >= self._patience.attempts or self._cancelled.is_set()
            was_cut = is_too_late and not at_end and allowed < self._patience.seconds
            return is_too_late or at_end

        def worth_it(error: BaseException) -> bool:
            row = row_of(error)
            return row.again in self._patience.again and not (once and row.effect)

        retrying = Retrying(
            retry=retry_if_exception(worth_it),
            wait=self._wait,
            stop=give_up,
            sleep=lambda _seconds: None,
            before_sleep=self._pause,
            reraise=True,
        )
        try:
            return retrying(call)
        except FirstlightError as error:
            if was_cut and too_late:
                raise too_late(error) from error
            raise

    def _wait(self, state: RetryCallState) -> float:
        whole = min(self._patience.slowest, self._patience.first * 2.0 ** (state.attempt_number - 1))
        asked = _error(state).retry_after
        return max(asked, whole * self._random.uniform(LEAST_PART, 1.0))

    def _pause(self, state: RetryCallState) -> None:
        """The pause itself stands here, because only here the error is known that a cancelled pause ends in."""
        error, seconds = _error(state), state.upcoming_sleep
        if self._tell:
            first = str(error).partition("\n")[0]
            number = f"attempt {state.attempt_number + 1} of {self._patience.attempts}"
            self._tell(f"{first}; {row_of(error).reason}: {number} in {seconds:.1f} s")
        if self._clock.pause(seconds, self._cancelled):
            raise error


def _error(state: RetryCallState) -> FirstlightError:
    error = state.outcome.exception() if state.outcome else None
    # Only such errors have a row, so no other one gets here.
    return error if isinstance(error, FirstlightError) else FirstlightError(str(error))


def retry_after_seconds(header: str, *, now: datetime | None = None) -> float:
    """The seconds that a `Retry-After` header asks for, given as seconds or as a date (RFC 9110, 10.2.3).

    Args:
        header: its value; empty when it was not sent.
        now: the wall clock; None reads it.

    Returns:
        0 for no header, one that cannot be read, and a date that has passed.
    """
    if header.strip().isdigit():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - (now or datetime.now(UTC))).total_seconds())
