"""A plan that looks at the world finds what is done, says what a run would do, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from phases.issuance import CERTIFICATES
from phases.mirror import MIRROR
from phases.refs import CORE_RELEASES
from phases.secret_sync import SECRET_SYNC
from tests.scripted.trap import Point, Trap

if TYPE_CHECKING:
    from tests.scripted.conftest import Make
    from tests.scripted.scenario import Ran, Scenario


# What follows from the files alone, and the secrets.
SURE = {"programs", "files", "secrets", "commit", "releases-render", "render", "extract", "charts"}


# Of a whole run of the lab: its releases, what is proven of them by writing, and all that comes before them.
ACTIONS = 9 + 2 + sum(not one.optional for one in CORE_RELEASES)


# What is asked of releases that a cluster may do without.
ABOUT_OPTIONAL = {f"core/{one.name}" for one in (MIRROR, CERTIFICATES, SECRET_SYNC)}


def steps(ran: Ran) -> dict[str, dict[str, Any]]:
    plan = ran.kept("plan.json")
    return {step["path"]: step for phase in plan["phases"] for step in phase["steps"]}


def looked(scenario: Scenario) -> Ran:
    """A live plan, which writes nothing anywhere."""
    effects, world, kept = scenario.effects(), scenario.final_world(), files(scenario)
    ran = scenario.run(plan=True, live=True)
    assert (scenario.effects(), scenario.final_world(), files(scenario)) == (effects, world, kept)
    return ran


def files(scenario: Scenario) -> dict[str, bytes]:
    state = scenario.root / ".firstlight"
    return {str(path): path.read_bytes() for path in state.rglob("*") if path.is_file()}


def test_machines_in_maintenance_mode(make: Make) -> None:
    ran = looked(make())
    assert ran.exit_code == 2, ran.stderr
    found = steps(ran)
    assert len(ran.kept("announced.json")) == ACTIONS
    install = found["talos/install"]
    assert (install["outlook"], install["known_after"]) == ("to do", "")
    assert install["actions"][0]["preview"].startswith("Node is running in maintenance mode")
    assert found["preflight/machines"]["outlook"] == "done"
    assert found["talos/etcd"]["known_after"] == "install"


def test_a_converged_cluster_has_nothing_to_do(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0
    ran = looked(scenario)
    assert ran.exit_code == 0, ran.stderr
    assert ran.kept("announced.json") == []
    found = steps(ran)
    skipped = {path for path, step in found.items() if step["outlook"] == "skipped"}
    # What the lab does not have: facts that nobody confirmed, kubelets that ask for serving certificates.
    optional = {f"core/{one.name}" for one in CORE_RELEASES if one.optional} | ABOUT_OPTIONAL
    assert skipped == {"preflight/facts", "talos/serving-certificates", *optional}
    assert {step["outlook"] for path, step in found.items() if path not in skipped} == {"done"}


@pytest.mark.parametrize("point", [Point.BEFORE_LINE, Point.BEFORE_END])
@pytest.mark.parametrize("number", [1, 3, 5, 7, 10, 12])
def test_after_a_kill_it_announces_what_the_next_run_does(make: Make, number: int, point: Point) -> None:
    """What it is sure of is exactly what is done; of the rest nothing is done that it did not announce."""
    scenario = make()
    assert scenario.run(trap=Trap(point, number)).trapped
    ran = looked(scenario)
    assert ran.exit_code in {0, 2}, ran.stderr
    announced = [tuple(each) for each in ran.kept("announced.json")]
    sure = {path for path, step in steps(ran).items() if not step["known_after"]}
    after = scenario.run()
    assert after.exit_code == 0, after.stderr
    performed = [tuple(each) for each in after.kept("performed.json")]
    assert [each for each in performed if each[0] in sure] == [each for each in announced if each[0] in sure]
    assert set(performed) <= set(announced)
    assert len(sure) > len(SURE)
