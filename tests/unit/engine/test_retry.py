"""Trying again: how often, how long, and after which errors."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.engine import Action, Context, Done, Found, KillSafety, Step, ToDo
from bootstrap.engine.events import Note
from bootstrap.engine.machine import State
from bootstrap.engine.retry import (
    LEAST_PART,
    REQUEST,
    STEP,
    Patience,
    Retry,
    had_no_effect,
    retry_after_seconds,
    row_of,
)
from bootstrap.engine.retry_table import TABLE, Again
from bootstrap.engine.testing import FakeClock, FakeSignals, Recording, run_phases
from bootstrap.host.errors import ExitCode, FirstlightError, InputError
from tests.unit.engine.world import phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.engine.verdict import Verdict

# Rows of each kind, whatever they are.
SOON = next(name for name, row in TABLE.items() if row.again is Again.SOON)
LATER = next(name for name, row in TABLE.items() if row.again is Again.LATER and row.effect)
NO_EFFECT = next(name for name, row in TABLE.items() if row.again is Again.LATER and not row.effect)
NEVER = next(name for name, row in TABLE.items() if row.again is Again.NEVER)


def error(error_class: str, *, retry_after: float = 0.0) -> FirstlightError:
    made = FirstlightError("it failed", cause=error_class)
    made.error_class, made.retry_after = error_class, retry_after
    return made


class Calls:
    """Fails with these errors, one after the other, and then succeeds; each call takes some time."""

    def __init__(self, clock: FakeClock, *errors: FirstlightError, seconds: float = 0.0) -> None:
        self.began: list[float] = []
        self._clock = clock
        self._errors = list(errors)
        self._seconds = seconds

    def __call__(self) -> str:
        self.began.append(self._clock.monotonic())
        self._clock.advance(self._seconds)
        if self._errors:
            raise self._errors.pop(0)
        return "done"


def retry(clock: FakeClock, patience: Patience = STEP, *, seed: int = 0, **options: object) -> Retry:
    return Retry(patience, clock=clock, random=Random(seed), **options)  # type: ignore[arg-type]  # noqa: S311 # a table; no secret


def test_what_passes_is_tried_until_it_succeeds() -> None:
    clock, told = FakeClock(now=0.0), list[str]()
    calls = Calls(clock, error(LATER), error(SOON), error(LATER))
    assert retry(clock, tell=told.append)(calls) == "done"
    assert len(calls.began) == 4
    assert len(told) == 3
    assert told[0].startswith(f"it failed: {LATER}; {TABLE[LATER].reason}: attempt 2 of {STEP.attempts} in ")


@pytest.mark.parametrize("failure", [error(NEVER), error(""), error("nobody/knows"), InputError("refused")])
def test_what_does_not_pass_is_not_tried_again(failure: FirstlightError) -> None:
    calls = Calls(FakeClock(), failure)
    with pytest.raises(FirstlightError) as caught:
        retry(FakeClock())(calls)
    assert caught.value is failure
    assert len(calls.began) == 1


def test_a_bug_is_not_tried_again() -> None:
    def call() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        retry(FakeClock())(call)


def test_a_request_waits_for_nobody_to_come_back() -> None:
    clock = FakeClock()
    storm, gone = Calls(clock, *(error(SOON) for _ in range(4))), Calls(clock, error(LATER))
    assert retry(clock, REQUEST)(storm) == "done"
    with pytest.raises(FirstlightError):
        retry(clock, REQUEST)(gone)
    assert len(gone.began) == 1


def test_the_last_error_is_raised_when_patience_ends() -> None:
    clock = FakeClock()
    errors = [error(LATER) for _ in range(100)]
    with pytest.raises(FirstlightError) as caught:
        retry(clock, Patience(attempts=3, seconds=1e6, first=1.0, slowest=5.0))(Calls(clock, *errors))
    assert caught.value is errors[2]


@pytest.mark.parametrize(
    ("asked", "attempts", "first_pause"),
    [(7.0, 2, 7.0), (0.01, 2, None), (400.0, 1, None)],
)
def test_what_the_server_asks_for_is_honoured(asked: float, attempts: int, first_pause: float | None) -> None:
    clock = FakeClock(now=0.0)
    calls = Calls(clock, error(SOON, retry_after=asked))
    patience = Patience(attempts=9, seconds=60.0, first=1.0, slowest=4.0)
    if attempts == 1:
        # Whoever asks for more time than there is gets none of it.
        with pytest.raises(FirstlightError):
            retry(clock, patience)(calls)
        assert clock.monotonic() == 0.0
    else:
        assert retry(clock, patience)(calls) == "done"
    assert len(calls.began) == attempts
    if first_pause is not None:
        assert calls.began[1] - calls.began[0] == first_pause


@pytest.mark.parametrize("failure", [LATER, NO_EFFECT, NEVER])
def test_what_may_happen_once_is_repeated_only_without_effect(failure: str) -> None:
    clock = FakeClock()
    calls = Calls(clock, error(failure))
    if failure == NO_EFFECT:
        assert retry(clock)(calls, once=True) == "done"
    else:
        with pytest.raises(FirstlightError):
            retry(clock)(calls, once=True)
    assert len(calls.began) == (2 if failure == NO_EFFECT else 1)
    assert had_no_effect(error(failure)) == (failure == NO_EFFECT)


def test_a_cancelled_pause_ends_in_the_error() -> None:
    cancelled, failure = threading.Event(), error(LATER)

    class Cancelling(FakeClock):
        def pause(self, seconds: float, event: threading.Event) -> bool:
            cancelled.set()
            return super().pause(seconds, event)

    calls = Calls(FakeClock(), failure, error(LATER))
    with pytest.raises(FirstlightError) as caught:
        retry(Cancelling(), cancelled=cancelled)(calls)
    assert caught.value is failure
    assert len(calls.began) == 1


patiences = st.builds(
    Patience,
    attempts=st.integers(1, 12),
    seconds=st.floats(0.0, 300.0),
    first=st.floats(0.01, 5.0),
    slowest=st.floats(0.01, 60.0),
)
failures = st.lists(st.builds(error, st.sampled_from([SOON, LATER]), retry_after=st.floats(0.0, 90.0)), max_size=20)


@given(patiences, failures, st.integers(0, 9), st.floats(0.0, 30.0), st.one_of(st.none(), st.floats(0.0, 100.0)))
def test_no_attempt_begins_past_any_bound(
    patience: Patience, errors: list[FirstlightError], seed: int, each: float, seconds: float | None
) -> None:
    clock = FakeClock(now=0.0)
    calls = Calls(clock, *errors, seconds=each)
    asked = [one.retry_after for one in errors]
    with contextlib.suppress(FirstlightError):
        retry(clock, patience, seed=seed)(calls, seconds=seconds)
    assert 1 <= len(calls.began) <= patience.attempts
    limit = patience.seconds if seconds is None else min(patience.seconds, seconds)
    assert all(began <= limit for began in calls.began[1:])
    pauses = [after - before - each for before, after in itertools.pairwise(calls.began)]
    for number, pause in enumerate(pauses):
        whole = min(patience.slowest, patience.first * 2**number)
        assert pause >= max(asked[number], whole * LEAST_PART) - 1e-6
        assert pause <= max(asked[number], whole) + 1e-6


def test_jitter_is_the_same_for_the_same_seed() -> None:
    def moments(seed: int) -> list[float]:
        clock = FakeClock(now=0.0)
        calls = Calls(clock, *(error(LATER) for _ in range(5)))
        retry(clock, seed=seed)(calls)
        return calls.began

    assert moments(1) == moments(1)
    assert moments(1) != moments(2)


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Fri, 02 Jan 2026 03:04:35 GMT", 30.0),
        ("Fri, 02 Jan 2026 03:03:35 GMT", 0.0),
        ("Fri, 02 Jan 2026 04:04:35 +0100", 30.0),
        ("Friday, 02-Jan-26 03:04:35 GMT", 30.0),
        ("soon", 0.0),
        ("-3", 0.0),
        ("1.5", 0.0),
    ],
)
def test_a_header_asks_in_seconds_or_for_a_date(header: str, seconds: float) -> None:
    assert retry_after_seconds(header, now=NOW) == seconds


def test_an_error_without_a_class_is_never_tried_again() -> None:
    assert row_of(FirstlightError("x")).again is Again.NEVER
    assert row_of(ValueError("x")).again is Again.NEVER


# In a run: the engine calls probes and actions so.


def step(
    probe: Callable[[], None], act: Callable[[], None], kill_safety: KillSafety = KillSafety.REPEATABLE
) -> tuple[Step[None, str], list[str]]:
    done: list[str] = []

    def look(_ctx: Context) -> Found[None, str]:
        probe()
        return Done("there", "value") if done else ToDo(None, "absent")

    def run(_ctx: Context) -> None:
        act()
        done.append("x")

    def actions(_ctx: Context, _facts: None) -> list[Action]:
        return [Action(description="do it", reason="absent", run=run, recognised_by="x", kill_safety=kill_safety)]

    return Step(name="one", title="one", probe=look, actions=actions), done


def failing(*classes: str) -> Callable[[], None]:
    left = [error(one) for one in classes]

    def call() -> None:
        if left:
            raise left.pop(0)

    return call


def ran(made: Step[None, str], **options: object) -> tuple[Verdict, list[str]]:
    recording = Recording()
    verdict = run_phases([phase("a", made, deadline=60.0)], readers=[recording], **options)  # type: ignore[arg-type] # a table
    return verdict, [event.text for event in recording.events if isinstance(event, Note)]


def test_a_probe_and_an_action_are_tried_again_and_each_attempt_is_told() -> None:
    made, done = step(failing(LATER, SOON), failing(LATER))
    verdict, notes = ran(made)
    assert (verdict.state, done) == (State.DONE, ["x"])
    assert len(notes) == 3
    assert len(next(verdict.steps()).actions) == 1


@pytest.mark.parametrize("kill_safety", list(KillSafety))
def test_what_the_probe_has_to_tell_is_not_sent_again_blindly(kill_safety: KillSafety) -> None:
    lost, _ = step(failing(), failing(LATER), kill_safety)
    refused, done = step(failing(), failing(NO_EFFECT, NO_EFFECT), kill_safety)
    is_careful = kill_safety in {KillSafety.ATOMIC, KillSafety.ONCE}
    assert ran(lost)[0].state is (State.FAILED if is_careful else State.DONE)
    assert ran(refused)[0].state is State.DONE
    assert done == ["x"]


@pytest.mark.parametrize("probe", [True, False])
@pytest.mark.parametrize(("owner", "seconds"), [("phase a", 60), ("the run", 20)])
def test_a_deadline_ends_it_as_it_ends_a_wait(owner: str, seconds: int, *, probe: bool) -> None:
    storm = failing(*[LATER] * 50)
    made, _ = step(*((storm, failing()) if probe else (failing(), storm)))
    verdict, notes = ran(made, target=seconds / 2 if owner == "the run" else 600.0)
    failure = verdict.failures[0]
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert re.fullmatch(rf'phase a, step one: tried "one" for \d+ s; the limit of {owner} is {seconds} s', failure.fact)
    assert failure.cause == f"last seen: it failed: {LATER}"
    assert failure.remedy == "invoke bootstrap --cluster lab"
    assert verdict.seconds <= seconds
    assert 0 < len(notes) < STEP.attempts - 1, "the deadline came before the last attempt"


def test_patience_that_ends_before_any_deadline_ends_in_the_error() -> None:
    made, _ = step(failing(), failing(*[LATER] * 50))
    verdict = run_phases([phase("a", made, deadline=1e6)], target=1e6)
    assert (verdict.exit_code, verdict.failures[0].cause) == (ExitCode.FAILED, LATER)


def test_a_refusal_that_comes_late_stays_a_refusal() -> None:
    clock = FakeClock()

    def refuse() -> None:
        clock.advance(100.0)
        raise error(NEVER)

    made, _ = step(failing(), refuse)
    assert ran(made, clock=clock)[0].failures[0].cause == NEVER


def test_an_interrupt_ends_it() -> None:
    signals = FakeSignals()
    fail = failing(*[LATER] * 50)
    attempts = []

    def act() -> None:
        attempts.append(1)
        if len(attempts) == 2:
            signals.send(2)
            while not interrupted():
                pass
        fail()

    recording = Recording()

    def interrupted() -> bool:
        return any(isinstance(event, Note) and event.text.startswith("SIGINT") for event in recording.events)

    made, _ = step(failing(), act)
    verdict = run_phases([phase("a", made, deadline=1e6)], signals=signals, readers=[recording])
    assert verdict.exit_code is ExitCode.INTERRUPTED
    assert len(attempts) == 2
