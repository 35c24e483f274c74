"""Faults 1 to 3: kill -9 at every boundary of a run and inside of its actions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from phases.refs import CORE_RELEASES
from tests.scripted import invariants
from tests.scripted.sweep import sweep
from tests.scripted.trap import Point, Trap

if TYPE_CHECKING:
    from tests.scripted.conftest import Make

KILLED = -9
# Those that the lab has.
RELEASES = sum(not one.optional for one in CORE_RELEASES)


@pytest.mark.parametrize("point", Point)
def test_a_run_that_was_killed_is_finished_by_the_next(point: Point, make: Make, wanted: list[Any]) -> None:
    def attempt(number: int) -> bool:
        scenario = make()
        killed = scenario.run(trap=Trap(point, number))
        if not killed.trapped:
            assert killed.exit_code == 0, killed.stderr
            return False
        assert killed.exit_code == KILLED
        invariants.journal_is_true(scenario)
        finished = scenario.run()
        assert finished.exit_code == 0, finished.stderr
        invariants.check(scenario, wanted, killed, finished)
        invariants.converged(scenario)
        return True

    # One action a step that acts; of those that change machines or cluster, one effect or several; a helm a release.
    assert sweep(attempt) >= (RELEASES if point is Point.INSIDE else 12)


def test_a_run_that_was_killed_after_k_of_n_machines_configures_the_others(make: Make) -> None:
    undisturbed = make(nodes=3)
    assert undisturbed.run().exit_code == 0
    wanted = undisturbed.final_world()
    # Three machines, then etcd: the fifth effect is an object.
    for number in range(1, 5):
        scenario = make(nodes=3)
        killed = scenario.run(trap=Trap(Point.EFFECT, number))
        assert killed.trapped
        finished = scenario.run()
        assert finished.exit_code == 0, finished.stderr
        invariants.check(scenario, wanted, killed, finished)
        bootstraps = [effect for effect in scenario.effects() if effect.kind == "bootstrap"]
        assert [effect.what.split()[0] for effect in bootstraps] == ["lab-01"]


def test_workers_join_beside_the_control_planes(make: Make) -> None:
    scenario = make(nodes=3, workers=2)
    ran = scenario.run()
    assert ran.exit_code == 0, ran.stderr
    assert "3 control planes and 2 workers registered" in ran.stderr
    invariants.converged(scenario)
