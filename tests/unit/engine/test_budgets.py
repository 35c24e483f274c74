"""Whose time it was: the meter, the critical path of a phase, and missed targets."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine import Context, Gate
from bootstrap.engine.budgets import critical_path
from bootstrap.engine.machine import State
from bootstrap.engine.meter import Meter
from bootstrap.engine.testing import FakeClock, FakeSignals, run_phases
from bootstrap.engine.verdict import Share, StepResult, WaitRecord
from bootstrap.host.errors import ExitCode, FirstlightError
from tests.unit.engine.world import World, holds_at_look, phase, reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.engine import Phase


def test_a_thread_is_charged_for_its_own_time_only() -> None:
    clock = FakeClock()
    meter, seen = Meter(clock), []

    def other() -> None:
        with meter.outside("request"), meter.outside("command"):
            clock.advance(3.0)
        seen.append(meter.thread_outside_seconds)

    with meter.outside("gate"):
        clock.advance(1.0)
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert (meter.thread_outside_seconds, seen) == (1.0, [3.0])
    assert meter.by_kind == {"command": 3.0, "gate": 1.0, "request": 3.0}


def busy(clock: FakeClock, *, ours: float = 0.0, request: float = 0.0) -> Callable[[Context], str]:
    def look(ctx: Context) -> str:
        clock.advance(ours)
        with ctx.outside("request"):
            clock.advance(request)
        return "seen"

    return look


def waits(seconds: float, description: str = "it") -> Gate[str]:
    return Gate(description=description, check=holds_at_look(2), interval=seconds)


def talos(clock: FakeClock) -> list[Phase]:
    """`slow` waits 30 s and `last` needs it: 20 s of its own, a request of 5 s, and an action with a wait inside."""
    world = World()

    def act(ctx: Context) -> None:
        ctx.wait(waits(8.0, "the reply"))

    slow = world.acting("slow", gate=waits(30.0, "slow to answer"))
    last = world.acting("last", needs=("slow",), before=act, gate=waits(4.0, "last to answer"))
    middle = reading("middle", busy(clock, ours=20.0, request=5.0), needs=("slow",))
    return [phase("talos", slow, middle, target=60.0, deadline=1e6), phase("core", last, target=10.0, deadline=1e6)]


def test_a_phase_says_what_made_it_as_long_as_it_was() -> None:
    clock = FakeClock()
    verdict = run_phases(talos(clock), clock=clock, workers=1)
    first, second = verdict.phases
    assert (first.seconds, first.slack) == (55.0, 5.0)
    assert [share for share in first.critical if share.seconds] == [
        Share("talos/slow", "waiting for slow to answer", 30.0, 0.0),
        Share("talos/middle", "looking", 25.0, 20.0),
    ]
    assert first.owner == Share("talos/slow", "waiting for slow to answer", 30.0, 0.0)
    assert first.ours == 20.0
    assert [share for share in second.critical if share.seconds] == [
        Share("core/last", "make last", 8.0, 0.0),
        Share("core/last", "waiting for last to answer", 4.0, 0.0),
    ]
    assert (second.over_target, second.slack) == (True, -2.0)
    assert verdict.owner == first.owner


@pytest.mark.parametrize("strict", [True, False])
def test_a_missed_target_fails_a_strict_run_and_names_its_owner(*, strict: bool) -> None:
    clock = FakeClock()
    verdict = run_phases(talos(clock), clock=clock, workers=1, target=60.0, strict_budgets=strict)
    if not strict:
        assert (verdict.exit_code, verdict.failures) == (ExitCode.DONE, ())
        return
    assert (verdict.state, verdict.exit_code) == (State.FAILED, ExitCode.FAILED)
    assert [(failure.fact, failure.cause) for failure in verdict.failures] == [
        ("phase core missed its target of 10 s: it took 12 s", "most of it was core/last, make last: 8 s"),
        (
            "the run missed its target of 60 s: it took 67 s",
            "most of it was talos/slow, waiting for slow to answer: 30 s",
        ),
    ]


def test_within_its_targets_a_strict_run_is_done() -> None:
    verdict = run_phases([phase("a", World().acting("one"))], strict_budgets=True)
    assert verdict.exit_code is ExitCode.DONE


def test_a_failed_run_is_not_judged_by_its_targets() -> None:
    clock = FakeClock()

    def fail(_ctx: Context) -> str:
        clock.advance(100.0)
        raise FirstlightError("it broke")

    verdict = run_phases([phase("a", reading("one", fail), target=10.0)], clock=clock, target=20.0, strict_budgets=True)
    assert [failure.fact for failure in verdict.failures] == ["it broke"]


def test_an_interrupted_run_keeps_its_exit_code() -> None:
    signals = FakeSignals()

    def interrupt(_ctx: Context) -> str:
        signals.send(2)
        return "seen"

    done = phase("a", World().acting("one", gate=waits(30.0)), target=1.0, deadline=1e6)
    verdict = run_phases(
        [done, phase("b", reading("two", interrupt), World().acting("x", needs=("two",)))],
        signals=signals,
        strict_budgets=True,
    )
    assert verdict.exit_code is ExitCode.INTERRUPTED
    assert verdict.failures[-1].fact.startswith("phase a missed its target of 1 s")


def result(path: str, began: float | None, seconds: float, *, ours: float = 0.0, waited: float = 0.0) -> StepResult:
    waited_for = (WaitRecord("it", (began or 0.0) + seconds - waited, waited, 60.0, "x", held=True),) if waited else ()
    return StepResult(path, path, State.DONE, "x", began, seconds, waits=waited_for, ours=ours)


def path_of(*steps: StepResult, began: float, **needs: frozenset[str]) -> list[tuple[str, float, float]]:
    by_path = {step.path: step for step in steps}
    all_needs = {path: needs.get(path, frozenset()) for path in by_path}
    parts = critical_path(steps, by_path, all_needs, began)
    return [(f"{part.step} {part.what}", part.seconds, part.ours) for part in parts if part.seconds]


def test_of_an_early_step_only_what_lies_in_the_phase_counts() -> None:
    early = result("early", 0.0, 50.0, ours=30.0, waited=15.0)
    assert path_of(early, began=40.0) == [("early waiting for it", 10.0, 0.0)]
    assert path_of(early, began=20.0) == [("early looking", 15.0, 15.0), ("early waiting for it", 15.0, 0.0)]


def test_a_step_that_ended_before_the_phase_is_no_part_of_it() -> None:
    early, late = result("early", 0.0, 10.0), result("late", 20.0, 5.0)
    assert path_of(early, late, began=20.0, late=frozenset({"early"})) == [("late looking", 5.0, 0.0)]


def test_the_chain_goes_back_along_the_need_that_ended_last() -> None:
    quick, slow, last = result("quick", 0.0, 2.0), result("slow", 0.0, 9.0), result("last", 9.0, 1.0)
    assert path_of(quick, slow, last, began=0.0, last=frozenset({"quick", "slow"})) == [
        ("slow looking", 9.0, 0.0),
        ("last looking", 1.0, 0.0),
    ]


def test_waiting_for_a_turn_is_ours() -> None:
    first, second = result("first", 0.0, 4.0), result("second", 7.0, 1.0)
    assert path_of(first, second, began=0.0, second=frozenset({"first"})) == [
        ("first looking", 4.0, 0.0),
        ("second coming to its turn", 3.0, 3.0),
        ("second looking", 1.0, 0.0),
    ]


def test_a_phase_of_which_nothing_was_begun_has_no_path() -> None:
    assert path_of(result("one", None, 0.0), began=0.0) == []
