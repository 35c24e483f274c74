"""The inventory file as pydantic models: what may stand in it, and its JSON schema for editors."""

import json
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from inventory import facts, model
from inventory.fields import (
    FILLED,
    Address,
    ClusterName,
    Count,
    Device,
    DiskSize,
    Driver,
    Endpoint,
    Folder,
    GitRef,
    GitUrl,
    Host,
    HttpUrl,
    Link,
    Mac,
    Network,
    NodeName,
    Reference,
    Seconds,
    Version,
)

# Seconds. Talos, CRDs, core and total are the product's promise; what they leave of it is divided here.
DEFAULT_TARGETS: Final = MappingProxyType(
    {
        "preflight": 60,
        "talos": 420,
        "prerequisites": 60,
        "crds": 120,
        "core": 360,
        "handover": 180,
        "total": 1200,
    }
)
# A wait ends when it took twice what was wanted: late enough for a slow disk, early enough for a night shift.
DEADLINE_FACTOR: Final = 2


class Part(BaseModel):
    """A mapping of the file: no key that is not known, names in camel case."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class MachinePart(Part):
    """The virtual machine that the lab makes for a node."""

    memory: Annotated[int, Field(strict=True, ge=2048)]
    """MiB; Talos itself wants 2048 for a control plane."""
    cpus: Count
    """How many."""
    disk: Annotated[int, Field(strict=True, ge=6)]
    """GiB; Talos' health check wants about 6."""

    def record(self) -> model.VirtualMachine:
        """The frozen record."""
        return model.VirtualMachine(self.memory, self.cpus, self.disk)


class DiskSelectorPart(Part):
    """Which disk Talos is installed to, by its properties; every one that is given must hold."""

    product: Annotated[str | None, Field(alias="model", min_length=1)] = None
    """A pattern with *."""
    serial: Annotated[str | None, Field(min_length=1)] = None
    """The whole serial number."""
    kind: Annotated[Literal["nvme", "ssd", "hdd", "sd"] | None, Field(alias="type")] = None
    """nvme, ssd, hdd or sd."""
    size: DiskSize | None = None
    """A size, usually with a comparison such as >=."""

    def record(self) -> model.DiskSelector:
        """The frozen record."""
        return model.DiskSelector(self.product or "", self.serial or "", self.kind or "", self.size or "")


class HardwarePart(Part):
    """What a machine must at least have."""

    memory: Count | None = None
    """GiB."""
    cpus: Count | None = None
    """Logical processors."""

    def record(self) -> model.Hardware:
        """The frozen record."""
        return model.Hardware(self.memory or 0, self.cpus or 0)


class PoolPart(Part):
    """Addresses that the cluster gives to its own services."""

    start: Address
    """The first one."""
    stop: Address
    """The last one."""


class NodePart(Part):
    """One machine."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["disk"]}, {"required": ["diskSelector"]}]},
    )

    name: NodeName
    """Host name and Kubernetes node name."""
    role: model.Role
    """controlplane or worker."""
    address: Address
    """The address that the machine configuration gives."""
    maintenance_address: Address | None = None
    """Where it answers before it is configured; left out where that is the same address."""
    macs: Annotated[tuple[Mac, ...], *FILLED]
    """Permanent hardware addresses of its ports."""
    driver: Driver
    """Kernel driver of those ports."""
    links: tuple[Link, ...] = ()
    """Names of its ports as the kernel gives them, in the order of macs."""
    disk: Device | None = None
    """The disk that Talos is installed to; left out where diskSelector says it."""
    disk_selector: DiskSelectorPart | None = None
    """The disk that Talos is installed to, by its properties."""
    hardware: HardwarePart = HardwarePart()
    """What the machine must at least have."""
    unverified: tuple[Annotated[str, WithJsonSchema({"enum": list(facts.OF_A_NODE)})], ...] = ()
    """Names of the keys above that nobody confirmed; a real run refuses them, a rehearsal takes them."""
    absent: Annotated[bool, Field(strict=True)] = False
    """Whether the machine is known to be away, so that nobody waits for it."""
    machine: MachinePart | None = None
    """The virtual machine to make; only where the cluster is virtual."""

    def record(self) -> model.Node:
        """The frozen record."""
        return model.Node(
            name=self.name,
            role=self.role,
            address=self.address,
            maintenance_address=self.maintenance_address or self.address,
            macs=self.macs,
            driver=self.driver,
            disk=self.disk or "",
            machine=self.machine.record() if self.machine else None,
            links=self.links,
            disk_selector=self.disk_selector.record() if self.disk_selector else None,
            hardware=self.hardware.record(),
            unverified=frozenset(self.unverified),
            absent=self.absent,
        )


class NetworksPart(Part):
    """The networks of a cluster."""

    nodes: Network
    """Network of the nodes' own addresses."""
    gateway: Address
    """Default route of the nodes."""
    nameservers: Annotated[tuple[Address, ...], *FILLED]
    """What the nodes ask for names."""
    time_servers: Annotated[tuple[Host, ...], *FILLED]
    """NTP servers."""
    pods: Network
    """Pod network of the whole cluster."""
    services: Network
    """Service network."""
    coredns: Address
    """Address of the DNS service."""

    def record(self) -> model.Networks:
        """The frozen record."""
        return model.Networks(**{name: getattr(self, name) for name in type(self).model_fields})


