"""Faults 48, 49 and 53: what is done about a release by the state that a helm, or Flux, left it in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host.objects import mapping
from gitops.handover import HELM_RELEASE
from kube.release_states import RULES, Treatment
from phases.refs import CORE_RELEASES
from tests.scripted import invariants
from tests.scripted.ring import Ring
from tests.scripted.trap import Point, Trap

if TYPE_CHECKING:
    from tests.scripted.conftest import Make
    from tests.scripted.scenario import Ran, Scenario

UNLOCKED = [status for status, one in RULES.items() if one.treatment is Treatment.UNLOCK]
# Of the lab; each may be the one at which helm fails.
INSTALLED = [one.name for one in CORE_RELEASES if not one.optional]
# Seconds; a helm of another machine has had all the time that it allows itself.
LONG_AGO = 3600.0


def with_cilium(make: Make) -> Scenario:
    """A cluster with its first release, which Flux does not know of."""
    scenario = make()
    ran = scenario.run(request={"only": ("preflight", "talos", "prerequisites", "crds", "cilium")})
    assert ran.exit_code == 0, ran.stderr
    return scenario


def performed(ran: Ran) -> list[str]:
    return [str(said) for path, _, said, *_ in ran.kept("performed.json") if path == "core/coredns"]


def test_a_helm_that_was_killed_under_a_run_is_healed_at_once_by_the_next(make: Make, wanted: list[Any]) -> None:
    scenario = make()
    scenario.tell("helm dies", "coredns")
    died = scenario.run()
    assert died.exit_code == 1
    assert "helm could not install release kube-system/coredns" in died.stderr
    assert scenario.revisions("coredns") == ["pending-install by Helm"]
    healed = scenario.run()
    assert healed.exit_code == 0, healed.stderr
    unlock, install = performed(healed)
    assert unlock == "call revision 1 of release kube-system/coredns failed in helm's storage"
    assert install.startswith("install release kube-system/coredns")
    assert "another's helm" not in healed.stderr
    assert scenario.revisions("coredns") == ["superseded by Helm", "superseded by Helm", "deployed by helm-controller"]
    invariants.check(scenario, wanted, died, healed)
    invariants.converged(scenario)


@pytest.mark.parametrize("point", [point for point in Point if point is not Point.INSIDE])
def test_a_run_that_was_killed_while_it_healed_is_finished_by_the_next(
    point: Point, make: Make, wanted: list[Any]
) -> None:
    scenario = make()
    killed = [scenario.run(trap=Trap(Point.INSIDE, 1)), scenario.run(trap=Trap(point, 1))]
    assert all(ran.trapped for ran in killed)
    assert scenario.revisions("cilium") in (["pending-install by Helm"], ["failed by Helm"])
    finished = scenario.run()
    assert finished.exit_code == 0, finished.stderr
    invariants.check(scenario, wanted, *killed, finished)


@pytest.mark.parametrize("status", RULES)
def test_a_release_is_treated_by_the_status_of_its_latest_revision(status: str, make: Make) -> None:
    scenario = with_cilium(make)
    scenario.suspend("cilium", status, age=LONG_AGO)
    treatment = RULES[status].treatment
    ran = scenario.run(request={"only": ("cilium",)})
    after = scenario.revisions("cilium")
    if treatment is Treatment.REFUSE:
        assert ran.exit_code == 3, ran.stderr
        assert f"release kube-system/cilium is {status}" in ran.stderr
        assert "helm -n kube-system uninstall cilium" in ran.stderr
        assert after == [f"{status} by Helm"]
        return
    assert ran.exit_code == 0, ran.stderr
    assert after == ["superseded by Helm", "deployed by Helm"][status == "deployed" :]


@pytest.mark.parametrize("status", UNLOCKED)
def test_anothers_helm_gets_the_time_that_it_allows_itself(status: str, make: Make) -> None:
    scenario = with_cilium(make)
    scenario.suspend("cilium", status, age=100.0)
    ran = scenario.run(request={"only": ("cilium",)})
    assert ran.exit_code == 0, ran.stderr
    assert "waiting for another's helm at release kube-system/cilium to end" in ran.stderr
    assert f"revision 1 is {status} since" in ran.stderr
    assert 200.0 <= ran.kept("seconds.json")["core"] < 300.0
    assert scenario.revisions("cilium") == ["superseded by Helm", "deployed by Helm"]


def test_a_release_that_flux_is_upgrading_is_left_to_flux(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0
    for status in RULES:
        scenario.suspend("flux-operator", status)
        effects = scenario.effects()
        ran = scenario.run(request={"only": ("core",)})
        assert ran.exit_code == 0, ran.stderr
        assert f"revision 2 {status}, flux-operator 0.58.1, owned by Flux" in ran.stderr
        assert scenario.effects() == effects


@pytest.mark.parametrize("name", INSTALLED)
def test_a_helm_that_fails_stops_the_run_and_the_next_goes_on_there(name: str, make: Make, wanted: list[Any]) -> None:
    scenario = make()
    scenario.tell("helm dies", name)
    died = scenario.run()
    assert died.exit_code == 1
    assert f"could not install release {namespace(name)}/{name}" in died.stderr
    assert "./invoke bootstrap --cluster lab" in died.stderr
    before = scenario.effects()
    healed = scenario.run()
    assert healed.exit_code == 0, healed.stderr
    invariants.check(scenario, wanted, died, healed)
    earlier = {one.what for one in before if one.kind == "sync"}
    assert not earlier & {one.what for one in scenario.effects()[len(before) :] if one.kind == "sync"}


def namespace(name: str) -> str:
    return next(one.namespace for one in CORE_RELEASES if one.name == name)


def leave_failed(scenario: Scenario, *, is_suspended: bool) -> None:
    """Let a person's helm fail at a release that Flux has."""
    with Ring(scenario.world) as ring:
        ring.releases.begin("cilium", {}, writer="Helm")
        ring.releases.suspend("cilium", "failed")
        item = ring.model.find(HELM_RELEASE, "cilium", "kube-system") or {}
        ring.model.store({**item, "spec": {**mapping(item, "spec"), "suspend": is_suspended}})


