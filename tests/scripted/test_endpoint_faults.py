"""The endpoint as each of several nodes sees it; `gate_faults/` has what one node finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.scripted import invariants
from tests.scripted.endpoint import FAULT, FIRED
from tests.scripted.scenario import TALOS

if TYPE_CHECKING:
    from tests.scripted.conftest import Make


def test_one_node_that_does_not_know_the_name_is_enough(make: Make) -> None:
    scenario = make(nodes=3, workers=1)
    scenario.tell(FAULT, {"address": "", "nodes": ["lab-04"]})
    ran = scenario.run(**TALOS)
    assert ran.exit_code == 5, ran.stderr
    assert scenario.told(FIRED)
    assert "the nodes' DNS: lab-k8s.monosense.io does not resolve on lab-04 (lookup " in ran.stderr
    scenario.tell(FAULT, {})
    mended = scenario.run(**TALOS)
    assert mended.exit_code == 0, mended.stderr
    assert "lab-k8s.monosense.io is 10.25.13.11 on lab-01, lab-02, lab-03, lab-04" in mended.stderr
    invariants.converged(scenario, **TALOS)


def test_who_leaves_the_gate_out_installs_without_it(make: Make) -> None:
    scenario = make()
    scenario.tell(FAULT, {"foreign": True})
    ran = scenario.run(request={"skip": ("endpoint",)})
    assert ran.exit_code == 0, ran.stderr
    assert scenario.told(FIRED) is None
