from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine import Context, Gate, Observation
from bootstrap.engine.events import Note
from bootstrap.engine.interrupts import ECHO_SECONDS, delivered_to, exiting
from bootstrap.engine.runner import Children
from bootstrap.engine.testing import FakeClock, FakeSignals, Recording, run_phases
from bootstrap.host.errors import ExitCode, FirstlightError, LockedError
from tests.unit.engine.world import World, holds_at_look, phase, reading

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    signals, clock, stopped, killed, release = (
        FakeSignals(), FakeClock(), threading.Event(), threading.Event(), threading.Event(),
    )  # fmt: skip

    def hang(_ctx: Context) -> str:
        signals.send(signal.SIGINT)
        assert stopped.wait(PATIENCE)
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
            children=Children(stop=stopped.set, kill=killed.set),
        )
    finally:
        release.set()
    assert verdict.exit_code is ExitCode.INTERRUPTED
    assert next(verdict.steps()).reason == "interrupted by SIGINT while probing"


def test_a_signal_to_the_process_and_then_to_its_group_counts_once() -> None:
    heard: list[int] = []
    with delivered_to(heard.append):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2 * ECHO_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM, signal.SIGTERM]


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


def test_a_signal_that_only_the_run_was_told_ends_nothing_else() -> None:
    with exiting():
        with delivered_to(lambda _number: None):
            os.kill(os.getpid(), signal.SIGTERM)
        went_on = True
    assert went_on


def test_a_closed_terminal_does_not_end_a_run_nor_spare_its_programs() -> None:
    with delivered_to(lambda _number: None):
        os.kill(os.getpid(), signal.SIGHUP)
        # Programs inherit what is ignored, and nothing else.
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN


def test_time_in_which_nothing_ran_is_told() -> None:
    clock, recording = FakeClock(), Recording()

    def stop(_ctx: Context) -> str:
        clock.missed += 600.0
        return ""

    run_phases([phase("a", reading("one", stop), reading("two", needs=("one",)))], clock=clock, readers=[recording])
    notes = [event.text for event in recording.events if isinstance(event, Note)]
    assert notes == ["this process did not run for 600 s; deadlines were moved by that"]


class CountedLease:
    """Counts how often it was asked for and given back."""

    def __init__(self, holds: Sequence[FirstlightError | None] = ()) -> None:
        self.held = self.released = 0
        self._holds = iter(holds)

    def hold(self, _ctx: Context) -> None:
        self.held += 1
        if error := next(self._holds, None):
            raise error

    def release(self) -> None:
        self.released += 1


def test_only_what_changes_the_cluster_wants_the_lease() -> None:
    lease, world = CountedLease(), World()
    run_phases([phase("a", world.acting("file", writes=False), reading("look"))], lease=lease)
    assert (lease.held, lease.released) == (0, 1)
    run_phases([phase("a", world.acting("object"))], lease=lease)
    assert lease.held > 0


def test_no_write_begins_without_the_lease() -> None:
    lease, world = CountedLease([LockedError("another run works on cluster lab")]), World()
    verdict = run_phases([phase("a", world.acting("one"))], lease=lease)
    assert verdict.exit_code is ExitCode.LOCKED
    assert world.effects == []


def test_what_was_done_while_another_had_the_lease_does_not_count() -> None:
    world, lost = World(), threading.Event()

    class Lost(CountedLease):
        """Lost while the action runs."""

        def hold(self, _ctx: Context) -> None:
            if lost.is_set():
                raise LockedError("another run works on cluster lab")

    verdict = run_phases([phase("a", world.acting("one", before=lambda _: lost.set()))], lease=Lost())
    assert world.effects == ["one"]
    assert verdict.exit_code is ExitCode.LOCKED


def test_a_step_that_was_left_behind_keeps_the_lease() -> None:
    signals, clock, lease = FakeSignals(), FakeClock(), CountedLease()
    stopped, killed, release = threading.Event(), threading.Event(), threading.Event()

    def hang(_ctx: Context) -> str:
        signals.send(signal.SIGINT)
        assert stopped.wait(PATIENCE)
        signals.send(signal.SIGINT)
        assert killed.wait(PATIENCE)
        clock.advance(1.0)
        assert release.wait(PATIENCE)
        return ""

    children = Children(stop=stopped.set, kill=killed.set)
    try:
        run_phases([phase("a", reading("one", hang))], signals=signals, clock=clock, lease=lease, children=children)
    finally:
        release.set()
    assert lease.released == 0
