"""Machines that answer late, not at all, or with something else than wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scripted import invariants, ports
from tests.scripted.accidents import NO_ANSWER, Accident, Moment
from tests.scripted.scenario import TALOS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scripted.conftest import AfterTalos, Make

ROTATES = {"    kubelet:": '    kubelet:\n        extraArgs:\n            rotate-server-certificates: "true"'}
LACP = {
    "mode: active-backup": "mode: 802.3ad\n                xmitHashPolicy: layer3+4\n                lacpRate: fast"
}


@pytest.mark.parametrize("call", ["apply-config", "bootstrap"])
@pytest.mark.parametrize("moment", Moment)
def test_a_reply_that_is_lost_costs_no_second_effect(
    call: str, moment: Moment, make: Make, after_talos: AfterTalos
) -> None:
    scenario = make()
    scenario.plan(Accident(call=call, moment=moment, says=NO_ANSWER))
    ran = scenario.run(**TALOS)
    assert scenario.fired() == [1]
    finished = ran if ran.exit_code == 0 else scenario.run(**TALOS)
    assert finished.exit_code == 0, finished.stderr
    invariants.check(scenario, after_talos(1), ran, finished)


def test_a_clock_that_is_not_in_sync_yet_is_waited_for(make: Make, after_talos: AfterTalos) -> None:
    scenario = make()
    scenario.plan(Accident(call="bootstrap", says="not_in_sync--05-bootstrap-before-time-sync-again", times=3))
    ran = scenario.run(**TALOS)
    assert scenario.fired() == [3]
    assert ran.exit_code == 0, ran.stderr
    assert "the node's clock is not in sync yet" in ran.stderr
    invariants.check(scenario, after_talos(1), ran)


def test_a_machine_that_is_away_is_waited_for_and_named(make: Make, after_talos: AfterTalos) -> None:
    scenario = make()
    scenario.change("lab-01", off=True)
    ran = scenario.run(**TALOS)
    assert ran.exit_code == 5, ran.stderr
    assert "lab-01: no answer within 5 s" in ran.stderr
    assert "check power, cabling and the addresses in the inventory" in ran.stderr
    assert scenario.effects() == []
    scenario.change("lab-01", off=False)
    finished = scenario.run(**TALOS)
    invariants.check(scenario, after_talos(1), ran, finished)


def test_a_machine_of_another_cluster_is_never_touched(make: Make) -> None:
    theirs = make(store=None)
    assert theirs.run(**TALOS).exit_code == 0
    before = theirs.effects()
    ours = make(world=theirs.world)
    refused = ours.run(**TALOS)
    assert refused.exit_code == 3, refused.stderr
    assert "machines are configured with the secrets of another cluster" in refused.stderr
    assert ours.effects() == before


def test_the_users_own_kubeconfig_is_left_alone(make: Make, tmp_path: Path) -> None:
    """Fault 40: bytes, mode and time of the user's file, and a private one beside it."""
    scenario = make()
    theirs = tmp_path / ".kube" / "config"
    theirs.parent.mkdir()
    theirs.write_text("current-context: production\n")
    theirs.chmod(0o640)
    before = (theirs.read_bytes(), theirs.stat().st_mode, theirs.stat().st_mtime_ns)
    ran = scenario.run(**TALOS, environment={"HOME": str(tmp_path), "KUBECONFIG": str(theirs)})
    assert ran.exit_code == 0, ran.stderr
    assert (theirs.read_bytes(), theirs.stat().st_mode, theirs.stat().st_mtime_ns) == before
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["config"]
    ours = scenario.journal.parent / "kubeconfig"
    assert ours.stat().st_mode & 0o777 == 0o600
    commands = (ran.said / "commands.jsonl").read_text()
    assert "talosctl" in commands
    assert str(theirs) not in commands


def test_serving_certificates_of_known_kubelets_are_approved_once(make: Make) -> None:
    scenario = make(nodes=3)
    scenario.tell("configuration", ROTATES)
    ran = scenario.run(**TALOS)
    assert ran.exit_code == 0, ran.stderr
    approved = [one.what.split()[0] for one in scenario.effects() if one.kind == "approve"]
    assert sorted(approved) == ["csr-lab-01", "csr-lab-02", "csr-lab-03"]
    invariants.converged(scenario, **TALOS)


def test_a_request_for_another_machines_name_is_not_approved(make: Make) -> None:
    scenario = make()
    scenario.tell("configuration", ROTATES)
    scenario.tell("asks as", "somebody-else")
    ran = scenario.run(**TALOS)
    assert ran.exit_code == 5, ran.stderr
    assert "it asks for somebody-else" in ran.stderr
    assert [one for one in scenario.effects() if one.kind == "approve"] == []


def test_a_switch_without_lacp_is_named(make: Make) -> None:
    scenario = make()
    scenario.tell("configuration", LACP)
    scenario.change("lab-01", partner=ports.NOBODY)
    ran = scenario.run(**TALOS)
    assert ran.exit_code != 0
    assert "LACP" in ran.stderr
    assert scenario.asked("lab-01 read /proc/net/bonding/bond0")
    scenario.change("lab-01", partner=ports.SWITCH)
    mended = scenario.run(**TALOS)
    assert mended.exit_code == 0, mended.stderr
    invariants.converged(scenario, **TALOS)


def test_a_port_without_a_carrier_is_named(make: Make) -> None:
    scenario = make()
    links = scenario.machine("lab-01")["links"]
    scenario.change("lab-01", links=[links[0], {**links[1], "up": False}])
    ran = scenario.run(**TALOS)
    assert ran.exit_code != 0
    assert links[1]["name"] in ran.stderr
