"""A node's network is held against what its own configuration declares, the lowest layer first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine import Phase
from bootstrap.engine.testing import Recording
from bootstrap.host.errors import ExitCode
from bootstrap.host.secret import Secret
from phases import network
from phases.refs import RENDER
from talos.probe import State
from tests.unit.phases import rack as racks
from tests.unit.phases.rack import Rack

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.engine.verdict import Verdict

MACS = ("f8:f2:1e:20:57:10", "f8:f2:1e:20:57:11")
SWITCH, OTHER_SWITCH, NOBODY = "00:1c:73:00:00:01", "00:1c:73:00:00:02", "00:00:00:00:00:00"
CONFIG = """
machine:
  network:
    interfaces:
      - interface: bond0
        mtu: 9000
        bond: {mode: MODE, lacpRate: fast}
        routes: [{network: 0.0.0.0/0, gateway: 10.25.13.1}]
        vlans: [{vlanId: 2512, mtu: 1500}]
---
apiVersion: v1alpha1
kind: EthernetConfig
name: port0
rings: {rx: 8160, tx: 8160}
"""


def bond(
    *, mode: str = "IEEE 802.3ad Dynamic link aggregation", partners: tuple[str, str] = (SWITCH, SWITCH),
    groups: tuple[int, int] = (1, 1), states: tuple[str, str] = ("up", "up"), macs: tuple[str, ...] = MACS,
) -> str:  # fmt: skip
    """The kernel's text about a bond of two ports."""
    text = f"Ethernet Channel Bonding Driver: v6.12\n\nBonding Mode: {mode}\nMII Status: up\n\n802.3ad info\n"
    for number, mac in enumerate(macs):
        text += (
            f"\nSlave Interface: port{number}\nMII Status: {states[number]}\nSpeed: 10000 Mbps\nDuplex: full\n"
            f"Permanent HW addr: {mac}\nAggregator ID: {groups[number]}\n"
            f"details actor lacp pdu:\n    system mac address: {MACS[0]}\n"
            f"details partner lacp pdu:\n    system priority: 1\n    system mac address: {partners[number]}\n"
        )
    return text


def prepared(text: str, changes: dict[str, dict[str, Any]] | None = None) -> Rack:
    cluster = racks.cluster(1)
    rack = Rack(replace(cluster, nodes=(replace(cluster.nodes[0], macs=MACS),)), State.OURS)
    box = rack["cp-1"]
    box.files["/proc/net/bonding/bond0"] = text
    up = {"linkState": True, "hardwareAddr": MACS[0]}
    box.resources["links"] |= {
        "bond0": {**up, "kind": "bond", "mtu": 9000},
        "bond0.2512": {**up, "kind": "vlan", "mtu": 1500},
    }
    box.resources["routes"] = {"r": {"dst": "", "gateway": "10.25.13.1", "outLinkName": "bond0"}}
    box.resources["ethernetstatus"] = {"port0": {"rings": {"rx": 8160, "tx": 8160}}}
    for kind, found in (changes or {}).items():
        box.resources[kind] = {**box.resources[kind], **found}
    return rack


def run(rack: Rack, folder: Path, mode: str = "802.3ad") -> Verdict:
    phase = Phase(name="talos", title="x", steps=(network.step(racks.world(rack, folder)),), target=5000.0)
    configs = {"cp-1": Secret(CONFIG.replace("MODE", mode), "configuration")}
    return racks.run(rack, phase, Recording(), **{RENDER.name: configs})


def test_what_is_as_declared_is_proven(tmp_path: Path) -> None:
    verdict = run(prepared(bond()), tmp_path)
    assert verdict.exit_code is ExitCode.DONE
    (proof,) = list(verdict.steps())[-1].proofs
    assert f"LACP partner {SWITCH}" in proof.evidence


BACKUP = "fault-tolerance (active-backup)"


@pytest.mark.parametrize(
    ("text", "changes", "seen"),
    [
        (bond(partners=(NOBODY, NOBODY)), {}, "port0, port1 of bond0 has no LACP partner at the switch"),
        (bond(partners=(SWITCH, NOBODY), groups=(1, 2)), {}, "port1 of bond0 has no LACP partner at the switch"),
        (bond(partners=(SWITCH, OTHER_SWITCH)), {}, "have different LACP partners"),
        (bond(groups=(1, 2)), {}, "are in different aggregators: port0 1, port1 2"),
        (bond(states=("up", "down")), {}, "port1 of bond0 is down"),
        (bond(macs=MACS[:1]), {}, f"bond0 has no member with the permanent address {MACS[1]}"),
        (bond(mode=BACKUP), {}, f"bond0 runs as {BACKUP}, not as 802.3ad"),
        (bond(), {"links": {"bond0": {"linkState": True, "mtu": 1500}}}, "wanted MTU 9000 at bond0; found 1500"),
        (bond(), {"links": {"bond0": {"linkState": False, "mtu": 9000}}}, "bond0 is down"),
        (bond(), {"ethernetstatus": {"port0": {"rings": {"rx": 512, "tx": 8160}}}}, "wanted 8160 rx descriptors"),
        (bond(), {"routes": {"r": {"dst": "", "gateway": "10.25.13.2"}}}, "wanted a default route by 10.25.13.1"),
    ],
)  # fmt: skip
def test_what_is_not_as_declared_is_named(
    text: str, changes: dict[str, dict[str, Any]], seen: str, tmp_path: Path
) -> None:
    verdict = run(prepared(text, changes), tmp_path)
    assert verdict.exit_code is ExitCode.TIMED_OUT
    assert seen in verdict.failures[0].cause


def test_a_bond_without_lacp_needs_no_partner(tmp_path: Path) -> None:
    rack = prepared(bond(mode=BACKUP, partners=(NOBODY, NOBODY)))
    assert run(rack, tmp_path, "active-backup").exit_code is ExitCode.DONE


def test_a_bond_that_is_not_there_is_named(tmp_path: Path) -> None:
    rack = prepared(bond())
    rack["cp-1"].files.clear()
    assert "there is no bond bond0" in run(rack, tmp_path).failures[0].cause