class GitPart(Part):
    """What Flux reconciles."""

    url: GitUrl
    """Repository."""
    ref: GitRef
    """Full ref name."""
    path: Folder
    """The cluster's folder in the repository."""

    def record(self) -> model.GitSource:
        """The frozen record."""
        return model.GitSource(self.url, self.ref, self.path)


class SecretsPart(Part):
    """Where the cluster's secrets come from."""

    provider: model.SecretProvider
    """Who answers op:// references: connect or op; env or file where there are none."""
    connect_host: HttpUrl | None = None
    """URL of 1Password Connect."""
    talos_bundle: Reference
    """The secrets bundle as `talosctl gen secrets` wrote it."""
    connect_token: Reference
    """The token with which the cluster itself asks 1Password Connect."""

    def record(self) -> model.SecretSettings:
        """The frozen record."""
        return model.SecretSettings(
            provider=self.provider,
            connect_host=(self.connect_host or "").rstrip("/"),
            talos_bundle=model.SecretReference(self.talos_bundle),
            connect_token=model.SecretReference(self.connect_token),
        )


class BudgetPart(Part):
    """How long a phase may take, in seconds."""

    target: Seconds
    """The time that is wanted."""
    deadline: Seconds | None = None
    """The time after which waiting ends; twice the target where left out."""


class BudgetsPart(Part):
    """Budgets of the phases, of the whole run, of each release and each probe; what is left out has a default."""

    preflight: BudgetPart | None = None
    talos: BudgetPart | None = None
    prerequisites: BudgetPart | None = None
    crds: BudgetPart | None = None
    core: BudgetPart | None = None
    handover: BudgetPart | None = None
    total: BudgetPart | None = None
    release: Seconds | None = None
    """The longest that one release, or what Flux makes of one, may take to become ready."""
    probe: Seconds | None = None
    """The longest that a pod may take to be made and to answer whether network and names work."""

    def record(self) -> MappingProxyType[str, model.Budget]:
        """One budget for each name in `BUDGETED`."""
        return MappingProxyType({name: self._budget(name) for name in model.BUDGETED})

    def _budget(self, name: str) -> model.Budget:
        part: BudgetPart = getattr(self, name) or BudgetPart(target=DEFAULT_TARGETS[name])
        return model.Budget(part.target, part.deadline or DEADLINE_FACTOR * part.target)


class ClusterPart(Part):
    """One cluster: its machines, networks, versions, Git source, secrets and budgets."""

    name: ClusterName
    """Also the name of this file."""
    id: Annotated[int, Field(strict=True, ge=1, le=255)]
    """ClusterMesh id, unique over all clusters."""
    virtual: Annotated[bool, Field(strict=True)]
    """Whether the machines are virtual ones that the lab makes."""
    endpoint: Endpoint
    """URL of the Kubernetes API as the machines know it."""
    virtual_ip: Annotated[Address | None, Field(alias="virtualIP")] = None
    """The address that the control planes share and that the endpoint's name resolves to."""
    talos_version: Version
    """Talos, without v."""
    kubernetes_version: Version
    """Kubernetes, without v."""
    networks: NetworksPart
    pools: tuple[PoolPart, ...] = ()
    """Addresses that the cluster gives to its own services of type LoadBalancer."""
    git: GitPart
    secrets: SecretsPart
    bootstrap_node: NodeName
    """The control plane on which etcd is started, once in the cluster's life."""
    nodes: Annotated[tuple[NodePart, ...], *FILLED]
    budgets: BudgetsPart = BudgetsPart()
    unverified: tuple[Annotated[str, WithJsonSchema({"enum": list(facts.OF_A_CLUSTER)})], ...] = ()
    """Paths of facts of the cluster that nobody confirmed, for example endpoint or networks.nameservers."""

    def record(self, source: str) -> model.Cluster:
        """The frozen record; `source` names the file for messages."""
        return model.Cluster(
            name=self.name,
            id=self.id,
            virtual=self.virtual,
            endpoint=self.endpoint.rstrip("/"),
            talos_version=self.talos_version,
            kubernetes_version=self.kubernetes_version,
            networks=self.networks.record(),
            git=self.git.record(),
            secrets=self.secrets.record(),
            nodes=tuple(node.record() for node in self.nodes),
            bootstrap_node=self.bootstrap_node,
            budgets=self.budgets.record(),
            source=source,
            virtual_ip=self.virtual_ip,
            pools=tuple((pool.start, pool.stop) for pool in self.pools),
            unverified=frozenset(self.unverified),
            release_seconds=self.budgets.release or model.Cluster.release_seconds,
            probe_seconds=self.budgets.probe or model.Cluster.probe_seconds,
        )


def json_schema() -> str:
    """The JSON schema that editors read, as the text of `inventory/schema.json`."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ClusterPart.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"