def test_what_flux_reconciles_is_waited_for_and_not_installed_beside_it(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0
    leave_failed(scenario, is_suspended=False)
    with Ring(scenario.world) as ring, ring.model.look():
        ring.model.after(30.0, "kustomization", "cilium-core")
    effects = scenario.effects()
    ran = scenario.run(request={"only": ("core",)})
    assert ran.exit_code == 0, ran.stderr
    assert "revision 3 failed, cilium 1.18.3; left to Flux, which has a HelmRelease for it" in ran.stderr
    assert scenario.revisions("cilium")[2:] == ["failed by Helm", "deployed by helm-controller"]
    assert scenario.effects() == effects


def test_who_waits_for_flux_in_vain_is_told_how_to_install_all_the_same(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0
    leave_failed(scenario, is_suspended=False)
    ran = scenario.run(request={"only": ("core",)})
    assert ran.exit_code == 5, ran.stderr
    assert (
        """kubectl -n kube-system patch helmrelease cilium --type merge -p '{"spec":{"suspend":true}}'""" in ran.stderr
    )
    assert scenario.revisions("cilium")[2:] == ["failed by Helm"]
    leave_failed(scenario, is_suspended=True)
    ran = scenario.run(request={"only": ("core",)})
    assert ran.exit_code == 0, ran.stderr
    assert scenario.revisions("cilium")[2:] == ["failed by Helm", "failed by Helm", "deployed by Helm"]


PULLS = re.compile(r"pod coredns-0 on lab-01: ImagePullBackOff of image \S+coredns:\S+: Back-off pulling image")


def test_an_image_that_comes_late_is_waited_for(make: Make) -> None:
    scenario = make()
    scenario.tell("no image", {"coredns": 100})
    ran = scenario.run()
    assert ran.exit_code == 0, ran.stderr
    assert PULLS.search(ran.stderr)
    assert scenario.told("no image") == {}


def test_an_image_that_never_comes_ends_the_run_with_its_name_and_the_node(make: Make) -> None:
    scenario = make()
    scenario.tell("no image", {"coredns": 0})
    ran = scenario.run()
    assert ran.exit_code == 5, ran.stderr
    last = ran.stderr.rpartition("error: ")[2]
    assert "waited 600 s for coredns to be ready" in last
    assert PULLS.search(last)
    assert "./invoke bootstrap --cluster lab" in last
