from __future__ import annotations

import os
import signal
import threading

import pytest

from bootstrap.engine import Context, Gate, Observation
from bootstrap.engine.interrupts import delivered_to
from bootstrap.engine.runner import Children
from bootstrap.engine.testing import FakeClock, FakeSignals, run_phases
from bootstrap.host.errors import ExitCode, FirstlightError
from tests.unit.engine.world import World, holds_at_look, phase, reading

# Seconds; only a broken engine lets a test wait that long.
PATIENCE = 5.0


@pytest.mark.parametrize(
    ("number", "exit_code", "name"),
    [(signal.SIGINT, ExitCode.INTERRUPTED, "SIGINT"), (signal.SIGTERM, ExitCode.TERMINATED, "SIGTERM")],
)
def test_one_signal_ends_waits_and_starts_nothing_new(number: int, exit_code: ExitCode, name: str) -> None:
    signals, world, stopped = FakeSignals(), World(), threading.Event()

    def check(_ctx: Context) -> Observation[str]:
        signals.send(number)
        assert stopped.wait(PATIENCE)
        return Observation(holds=False, seen="1 of 3")

    gate = Gate(description="pods", check=check, timeout=1e9)
    steps = (world.acting("one", gate=gate), world.acting("two", needs=("one",)))
    verdict = run_phases(
        [phase("a", *steps), phase("b", reading("later"))],
        signals=signals,
        children=Children(stop=stopped.set, kill=lambda: None),
    )
    assert verdict.exit_code is exit_code
    assert verdict.failures[0].fact == f"the run was interrupted by {name}"
    assert verdict.failures[0].remedy == "invoke bootstrap --cluster lab"
    assert world.effects == ["one"]
    reasons = {step.path: (step.state.value, step.reason) for step in verdict.steps()}
    assert reasons == {
        "a/one": ("aborted", f"interrupted by {name} while waiting for pods, last seen: 1 of 3"),
        "a/two": ("aborted", f"interrupted by {name}"),
        "b/later": ("aborted", f"interrupted by {name}"),
    }


def test_an_action_whose_program_was_asked_to_end_is_aborted_and_not_failed() -> None:
    signals, stopped = FakeSignals(), threading.Event()

    def before(_ctx: Context) -> None:
        signals.send(signal.SIGINT)
        assert stopped.wait(PATIENCE)
        raise FirstlightError("helm failed with exit code 1")

    verdict = run_phases(
        [phase("a", World().acting("one", before=before))],
        signals=signals,
        children=Children(stop=stopped.set, kill=lambda: None),
    )
    assert [failure.fact for failure in verdict.failures] == ["the run was interrupted by SIGINT"]
    assert next(verdict.steps()).reason == "interrupted by SIGINT while acting"


def test_a_wait_inside_an_action_ends_on_an_interrupt() -> None:
    signals, stopped = FakeSignals(), threading.Event()

    def before(ctx: Context) -> None:
        signals.send(signal.SIGINT)
        assert stopped.wait(PATIENCE)
        ctx.wait(Gate(description="a retry", check=holds_at_look(100)))

    verdict = run_phases(
        [phase("a", World().acting("one", before=before))],
        signals=signals,
        children=Children(stop=stopped.set, kill=lambda: None),
    )
    assert verdict.exit_code is ExitCode.INTERRUPTED
    assert verdict.seconds == 0.0


def test_a_second_signal_kills_and_leaves_what_does_not_end() -> None:
    signals, clock, killed, release = FakeSignals(), FakeClock(), threading.Event(), threading.Event()

    def hang(_ctx: Context) -> str:
        signals.send(signal.SIGINT)
        signals.send(signal.SIGTERM)
        assert killed.wait(PATIENCE)
        clock.advance(1.0)
        assert release.wait(PATIENCE)
        return ""

    try:
        verdict = run_phases(
            [phase("a", reading("one", hang))],
            signals=signals,
            clock=clock,
            children=Children(stop=lambda: None, kill=killed.set),
        )
    finally:
        release.set()
    assert verdict.exit_code is ExitCode.INTERRUPTED
    assert next(verdict.steps()).reason == "interrupted by SIGINT while probing"


def test_programs_that_outstay_their_grace_are_killed() -> None:
    signals, clock, stopped, killed = FakeSignals(), FakeClock(), threading.Event(), threading.Event()

    def before(_ctx: Context) -> None:
        signals.send(signal.SIGINT)
        assert stopped.wait(PATIENCE)
        clock.advance(6.0)
        assert killed.wait(PATIENCE)
        raise FirstlightError("killed")

    verdict = run_phases(
        [phase("a", World().acting("one", before=before))],
        signals=signals,
        clock=clock,
        children=Children(stop=stopped.set, kill=killed.set),
    )
    assert verdict.exit_code is ExitCode.INTERRUPTED


def test_real_signals_are_delivered_and_the_old_handlers_return() -> None:
    before = signal.getsignal(signal.SIGTERM)
    got: list[int] = []
    with delivered_to(got.append):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert got == [signal.SIGTERM, signal.SIGINT]
    assert signal.getsignal(signal.SIGTERM) is before
