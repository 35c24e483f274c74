"""What the inventory says about a cluster, as frozen records.

Addresses are IPv4: that is what the clusters of this repository use. Names are those of Talos and Kubernetes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv4Network

# The phases a budget can be set for, in the order in which they run; `total` is the whole run.
BUDGETED: Final = ("preflight", "talos", "prerequisites", "crds", "core", "handover", "total")


class Role(StrEnum):
    """What a node is; the values are Talos' machine types and the names of the patch folders."""

    CONTROL_PLANE = "controlplane"
    WORKER = "worker"


class SecretProvider(StrEnum):
    """Who answers `op://` references; `env` and `file` mean that there are none."""

    CONNECT = "connect"
    OP = "op"
    ENV = "env"
    FILE = "file"


@dataclass(frozen=True)
class SecretReference:
    """Where a secret lies: `op://vault/item/field`, `env://NAME` or `file:///path`.

    Attributes:
        text: the reference itself; it is shown in place of the secret.
    """

    text: str

    @property
    def scheme(self) -> str:
        """`op`, `env` or `file`."""
        return self.text.partition("://")[0]

    @property
    def location(self) -> str:
        """What stands behind `scheme://`."""
        return self.text.partition("://")[2]

    def __str__(self) -> str:
        """The reference."""
        return self.text


@dataclass(frozen=True)
class VirtualMachine:
    """The machine that the lab makes for a node.

    Attributes:
        memory: MiB.
        cpus: how many.
        disk: GiB.
    """

    memory: int
    cpus: int
    disk: int


@dataclass(frozen=True)
class DiskSelector:
    """Which disk Talos is installed to; every fact that is given must hold (`machine.install.diskSelector`).

    Attributes:
        model: a pattern with `*`; empty for any.
        serial: the whole serial number; empty for any.
        kind: `nvme`, `ssd`, `hdd` or `sd`; empty for any.
        size: a comparison such as `>= 500GB`; empty for any.
    """

    model: str = ""
    serial: str = ""
    kind: str = ""
    size: str = ""


@dataclass(frozen=True)
class Hardware:
    """What a machine must at least have; zero asks nothing.

    Attributes:
        memory: GiB.
        cpus: logical processors.
    """

    memory: int = 0
    cpus: int = 0


@dataclass(frozen=True)
class Node:
    """One machine of a cluster.

    Attributes:
        name: host name and Kubernetes node name.
        role: control plane or worker.
        address: the address that its machine configuration gives it.
        maintenance_address: where it answers before it is configured; may be the same address.
        macs: permanent hardware addresses of its ports, lower case.
        driver: kernel driver of those ports.
        disk: the disk that Talos is installed to, as a device path; empty when `disk_selector` says it.
        machine: the virtual machine to make; None for a real one.
        links: names of its ports as the kernel gives them, in the order of `macs`; empty when nobody needs them.
        disk_selector: the disk by its properties; None when `disk` names it.
        hardware: what the machine must at least have.
        unverified: names of the facts above that nobody confirmed, for example `macs`; a real run refuses them.
        absent: whether the machine is known to be away, so that nobody waits for it.
    """

    name: str
    role: Role
    address: IPv4Address
    maintenance_address: IPv4Address
    macs: tuple[str, ...]
    driver: str
    disk: str
    machine: VirtualMachine | None
    links: tuple[str, ...] = ()
    disk_selector: DiskSelector | None = None
    hardware: Hardware = Hardware()
    unverified: frozenset[str] = frozenset()
    absent: bool = False


@dataclass(frozen=True)
class Networks:
    """The networks of a cluster.

    Attributes:
        nodes: network of the nodes' own addresses.
        gateway: their default route.
        nameservers: what the nodes ask for names.
        time_servers: NTP servers, names or addresses.
        pods: pod network of the whole cluster.
        services: service network.
        coredns: address of the DNS service.
    """

    nodes: IPv4Network
    gateway: IPv4Address
    nameservers: tuple[IPv4Address, ...]
    time_servers: tuple[str, ...]
    pods: IPv4Network
    services: IPv4Network
    coredns: IPv4Address


