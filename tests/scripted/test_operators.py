"""Faults 13 to 15: two operators, and what one left behind."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.scripted import invariants
from tests.scripted.scenario import Scenario
from tests.scripted.trap import Point, Trap

if TYPE_CHECKING:
    from tests.scripted.conftest import Make
    from tests.scripted.scenario import Ran

LOCKED = 4
TIMES = 20


def test_of_two_operators_on_one_machine_one_is_refused_at_once(make: Make, wanted: list[Any]) -> None:
    refused = 0
    for _ in range(TIMES):
        scenario = make()
        # As far as the first objects: what follows is written by whoever has written those.
        one, other = together([scenario], request={"only": ("talos", "prerequisites")})
        assert (one.exit_code, other.exit_code) in {(0, LOCKED), (0, 0)}, other.stderr
        assert len({effect.pid for effect in scenario.effects()}) == 1
        assert len(scenario.changes()) == 6
        if other.exit_code == LOCKED:
            refused += 1
            assert "another run works on cluster lab" in other.stderr
            assert "./invoke status --cluster lab" in other.stderr
    # On a loaded machine one may be done before the other is given its turn.
    assert refused > TIMES / 4
    finished = scenario.run()
    invariants.check(scenario, wanted, one, other, finished)


def together(scenarios: list[Scenario], **order: Any) -> list[Ran]:
    """Two runs that begin at the same moment, in the order of their exit codes."""
    begin = scenarios[0].place / "begin"
    started = [scenario.start(after=begin, **order) for scenario in (scenarios * 2)[:2]]
    for _, said in started:
        Scenario.await_file(said / "ready")
    begin.touch()
    return sorted((Scenario.end(*each) for each in started), key=lambda ran: ran.exit_code)


def test_two_clusters_at_once_do_not_disturb_each_other(make: Make, wanted: list[Any]) -> None:
    ours, theirs = make(), make(store=None)
    for ran in together([ours, theirs]):
        assert ran.exit_code == 0, ran.stderr
    for scenario in (ours, theirs):
        invariants.only_ours(scenario)
        invariants.no_secrets(scenario)
        invariants.converged(scenario)
    assert ours.final_world() == wanted
    assert ours.cluster_id != theirs.cluster_id


@pytest.mark.parametrize("boot", ["", "another"])
def test_the_lock_of_a_dead_run_is_taken_over_with_a_note(boot: str, make: Make, wanted: list[Any]) -> None:
    scenario = make()
    killed = scenario.run(trap=Trap(Point.AFTER_LINE, 3), boot=boot)
    assert killed.trapped
    assert json.loads((scenario.journal.parent / "owner.json").read_text())["process"]["boot"].strip() != ""
    finished = scenario.run()
    assert finished.exit_code == 0, finished.stderr
    assert "took the lock over from a run that did not give it back" in finished.stderr
    invariants.check(scenario, wanted, killed, finished)


def test_who_works_elsewhere_is_left_alone(make: Make) -> None:
    scenario = make()
    scenario.begin_rival()
    refused = scenario.run()
    assert refused.exit_code == LOCKED, refused.stderr
    assert "mallory" in refused.stderr
    assert "elsewhere" in refused.stderr
    assert {effect.kind for effect in scenario.changes()} == {"apply-config", "bootstrap"}


def test_what_was_killed_elsewhere_is_taken_over_once_its_lease_lapsed(make: Make, wanted: list[Any]) -> None:
    there = make()
    killed = there.run(trap=Trap(Point.EFFECT, 8), boot="another")
    assert killed.trapped
    here = make(world=there.world)
    finished = here.run()
    assert finished.exit_code == 0, finished.stderr
    assert "took the lease over from" in finished.stderr
    assert here.final_world() == wanted
    invariants.converged(here)


def test_who_was_frozen_writes_nothing_after_another_took_over(make: Make, wanted: list[Any]) -> None:
    there = make()
    process, said = there.start(trap=Trap(Point.BEFORE_END, 7, signal.SIGSTOP), boot="another")
    Scenario.await_file(said / "trapped")
    here = make(world=there.world)
    finished = here.run()
    assert finished.exit_code == 0, finished.stderr
    before = [one for one in there.effects() if "firstlight-probe" not in one.what]
    assert process.pid
    os.kill(process.pid, signal.SIGCONT)
    thawed = there.end(process, said)
    assert thawed.exit_code in {0, LOCKED}, thawed.stderr
    # With the lease given back it may prove again what nobody proved in its own folder.
    assert [one for one in there.effects() if "firstlight-probe" not in one.what] == before
    assert here.final_world() == wanted
