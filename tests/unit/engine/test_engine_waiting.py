"""Bounded waits on a fake clock."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine import Context, Gate, Observation
from bootstrap.engine.events import ActionRunning, WaitEnded, WaitObserved, WaitStarted
from bootstrap.engine.scene import Deadlines
from bootstrap.engine.testing import FakeClock, Recording, run_phases
from bootstrap.engine.waiting import MOST_RESPITE
from bootstrap.host.errors import ExitCode, FirstlightError, InputError
from tests.unit.engine.world import World, holds_at_look, phase

if TYPE_CHECKING:
    from bootstrap.engine.verdict import Verdict


def run_gate(gate: Gate[str], *, deadline: float = 1000.0, run_target: float = 1000.0) -> tuple[Verdict, Recording]:
    recording = Recording()
    step = World().acting("one", gate=gate)
    verdict = run_phases([phase("a", step, deadline=deadline)], readers=[recording], target=run_target)
    return verdict, recording


def never(_ctx: Context) -> Observation[str]:
    return Observation(holds=False, seen="1 of 3")


@pytest.mark.parametrize(
    ("timeout", "deadline", "run_target", "elapsed", "owner"),
    [
        (10.0, 100.0, 100.0, 10, "the gate"),
        (100.0, 20.0, 100.0, 20, "phase a"),
        (100.0, 100.0, 15.0, 30, "the run"),
    ],
)
def test_the_earliest_limit_ends_a_wait_and_is_named(
    timeout: float, deadline: float, run_target: float, elapsed: int, owner: str
) -> None:
    gate = Gate(description="pods to be ready", check=never, timeout=timeout)
    verdict, _ = run_gate(gate, deadline=deadline, run_target=run_target)
    failure = verdict.failures[0]
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert failure.fact == (
        f"phase a, step one: waited {elapsed} s for pods to be ready; the limit of {owner} is {elapsed} s"
    )
    assert failure.cause == "last seen: 1 of 3"
    assert failure.remedy == "invoke bootstrap --cluster lab"
    assert verdict.seconds == pytest.approx(elapsed)


def test_a_gates_own_remedy_goes_before_the_resume_command() -> None:
    verdict, _ = run_gate(Gate(description="it", check=never, timeout=1.0, remedy="invoke lab.status"))
    assert verdict.failures[0].remedy == "invoke lab.status"


def test_what_is_seen_is_told_when_it_changes_and_as_a_heartbeat() -> None:
    looks = iter([*["refused"] * 20, *["1 of 3"] * 5])

    def check(_ctx: Context) -> Observation[str]:
        seen = next(looks, "3 of 3")
        return Observation(seen == "3 of 3", seen)

    _, recording = run_gate(Gate(description="pods", check=check, timeout=100.0))
    told = [(e.seen, e.seconds, e.heartbeat) for e in recording.events if isinstance(e, WaitObserved)]
    assert told == [
        ("refused", 0.0, False),
        ("refused", 15.0, True),
        ("1 of 3", 20.0, False),
        ("3 of 3", 25.0, False),
    ]


def test_a_condition_must_hold_as_often_in_a_row_as_asked() -> None:
    looks = iter([True, True, False, True, True, True])

    def check(_ctx: Context) -> Observation[str]:
        holds = next(looks)
        return Observation(holds, "up" if holds else "down")

    _, recording = run_gate(Gate(description="it", check=check, times=3))
    ended = next(event for event in recording.events if isinstance(event, WaitEnded))
    assert (ended.held, ended.seconds, ended.seen) == (True, 5.0, "up (3 of 3 in a row)")


@pytest.mark.parametrize(
    ("takes", "apart"),
    [(0.2, 1.2), (1.0, 2.0), (3.0, 6.0), (30.0, 30.0 + MOST_RESPITE)],
    ids=["at once", "as long as the interval", "slow", "held up"],
)
def test_what_answers_slowly_is_left_alone_for_as_long(takes: float, apart: float) -> None:
    clock = FakeClock()
    looks: list[float] = []

    def check(_ctx: Context) -> Observation[str]:
        looks.append(clock.monotonic())
        clock.advance(takes)
        return Observation(holds=len(looks) == 3, seen="busy")

    step = World().acting("one", gate=Gate(description="it", check=check, interval=1.0, timeout=500.0))
    run_phases([phase("a", step, deadline=1000.0)], clock=clock, target=1000.0)
    assert [after - before for before, after in pairwise(looks)] == pytest.approx([apart, apart])


def test_a_transient_error_is_an_observation() -> None:
    looks = iter([True, False])

    def check(_ctx: Context) -> Observation[str]:
        if next(looks):
            raise FirstlightError("no answer", cause="connection refused")
        return Observation(holds=True, seen="ok")

    verdict, recording = run_gate(Gate(description="it", check=check))
    assert verdict.exit_code is ExitCode.DONE
    assert [e.seen for e in recording.events if isinstance(e, WaitObserved)] == ["no answer: connection refused", "ok"]


def test_an_error_that_is_not_transient_ends_the_wait() -> None:
    def check(_ctx: Context) -> Observation[str]:
        raise InputError("another cluster answers")

    verdict, _ = run_gate(Gate(description="it", check=check))
    assert verdict.exit_code is ExitCode.INVALID
    assert verdict.seconds == 0.0


def test_a_gate_decides_itself_what_is_transient() -> None:
    def check(_ctx: Context) -> Observation[str]:
        raise FirstlightError("denied")

    verdict, _ = run_gate(Gate(description="it", check=check, transient=lambda _error: False))
    assert verdict.failures[0].fact == "denied"


def test_waits_are_in_the_verdict() -> None:
    verdict, recording = run_gate(Gate(description="it", check=holds_at_look(4), interval=2.0, timeout=60.0))
    wait = next(step for step in verdict.steps()).waits[0]
    assert (wait.description, wait.seconds, wait.limit, wait.seen, wait.held) == ("it", 6.0, 60.0, "it is there", True)
    assert any(isinstance(event, WaitStarted) and event.limit == 60.0 for event in recording.events)


def test_no_action_begins_after_the_deadline() -> None:
    world = World()

    def slow(ctx: Context) -> None:
        ctx.wait(Gate(description="a slow program", check=holds_at_look(31)))

    step = world.acting("one", effects=("x", "y"), before=slow)
    verdict = run_phases([phase("a", step, deadline=30.0)])
    assert world.effects == ["x"]
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert verdict.failures[0].fact == "phase a, step one: the deadline of phase a, 30 s, has passed"


def test_a_time_limit_is_cut_to_what_the_deadline_leaves() -> None:
    limits: list[float] = []

    def look(ctx: Context) -> None:
        limits.extend([ctx.limit(10.0), ctx.limit(500.0)])

    run_phases([phase("a", World().acting("one", before=look), deadline=60.0)])
    assert limits == pytest.approx([10.0, 60.0])


def test_a_phase_that_has_not_begun_has_no_deadline_yet() -> None:
    clock = FakeClock()
    deadlines = Deadlines(clock, 100.0)
    late = phase("late", deadline=10.0)
    assert deadlines.limit("late", 1e9).owner == "the run"
    clock.advance(50.0)
    deadlines.start(late)
    assert deadlines.limit("late", 1e9).at == pytest.approx(clock.monotonic() + 10.0)


def test_a_long_action_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    # The runner's ticks are the only real time here.
    monkeypatch.setattr("bootstrap.engine.runner.TICK_SECONDS", 0.005)
    clock, recording = FakeClock(), Recording()

    def slow(_ctx: Context) -> None:
        while not any(isinstance(event, ActionRunning) for event in recording.events):
            clock.advance(1.0)

    run_phases([phase("a", World().acting("one", before=slow), deadline=1e12)], readers=[recording], clock=clock)
    running = next(event for event in recording.events if isinstance(event, ActionRunning))
    assert running.description == "make one"
    assert running.seconds >= 15.0
