"""The plan is the run without the writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.engine.journal_contents import Kind
from bootstrap.engine.journal_file import read
from tests.scripted.test_live_plan import ACTIONS

if TYPE_CHECKING:
    from tests.scripted.conftest import Make


def test_a_plan_announces_what_a_run_does(make: Make) -> None:
    scenario = make()
    plan = scenario.run(plan=True)
    assert plan.exit_code == 0, plan.stderr
    assert scenario.effects() == []
    assert not scenario.journal.exists()
    ran = scenario.run()
    assert ran.exit_code == 0, ran.stderr
    journalled = [
        [record.holds["step"], record.holds["index"], record.holds["description"]]
        for record in read(scenario.journal).entries
        if record.kind == Kind.ACTION_BEGINS
    ]
    announced = plan.kept("announced.json")
    assert sorted(announced) == sorted(journalled)
    assert sorted(ran.kept("performed.json")) == sorted(journalled)
    assert len(announced) == ACTIONS


def test_a_plan_is_the_same_twice(make: Make) -> None:
    scenario = make()
    first, second = (scenario.run(plan=True).kept("announced.json") for _ in range(2))
    assert first == second
