"""A real cluster as its rehearsal: what stays, what is replaced, what lies over its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError
from bootstrap.host.objects import dig, sequence, text
from inventory.loader import load, names
from phases.world import state_folder
from rehearsal.certificates import ensure_authority
from rehearsal.overlay import lab_documents, rehearsal_documents, write
from rehearsal.preparation import endpoint
from rehearsal.rehearsed import DISK, DRIVER, LINKS, rehearsed
from rehearsal.wiring import Wiring, read_wiring
from talos.bundle import generate
from talos.client import Talosctl
from talos.machineconfig import render
from tests.unit.rehearsal.bench import runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.yaml_io import Yaml
    from inventory.model import Cluster

ROOT = Path(__file__).parents[3]
REAL = [cluster for name in names(ROOT) if not (cluster := load(ROOT, name)).virtual]


@pytest.mark.parametrize("cluster", REAL, ids=lambda cluster: cluster.name)
def test_names_and_addresses_stay_and_hardware_does_not(cluster: Cluster) -> None:
    made = rehearsed(cluster)
    assert (made.virtual, made.rehearsal, made.unverified) == (True, True, frozenset())
    for kept in ("name", "id", "endpoint", "networks", "virtual_ip", "pools", "bootstrap_node", "git"):
        assert getattr(made, kept) == getattr(cluster, kept)
    assert (made.release_seconds, cluster.release_seconds) == (1200, 420)
    for phase, budget in cluster.budgets.items():
        assert made.budgets[phase].target == budget.target
        assert made.budgets[phase].deadline == 3 * budget.deadline
    assert len(made.nodes) == len(cluster.nodes)
    for real, virtual in zip(cluster.nodes, made.nodes, strict=True):
        for kept in ("name", "role", "address", "maintenance_address", "macs", "absent"):
            assert getattr(virtual, kept) == getattr(real, kept)
        assert (virtual.driver, virtual.disk, virtual.disk_selector) == (DRIVER, DISK, None)
        assert virtual.links == LINKS
        assert virtual.unverified == frozenset()
        assert virtual.machine


@pytest.mark.parametrize("cluster", REAL, ids=lambda cluster: cluster.name)
def test_no_secret_of_the_real_cluster_is_asked_for(cluster: Cluster) -> None:
    secrets = rehearsed(replace(cluster, secrets=replace(cluster.secrets, connect_host="https://real"))).secrets
    assert secrets.connect_host == "http://opconnect.monosense.dev"
    assert {str(secrets.talos_bundle), str(secrets.connect_token)} == {
        f"op://{cluster.name}/talos-{cluster.name}/bundle",
        f"op://{cluster.name}/onepassword-connect/token",
    }


@pytest.mark.parametrize("cluster", REAL, ids=lambda cluster: cluster.name)
def test_fewer_machines_keep_the_one_that_starts_etcd(cluster: Cluster) -> None:
    last = replace(cluster, bootstrap_node=cluster.nodes[-1].name)
    assert [node.name for node in rehearsed(last, 1).nodes] == [last.bootstrap_node]
    assert [node.name for node in rehearsed(last, 2).nodes] == [cluster.nodes[0].name, last.bootstrap_node]


def test_what_cannot_be_rehearsed_is_refused() -> None:
    with pytest.raises(InputError, match="virtual machines of its own"):
        rehearsed(load(ROOT, "lab"))
    for count in (-1, 99):
        with pytest.raises(InputError, match=f"^{count} nodes cannot be rehearsed") as caught:
            rehearsed(REAL[0], count)
        assert caught.value.remedy == f"give --nodes 1 to {len(REAL[0].nodes)}, or none for all"


def test_state_of_a_rehearsal_is_apart() -> None:
    folders = {state_folder(ROOT, "infra", rehearsal=rehearsal) for rehearsal in (False, True)}
    assert folders == {ROOT / ".firstlight" / "infra", ROOT / ".firstlight" / "rehearsal" / "infra"}


def test_the_endpoint_is_the_shared_address_where_there_is_one() -> None:
    real = REAL[0]
    assert endpoint(real)[1] == str(real.virtual_ip)
    assert endpoint(replace(real, virtual_ip=None))[1] == str(real.bootstrap.address)


# what the files ask of the wiring -----------------------------------------------------------------------------


def make_root(folder: Path, cluster: Cluster, *contents: str) -> Path:
    """A repository in which the patches of a cluster's first nodes are there."""
    (folder / "talos").mkdir()
    for node, content in zip(cluster.nodes, contents, strict=False):
        path = folder / "talos" / cluster.name / node.role.value / f"{node.name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


