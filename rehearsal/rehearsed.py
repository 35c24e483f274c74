"""A real cluster of the inventory as its rehearsal: the same names and addresses, on virtual machines."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bootstrap.host.errors import InputError, Problem
from inventory.model import Hardware, SecretProvider, SecretReference, SecretSettings, VirtualMachine
from rehearsal.settings import CONNECT_NAMES

if TYPE_CHECKING:
    from inventory.model import Cluster, Node

# What a control plane with Flux needs. The disk takes only what is written to it, and is as large as volumes of the
# machine configuration want it: 100 GiB for Talos' own and 10 GiB for others.
MACHINE: Final = VirtualMachine(memory=4096, cpus=2, disk=120)
# What QEMU's cards and disks are to Linux; `talos/rehearsal.yaml` says the same to Talos.
DRIVER: Final = "virtio_net"
LINKS: Final = ("enp0s2", "enp0s3")
DISK: Final = "/dev/vda"
# Emulated machines take up to three times as long, and all releases of a cluster come up at once on them. What is
# wanted stays as it is, so that the verdict shows by how much.
PATIENCE: Final = 3.0
RELEASE_SECONDS: Final = 1200.0


def rehearsed(cluster: Cluster, nodes: int = 0) -> Cluster:
    """A cluster as it is rehearsed: names, addresses, hardware addresses and endpoint stay.

    Its secrets are throw-away ones of the lab's 1Password Connect. What nobody confirmed is taken as it is written.

    Args:
        cluster: of the inventory.
        nodes: how many machines there are to be; 0 for all. The node that starts etcd is always among them.

    Raises:
        InputError: the cluster is a virtual one already, or has not so many nodes.
    """
    if cluster.virtual:
        remedy = f"./invoke bootstrap --cluster {cluster.name}"
        raise InputError(f"{cluster.name} has virtual machines of its own: there is nothing to rehearse", remedy=remedy)
    if not 0 <= nodes <= len(cluster.nodes):
        problem = Problem(f"{cluster.name} has {len(cluster.nodes)} nodes", cluster.source)
        remedy = f"give --nodes 1 to {len(cluster.nodes)}, or none for all"
        raise InputError(f"{nodes} nodes cannot be rehearsed", (problem,), remedy=remedy)
    # Stable: the others keep the order of the file.
    chosen = sorted(cluster.nodes, key=lambda node: node.name != cluster.bootstrap_node)[: nodes or None]
    kept = {node.name for node in chosen}
    return replace(
        cluster,
        virtual=True,
        rehearsal=True,
        secrets=_secrets(cluster.name),
        nodes=tuple(_node(node) for node in cluster.nodes if node.name in kept),
        unverified=frozenset(),
        budgets=MappingProxyType(
            {name: replace(budget, deadline=PATIENCE * budget.deadline) for name, budget in cluster.budgets.items()}
        ),
        release_seconds=max(RELEASE_SECONDS, cluster.release_seconds),
        probe_seconds=PATIENCE * cluster.probe_seconds,
    )


def _node(node: Node) -> Node:
    return replace(
        node,
        driver=DRIVER,
        links=LINKS[: len(node.macs)],
        disk=DISK,
        disk_selector=None,
        hardware=Hardware(),
        machine=MACHINE,
        unverified=frozenset(),
    )


def _secrets(cluster: str) -> SecretSettings:
    return SecretSettings(
        provider=SecretProvider.CONNECT,
        connect_host=f"http://{CONNECT_NAMES[0]}",
        talos_bundle=SecretReference(f"op://{cluster}/talos-{cluster}/bundle"),
        connect_token=SecretReference(f"op://{cluster}/onepassword-connect/token"),
    )
