"""Fault 52: when a pod asks for network and names, and what it leaves; `gate_faults/` has what it finds."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from kube.cluster import POD, SECRET
from kube.probe_pod import ATTEMPTS
from tests.scripted import invariants
from tests.scripted.pods import FAULT, FIRED
from tests.scripted.ring import Ring
from tests.scripted.trap import Point, Trap

if TYPE_CHECKING:
    from tests.scripted.conftest import Make
    from tests.scripted.scenario import Scenario

# All but what only a pod can tell, so that the next run's first effect is a pod.
WITHOUT: dict[str, Any] = {"request": {"skip": ("pod-network", "names")}}


def pods(scenario: Scenario) -> list[str]:
    """The pods that ask and are still there."""
    return [name for name in scenario.names(POD) if name.startswith("firstlight-probe")]


def asked(scenario: Scenario) -> list[str]:
    """For what each pod was made, in order."""
    every = (one.what.split()[1] for one in scenario.effects() if one.what.startswith("Pod "))
    return [what.removeprefix("kube-system/firstlight-probe-").rsplit("-", 1)[0] for what in every][::2]


def test_a_route_that_comes_a_moment_later_is_no_failure(make: Make, wanted: list[Any]) -> None:
    scenario = make()
    scenario.tell(FAULT, {"says": {"api-by-service": "REFUSED"}, "times": ATTEMPTS - 1})
    ran = scenario.run()
    assert ran.exit_code == 0, ran.stderr
    assert scenario.told(FIRED) == ATTEMPTS - 1
    invariants.check(scenario, wanted, ran)


def test_an_image_that_cannot_be_had_leaves_it_unproven_until_it_can(make: Make) -> None:
    scenario = make()
    scenario.tell(FAULT, {"waits": "ImagePullBackOff"})
    ran = scenario.run()
    assert ran.exit_code == 0, ran.stderr
    assert scenario.told(FIRED) == 2 * ATTEMPTS
    assert "unproven  a pod reaches the API at its ClusterIP: the pod could not ask: ImagePullBackOff" in ran.stderr
    assert pods(scenario) == []
    scenario.tell(FAULT, {})
    proven = scenario.run()
    assert proven.exit_code == 0, proven.stderr
    assert "it could not be given last time" in proven.stderr
    assert "unproven  a pod reaches" not in proven.stderr
    invariants.converged(scenario)


@pytest.mark.parametrize("number", [1, 2])
def test_what_a_killed_run_left_is_gone_after_the_next(number: int, make: Make, wanted: list[Any]) -> None:
    scenario = make()
    assert scenario.run(**WITHOUT).exit_code == 0
    killed = scenario.run(trap=Trap(Point.EFFECT, number))
    assert killed.trapped
    assert len(pods(scenario)) == 2 - number
    finished = scenario.run()
    assert finished.exit_code == 0, finished.stderr
    assert asked(scenario).count("names") == 1
    invariants.check(scenario, wanted, killed, finished)
    invariants.converged(scenario)


def test_an_interrupt_leaves_no_pod(make: Make) -> None:
    scenario = make()
    assert scenario.run(**WITHOUT).exit_code == 0
    ended = scenario.run(trap=Trap(Point.EFFECT, 1, signal.SIGTERM))
    assert ended.trapped
    assert ended.exit_code == 143, ended.stderr
    assert pods(scenario) == []


def test_a_release_that_is_installed_again_is_proven_again(make: Make) -> None:
    scenario = make()
    # Before Flux has it: what Flux installs again is not ours to prove.
    begun = scenario.run(request={"skip": ("flux-instance", "handover")})
    assert begun.exit_code == 0, begun.stderr
    with Ring(scenario.world) as ring:
        ring.model.remove(SECRET, "sh.helm.release.v1.coredns.v1", "kube-system")
    ran = scenario.run()
    assert ran.exit_code == 0, ran.stderr
    assert asked(scenario) == ["pod-network", "names", "names"]


def test_a_verdict_from_another_computer_needs_no_pod(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0
    for file in (scenario.journal.parent / "proofs").iterdir():
        file.unlink()
    before = scenario.effects()
    verdict = scenario.run(request={"only": ("handover",)})
    assert verdict.exit_code == 0, verdict.stderr
    assert scenario.effects() == before


def test_a_live_plan_says_what_would_be_asked_again(make: Make) -> None:
    scenario = make()
    assert scenario.run().exit_code == 0
    before = scenario.effects()
    plan = scenario.run(plan=True, live=True, request={"prove": True})
    assert [step for step, *_ in plan.kept("announced.json")] == ["core/pod-network", "core/names"]
    assert scenario.effects() == before
