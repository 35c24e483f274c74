"""Machines that answer late, not at all, or with something else than wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.scripted import invariants

if TYPE_CHECKING:
    from tests.scripted.conftest import Make


@pytest.mark.parametrize("call", ["apply-config", "bootstrap"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_reply_that_is_lost_costs_no_second_effect(call: str, moment: str, make: Make, wanted: list[Any]) -> None:
    scenario = make()
    scenario.tell(f"lost {moment}", call)
    ran = scenario.run()
    assert scenario.told(f"lost {moment}") == "", "the fault did not happen"
    finished = ran if ran.exit_code == 0 else scenario.run()
    assert finished.exit_code == 0, finished.stderr
    invariants.check(scenario, wanted, ran, finished)


def test_a_clock_that_is_not_in_sync_yet_is_waited_for(make: Make, wanted: list[Any]) -> None:
    scenario = make()
    scenario.tell("unsynced", 3)
    ran = scenario.run()
    assert scenario.told("unsynced") == 0, "the fault did not happen"
    assert ran.exit_code == 0, ran.stderr
    assert "the node's clock is not in sync yet" in ran.stderr
    invariants.check(scenario, wanted, ran)


def test_a_machine_that_is_away_is_waited_for_and_named(make: Make, wanted: list[Any]) -> None:
    scenario = make()
    scenario.tell("away", "lab-01")
    ran = scenario.run()
    assert ran.exit_code == 5, ran.stderr
    assert "lab-01: no answer within 5 s" in ran.stderr
    assert "check power, cabling and the addresses in the inventory" in ran.stderr
    assert scenario.effects() == []
    scenario.tell("away", "")
    finished = scenario.run()
    invariants.check(scenario, wanted, ran, finished)


def test_a_machine_of_another_cluster_is_never_touched(make: Make) -> None:
    theirs = make(store=None)
    assert theirs.run(request={"only": ("talos",)}).exit_code == 0
    before = theirs.effects()
    ours = make(world=theirs.world)
    refused = ours.run()
    assert refused.exit_code == 3, refused.stderr
    assert "machines are configured with the secrets of another cluster" in refused.stderr
    assert ours.effects() == before