BOND = "machine: {network: {interfaces: [{interface: bond0, mtu: 9000, bond: {mode: MODE}}]}}\n"
RINGS = "---\n{apiVersion: v1alpha1, kind: EthernetConfig, name: NAME}\n"


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        ((), Wiring()),
        ((BOND.replace("MODE", "802.3ad"),), Wiring(lacp=True, mtu=9000)),
        ((BOND.replace("MODE", "active-backup"),), Wiring(mtu=9000)),
        ((BOND.replace("mtu: 9000, ", "").replace("MODE", "802.3ad"),), Wiring(lacp=True)),
        ([RINGS.replace("NAME", "eth0")] * 3, Wiring(ethernets=("eth0",))),
        # A document that some node lacks cannot be deleted for all.
        ([RINGS.replace("NAME", "eth0")] * 2, Wiring()),
    ],
)
def test_the_wiring_follows_from_the_files(tmp_path: Path, texts: tuple[str, ...], wanted: Wiring) -> None:
    cluster = REAL[0]
    assert len(cluster.nodes) == 3
    assert read_wiring(make_root(tmp_path, cluster, *texts), cluster) == wanted


def test_a_lab_of_one_bridge_needs_no_partner() -> None:
    assert not read_wiring(ROOT, load(ROOT, "lab")).lacp


def test_patches_without_a_kind_become_one(tmp_path: Path) -> None:
    first: Yaml = {"machine": {"install": {"disk": "/dev/vda"}, "type": "worker"}}
    second: Yaml = {"machine": {"install": {"wipe": True}, "type": "controlplane"}}
    other: Yaml = {"kind": "EthernetConfig", "name": "eth0"}
    write(tmp_path / "patch.yaml", [other, first, second])
    whole = {"machine": {"install": {"disk": "/dev/vda", "wipe": True}, "type": "controlplane"}}
    assert yaml_io.load_file(tmp_path / "patch.yaml") == [whole, other]
    assert first == {"machine": {"install": {"disk": "/dev/vda"}, "type": "worker"}}


@pytest.mark.parametrize("cluster", REAL, ids=lambda cluster: cluster.name)
def test_talos_takes_the_files_of_a_cluster_with_the_overlay(
    cluster: Cluster, tmp_path: Path, programs: Callable[[str], Path]
) -> None:
    made = rehearsed(cluster, 1)
    certificate = ensure_authority(tmp_path).certificate.read_text()
    documents = rehearsal_documents(ROOT, made, read_wiring(ROOT, made))
    write(tmp_path / "overlay.yaml", [*documents, *lab_documents(certificate, emulated=True)])
    talosctl = Talosctl(programs("talosctl"), runner())
    (node,) = made.nodes
    config = render(talosctl, made, node, generate(talosctl), root=ROOT, overlays=(tmp_path / "overlay.yaml",))
    (machine, *others) = yaml_io.load_all(config.reveal(), source="rendered")
    assert dig(machine, "machine", "install", "disk") == DISK
    assert dig(machine, "machine", "install", "diskSelector") is None
    assert {"driver": DRIVER} in sequence(machine, "machine", "network", "interfaces", 0, "bond", "deviceSelectors")
    assert {text(each, "name") for each in others if text(each, "kind") == "EthernetConfig"} == set(LINKS)
    # One machine takes what wants several, and what emulation asks of the scheduler is still there.
    assert dig(machine, "cluster", "scheduler", "config", "profiles", 0, "plugins", "filter", "disabled") == [
        {"name": "InterPodAffinity"}
    ]
    assert dig(machine, "cluster", "scheduler", "extraArgs")


def test_the_overlay_takes_out_what_virtual_machines_lack() -> None:
    documents = rehearsal_documents(ROOT, rehearsed(REAL[0]), Wiring(ethernets=("enp1s0f0",)))
    assert documents[0] == {
        "apiVersion": "v1alpha1", "kind": "EthernetConfig", "name": "enp1s0f0", "$patch": "delete",
    }  # fmt: skip
    dumped = yaml_io.dump_all(documents)
    assert "InterPodAffinity" not in dumped
    for fact in (DRIVER, DISK, *LINKS):
        assert fact in dumped
