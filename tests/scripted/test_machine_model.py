"""The machines of this ring by themselves: what Talos, etcd and the kernel do, as recorded or as their sources say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host import yaml_io
from talos.probe import State
from tests.scripted import invariants, ports
from tests.scripted.accidents import NO_ANSWER, Accident, Moment
from tests.scripted.node_answers import configuration
from tests.scripted.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.scripted.conftest import Make
    from tests.scripted.scenario import Scenario


@pytest.fixture
def scenario(make: Make) -> Scenario:
    """Three control planes and a worker."""
    return make(nodes=3, workers=1)


@pytest.fixture
def ring(scenario: Scenario) -> Iterator[Ring]:
    """Its world."""
    with Ring(scenario.world) as opened:
        yield opened


def config(scenario: Scenario, name: str) -> str:
    bundle = yaml_io.load((scenario.store / "bundle.yaml").read_bytes(), source="bundle")
    return configuration(bundle, scenario.inventory.node(name))


def test_a_bootstrapped_machine_takes_the_others_in_one_by_one(scenario: Scenario, ring: Ring) -> None:
    scenario.configure("lab-01", "lab-02", "lab-03", "lab-04")
    ring.machines.bootstrap(ring.model.machine("lab-01"))
    most = 0
    while ring.model.quiet < float("inf"):
        ring.model.put("now", ring.model.now + ring.model.quiet)
        with ring.model.look():
            learners = [one for members in ring.machines.etcd.clusters().values() for one in members if one["learner"]]
        most = max(most, len(learners))
    assert most == 1
    assert scenario.members() == [["lab-01", "lab-02", "lab-03"]]
    assert all(ring.model.machine(name)["api"] for name in ("lab-01", "lab-02", "lab-03"))


@pytest.mark.parametrize("trouble", [{"data": "etcd-lab-02"}, {"port": "silent"}])
def test_a_bootstrap_beside_data_or_silence_is_seen(trouble: dict[str, Any], scenario: Scenario, ring: Ring) -> None:
    scenario.configure("lab-01", "lab-02", "lab-03")
    scenario.change("lab-02", **trouble)
    ring.machines.bootstrap(ring.model.machine("lab-01"))
    with pytest.raises(AssertionError, match="I1: bootstrapped beside"):
        invariants.bootstrapped_safely(scenario)


def test_a_reboot_before_etcd_has_begun_takes_the_intent_away(scenario: Scenario, ring: Ring) -> None:
    scenario.configure("lab-01")
    ring.machines.bootstrap(ring.model.machine("lab-01"))
    ring.model.after(0.5, "reboot", "lab-01")
    ring.model.settle()
    machine = ring.model.machine("lab-01")
    assert (machine["data"], machine["etcd"], machine["console"]) == ("", "", [])
    assert machine["boot"] == 3


def test_a_member_that_comes_back_empty_takes_its_own_place(scenario: Scenario, ring: Ring) -> None:
    scenario.configure("lab-01", "lab-02", "lab-03", etcd=["lab-01"])
    assert scenario.members() == [["lab-01", "lab-02", "lab-03"]]
    lost = ring.model.machine("lab-03")
    ring.model.put_machine({**lost, "data": "", "etcd": "", "api": False})
    ring.machines.begin()
    assert scenario.members() == [["lab-01", "lab-02", "lab-03"]]


@pytest.mark.parametrize(("gone", "healthy"), [(["lab-03"], True), (["lab-02", "lab-03"], False)])
def test_etcd_without_a_majority_is_not_healthy(
    gone: list[str], scenario: Scenario, ring: Ring, *, healthy: bool
) -> None:
    scenario.configure("lab-01", "lab-02", "lab-03", etcd=["lab-01"])
    for name in gone:
        scenario.change(name, off=True)
    assert ring.machines.etcd.is_healthy(ring.model.machine("lab-01")) is healthy


def test_power_lost_while_it_installs_leads_back_to_maintenance(scenario: Scenario, ring: Ring) -> None:
    with ring.model.look():
        ring.machines.configure(ring.model.machine("lab-01"), config(scenario, "lab-01").encode())
        ring.model.after(1.0, "reboot", "lab-01")
    ring.model.settle()
    machine = ring.model.machine("lab-01")
    assert (machine["stage"], machine["config"], machine["volumes"]) == ("maintenance", "", [])


def test_a_disk_that_is_not_there_leads_back_to_maintenance(scenario: Scenario, ring: Ring) -> None:
    scenario.change("lab-01", disks=[{**ring.model.machine("lab-01")["disks"][0], "path": "/dev/vdb"}])
    with ring.model.look():
        ring.machines.configure(ring.model.machine("lab-01"), config(scenario, "lab-01").encode())
    ring.model.settle()
    assert ring.model.machine("lab-01")["stage"] == "maintenance"


@pytest.mark.parametrize(("port", "state"), [("silent", State.SILENT), ("closed", State.CLOSED)])
def test_what_a_port_that_says_nothing_looks_like(port: str, state: State, scenario: Scenario, ring: Ring) -> None:
    scenario.change("lab-02", port=port)
    address = str(scenario.inventory.node("lab-02").maintenance_address)
    assert ring.machines.observe(address, b"").state is state
    assert scenario.asked("lab-02 handshake") == 1


def test_a_bond_without_a_partner_is_told_as_the_kernel_tells_it() -> None:
    machine = _bonded(partner=ports.NOBODY)
    lines = (ports.bonding(machine, "bond0") or "").splitlines()
    assert "\tPartner Mac Address: 00:00:00:00:00:00" in lines
    assert [line for line in lines if line.startswith("Aggregator ID")] == ["Aggregator ID: 1", "Aggregator ID: 2"]


def test_a_bond_with_a_partner_has_one_aggregator() -> None:
    lines = (ports.bonding(_bonded(), "bond0") or "").splitlines()
    assert "\tNumber of ports: 2" in lines
    assert {line for line in lines if line.startswith("Aggregator ID")} == {"Aggregator ID: 1"}
    assert ports.bonding(_bonded(), "bond1") is None


def _bonded(**properties: Any) -> dict[str, Any]:
    bond = {"mode": "802.3ad", "lacpRate": "fast", "miimon": 100, "deviceSelectors": [{"driver": "i40e"}]}
    network: Any = {"interfaces": [{"interface": "bond0", "mtu": 9000, "bond": bond}]}
    links = [
        {"name": f"eth{number}", "mac": f"52:54:00:00:00:0{number}", "driver": "i40e", "up": True, "speed": 25000}
        for number in range(2)
    ]
    config = yaml_io.dump({"machine": {"network": network}})
    return {"config": config, "links": links, "partner": ports.SWITCH, **properties}


def test_an_accident_happens_so_many_times_and_counts(scenario: Scenario, ring: Ring) -> None:
    scenario.plan(
        Accident(call="get disks", machine="lab-02", says=NO_ANSWER, times=2, skip=1),
        Accident(call="get disks", machine="lab-01", moment=Moment.AFTER),
    )
    accidents = ring.accidents
    with ring.model.look():
        happened = [accidents.at("get disks", name, Moment.BEFORE) for name in ("lab-01", *["lab-02"] * 4)]
    assert [bool(one) for one in happened] == [False, False, True, True, False]
    assert scenario.fired() == [2, 0]


def test_what_talosctl_says_of_a_machine_is_what_the_client_reads(scenario: Scenario, ring: Ring) -> None:
    scenario.configure("lab-01", "lab-02", "lab-03", "lab-04", etcd=["lab-01"])
    asked, config = scenario.client(ring)
    address = "10.25.13.11"
    links = {link.name: link for link in asked.links(address, config)}
    assert set(links) == {"enp0s2", "enp0s3", "bond0"}
    assert links["enp0s3"].address == links["bond0"].address == "52:54:00:13:00:11"
    assert links["enp0s3"].permanent_address == "52:54:00:13:01:11"
    assert [disk.path for disk in asked.disks(address, config)] == ["/dev/loop0", "/dev/vda"]
    assert [volume.label for volume in asked.volumes(address, config)][-2:] == ["STATE", "EPHEMERAL"]
    assert [(member.hostname, member.learner) for member in asked.etcd_members(address, config)] == [
        ("lab-01", False), ("lab-02", False), ("lab-03", False),
    ]  # fmt: skip
    assert asked.services(address, config)["etcd"].healthy
    assert asked.services("10.25.13.14", config).keys() >= {"apid", "kubelet"}
    assert asked.machine_status(address, config).stage == "running"
    assert asked.release(address, config) == "1.11.5"
    assert asked.in_sync(address, config)
    assert asked.boot_id(address, config) != asked.boot_id("10.25.13.12", config)
    assert asked.machine_config(address, config).reveal().decode() == ring.model.machine("lab-01")["config"]


def test_an_empty_data_directory_is_told_from_one_with_data(scenario: Scenario, ring: Ring) -> None:
    scenario.configure("lab-01", "lab-02", etcd=["lab-02"])
    scenario.change("lab-03", clock=90)
    asked, config = scenario.client(ring)
    assert "member" in asked.entries("10.25.13.12", config, "/var/lib/etcd")
    scenario.change("lab-01", data="")
    assert "member" not in asked.entries("10.25.13.11", config, "/var/lib/etcd")


def test_a_clock_that_is_off_is_off_by_as_much(scenario: Scenario, ring: Ring) -> None:
    scenario.configure("lab-01")
    scenario.change("lab-01", clock=3600)
    asked, config = scenario.client(ring)
    times = asked.times("10.25.13.11", config)
    assert round((times.node - times.reference).total_seconds()) == 3600
