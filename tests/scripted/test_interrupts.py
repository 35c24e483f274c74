"""Faults 4 to 7: signals, a terminal that is gone, a machine that slept."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine.interrupts import ECHO_SECONDS
from tests.scripted import invariants
from tests.scripted.sweep import sweep
from tests.scripted.trap import Point, Trap

if TYPE_CHECKING:
    from tests.scripted.conftest import Make


@pytest.mark.parametrize(
    ("number", "code", "point"), [(signal.SIGINT, 130, Point.BEFORE_LINE), (signal.SIGTERM, 143, Point.BEFORE_END)]
)
def test_a_run_that_was_interrupted_is_finished_by_the_next(
    number: signal.Signals, code: int, point: Point, make: Make, wanted: list[Any]
) -> None:
    early: list[int] = []

    def attempt(place: int) -> bool:
        scenario = make()
        stopped = scenario.run(trap=Trap(point, place, number))
        if not stopped.trapped:
            return False
        end = scenario.remembered().runs[-1].end
        assert end
        if end.exit_code != 0:
            assert (stopped.exit_code, end.exit_code) == (code, code), stopped.stderr
            assert f"interrupted by {number.name}" in stopped.stderr
            assert "next: ./invoke bootstrap --cluster lab" in stopped.stderr
            early.append(place)
        finished = scenario.run()
        assert finished.exit_code == 0, finished.stderr
        invariants.check(scenario, wanted, stopped, finished)
        return True

    places = sweep(attempt)
    assert places >= 12
    # At the last one the run may be over before it is told.
    assert sorted(early)[: places - 1] == list(range(1, places))


def test_a_second_signal_ends_what_does_not_answer(make: Make, wanted: list[Any]) -> None:
    scenario = make()
    process, said = scenario.start(hang=20)
    scenario.await_file(said / "hangs")
    assert process.pid
    os.kill(process.pid, signal.SIGINT)
    # Until the first one was told, the second would be the same one to the kernel, and for a moment to us.
    while "no new action starts" not in (said / "stderr").read_text():
        time.sleep(0.001)
    time.sleep(2 * ECHO_SECONDS)
    os.kill(process.pid, signal.SIGINT)
    stopped = scenario.end(process, said)
    assert stopped.exit_code == 130, stopped.stderr
    assert "second signal" in stopped.stderr
    finished = scenario.run()
    invariants.check(scenario, wanted, stopped, finished)


def test_a_run_goes_on_when_nobody_reads_what_it_says(make: Make, wanted: list[Any]) -> None:
    scenario = make()
    ran = scenario.run(broken_pipe=True)
    assert ran.exit_code == 0
    invariants.check(scenario, wanted, ran)


def test_a_run_outlives_its_terminal(make: Make, wanted: list[Any]) -> None:
    scenario = make()
    ran = scenario.run(trap=Trap(Point.BEFORE_LINE, 3, signal.SIGHUP))
    assert ran.trapped
    assert ran.exit_code == 0, ran.stderr
    invariants.check(scenario, wanted, ran)


@pytest.mark.parametrize("command", [12, 20, 25])
def test_a_run_that_slept_for_ten_minutes_stops_or_goes_on(command: int, make: Make, wanted: list[Any]) -> None:
    scenario = make()
    slept = scenario.run(jump=(command, 600.0))
    assert slept.exit_code in {0, 5}, slept.stderr
    finished = scenario.run()
    assert finished.exit_code == 0, finished.stderr
    invariants.check(scenario, wanted, slept, finished)
