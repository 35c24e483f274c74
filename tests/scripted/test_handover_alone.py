"""The verdict alone, at any time after the hand-over."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

from tests.scripted import invariants
from tests.scripted.helm import json_of
from tests.scripted.ring import Ring

if TYPE_CHECKING:
    from tests.scripted.conftest import Make

ALONE = {"request": {"only": ("handover",)}, "report": True}


def test_a_later_upgrade_by_flux_leaves_the_proof_of_the_adoption(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0
    with Ring(scenario.world) as ring:
        values = json_of(ring.releases.history("coredns")[-1])["config"]
        ring.flux.upgrade("coredns", {**values, "replicaCount": 2})
        ring.model.settle()
        assert [json_of(one)["version"] for one in ring.releases.history("coredns")] == [1, 2, 3]
    before = scenario.effects()
    ran = scenario.run(**ALONE)
    assert ran.exit_code == 0, ran.stderr
    assert re.search(
        r"release kube-system/cilium revision 2 deployed by helm-controller.*\(proven \d+ s ago\)", ran.stderr
    )
    (report,) = scenario.journal.parent.glob("runs/*/report.json")
    steps = {one["path"]: one for phase in json.loads(report.read_text())["phases"] for one in phase["steps"]}
    proofs = {one["criterion"]: one for one in steps["handover/adoption"]["proofs"]}
    quoted = proofs["coredns was adopted unchanged"]
    assert quoted["kind"] == "proven"
    assert re.fullmatch(r"release kube-system/coredns revision 2 .*\(proven \d+ s ago\)", quoted["evidence"])
    assert scenario.effects() == before


def test_a_release_that_flux_lost_is_no_green_verdict(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0
    with Ring(scenario.world) as ring:
        values = json_of(ring.releases.history("coredns")[-1])["config"]
        ring.releases.sync("coredns", values, writer="helm")
    ran = scenario.run(**ALONE)
    assert ran.exit_code == 1, ran.stderr
    assert "coredns: revision 3 deployed by helm" in ran.stderr
    invariants.journal_is_true(scenario)


def test_a_cluster_that_is_not_there_yet_is_no_handover(make: Make) -> None:
    scenario = make()
    complete = "./invoke bootstrap --cluster lab"
    ran = scenario.run(request={"only": ("handover",), "complete": complete})
    assert ran.exit_code == 1, ran.stderr
    assert "is not done" in ran.stderr
    assert f"next: {complete}" in ran.stderr
    assert scenario.effects() == []


def test_files_of_our_own_that_are_gone_are_made_again(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0
    shutil.rmtree(scenario.journal.parent / "core")
    before = scenario.effects()
    ran = scenario.run(**ALONE)
    assert ran.exit_code == 0, ran.stderr
    assert scenario.effects() == before