@dataclass(frozen=True)
class GitSource:
    """What Flux reconciles.

    Attributes:
        url: repository, https or ssh.
        ref: full ref name, for example `refs/heads/main`.
        path: the cluster's folder in the repository.
    """

    url: str
    ref: str
    path: str


@dataclass(frozen=True)
class SecretSettings:
    """Where the cluster's secrets come from.

    Attributes:
        provider: who answers `op://` references.
        connect_host: URL of 1Password Connect, for us and for the cluster; empty when there is none.
        talos_bundle: the secrets bundle, as `talosctl gen secrets` wrote it.
        connect_token: the token with which the cluster itself asks 1Password Connect.
    """

    provider: SecretProvider
    connect_host: str
    talos_bundle: SecretReference
    connect_token: SecretReference


@dataclass(frozen=True)
class Budget:
    """How long a phase may take, in seconds.

    Attributes:
        target: the time that is wanted; judged in the verdict.
        deadline: the time after which waiting ends.
    """

    target: float
    deadline: float


@dataclass(frozen=True)
class Cluster:
    """One cluster of the inventory.

    Attributes:
        name: also the name of its files and folders.
        id: ClusterMesh id, 1 to 255, unique over all clusters.
        virtual: whether its machines are virtual ones that the lab makes.
        endpoint: URL of the Kubernetes API as the machines know it.
        talos_version: without a leading v.
        kubernetes_version: without a leading v.
        networks: its networks.
        git: what Flux reconciles.
        secrets: where its secrets come from.
        nodes: its machines, in the order of the file.
        bootstrap_node: name of the control plane on which etcd is started, once.
        budgets: one for each name in `BUDGETED`.
        source: the inventory file, relative to the repository, for messages.
        virtual_ip: the address that the control planes share and the endpoint's name resolves to; None where
            something outside of the cluster balances that name.
        pools: address ranges that the cluster gives to its own services, first and last address of each.
        unverified: names of facts of the cluster that nobody confirmed, for example `endpoint`.
        rehearsal: whether this stands for a real cluster, with virtual machines in place of its own.
        release_seconds: the longest that one release, or what Flux makes of one, may take to become ready.
        probe_seconds: the longest that a pod may take to be made and to answer, see `bootstrap/probe.yaml`.
    """

    name: str
    id: int
    virtual: bool
    endpoint: str
    talos_version: str
    kubernetes_version: str
    networks: Networks
    git: GitSource
    secrets: SecretSettings
    nodes: tuple[Node, ...]
    bootstrap_node: str
    budgets: Mapping[str, Budget]
    source: str
    virtual_ip: IPv4Address | None = None
    pools: tuple[tuple[IPv4Address, IPv4Address], ...] = ()
    unverified: frozenset[str] = frozenset()
    rehearsal: bool = False
    # Images of 80 to 120 MB, pulled two at a time and started: on hardware a minute, on a slow line several.
    release_seconds: float = 420.0
    # An image of 60 MB, and names that a pod asks for three times.
    probe_seconds: float = 90.0

    @property
    def control_planes(self) -> tuple[Node, ...]:
        """The control plane nodes, in the order of the file."""
        return tuple(node for node in self.nodes if node.role is Role.CONTROL_PLANE)

    @property
    def workers(self) -> tuple[Node, ...]:
        """The worker nodes, in the order of the file."""
        return tuple(node for node in self.nodes if node.role is Role.WORKER)

    @property
    def bootstrap(self) -> Node:
        """The node on which etcd is started."""
        return self.node(self.bootstrap_node)

    @property
    def endpoint_host(self) -> str:
        """Host name or address of the Kubernetes API."""
        return urlsplit(self.endpoint).hostname or ""

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            KeyError: the cluster has no such node.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)
