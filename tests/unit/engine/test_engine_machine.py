"""The table of legal moves is exactly this one."""

from __future__ import annotations

import itertools

import pytest

from bootstrap.engine.machine import FINAL_STATES, IllegalMoveError, State, check_move

LEGAL = {
    "pending": {"probing", "skipped", "aborted"},
    "probing": {"acting", "waiting", "done", "skipped", "failed", "aborted"},
    "acting": {"waiting", "done", "failed", "aborted"},
    "waiting": {"done", "failed", "aborted"},
    "done": set(),
    "skipped": set(),
    "failed": set(),
    "aborted": set(),
}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_every_pair_of_states_is_legal_or_refused(before: State, after: State) -> None:
    if after.value in LEGAL[before.value]:
        check_move(before, after, "a reason")
    else:
        with pytest.raises(IllegalMoveError):
            check_move(before, after, "a reason")


@pytest.mark.parametrize("after", [State.SKIPPED, State.FAILED, State.ABORTED])
def test_what_is_not_done_has_a_reason(after: State) -> None:
    with pytest.raises(IllegalMoveError, match="without a reason"):
        check_move(State.PROBING, after, "")


def test_nothing_leaves_a_final_state() -> None:
    assert {State.DONE, State.SKIPPED, State.FAILED, State.ABORTED} == FINAL_STATES
