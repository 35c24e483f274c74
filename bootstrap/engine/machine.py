"""The states of a step and the table of its legal moves."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(StrEnum):
    """Where a step, or a phase as the sum of its steps, is."""

    PENDING = "pending"
    PROBING = "probing"
    ACTING = "acting"
    WAITING = "waiting"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    ABORTED = "aborted"


LEGAL_MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.PENDING: frozenset({State.PROBING, State.SKIPPED, State.ABORTED}),
    State.PROBING: frozenset({State.ACTING, State.WAITING, State.DONE, State.SKIPPED, State.FAILED, State.ABORTED}),
    State.ACTING: frozenset({State.WAITING, State.DONE, State.FAILED, State.ABORTED}),
    State.WAITING: frozenset({State.DONE, State.FAILED, State.ABORTED}),
    State.DONE: frozenset(),
    State.SKIPPED: frozenset(),
    State.FAILED: frozenset(),
    State.ABORTED: frozenset(),
}

FINAL_STATES: Final = frozenset(state for state, moves in LEGAL_MOVES.items() if not moves)
# In these states the reason is all that a person learns, so there is none without it.
REASON_WANTED: Final = frozenset({State.SKIPPED, State.FAILED, State.ABORTED})


class IllegalMoveError(RuntimeError):
    """A step was moved against the table, or into a state that wants a reason without one; a bug."""


def check_move(before: State, after: State, reason: str) -> None:
    """Refuse a move that the table does not hold.

    Raises:
        IllegalMoveError: the move is not in the table, or its state wants a reason and there is none.
    """
    if after not in LEGAL_MOVES[before]:
        raise IllegalMoveError(f"a step cannot move from {before} to {after}")
    if after in REASON_WANTED and not reason:
        raise IllegalMoveError(f"a step cannot become {after} without a reason")
