"""The inventory file as pydantic models: what may stand in it, and its JSON schema for editors."""

from __future__ import annotations

import difflib
import json
import re
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.alias_generators import to_camel

from inventory import model
from inventory.rules import Finding, Location, dotted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.host.yaml_io import Yaml

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

_LABEL: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
# Cilium limits a cluster's name to 32 characters.
_CLUSTER_NAME: Final = r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$"
_VERSION: Final = r"^[0-9]+\.[0-9]+\.[0-9]+$"
_MAC: Final = r"^([0-9a-f]{2}:){5}[0-9a-f]{2}$"
_DEVICE: Final = r"^/dev/[^\s]+$"
_DRIVER: Final = r"^[a-z0-9_-]+$"
_GIT_URL: Final = r"^(https|ssh)://[^\s/]+/[^\s]+$"
_GIT_REF: Final = r"^refs/(heads|tags)/[^\s]+$"
_FOLDER: Final = r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$"
_HOST: Final = r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$"
_HTTP_URL: Final = r"^https?://[^\s/]+/?$"
_REFERENCE: Final = r"^(op://[^/\s]+/[^/\s]+(/[^/\s]+){1,2}|env://[A-Za-z_][A-Za-z0-9_]*|file:///[^\s]+)$"


def _matching(pattern: str, wanted: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.match(value):
            raise ValueError(f"is not {wanted}")
        return value

    return check


def _filled(values: tuple[Any, ...]) -> tuple[Any, ...]:
    # pydantic's own minimum also complains when items are there but malformed, which says the same twice.
    if not values:
        raise ValueError("is an empty list")
    return values


def _endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        complete = parts.scheme == "https" and bool(parts.hostname) and parts.port is not None
    except ValueError:
        complete = False
    if not complete or parts.path.strip("/"):
        raise ValueError("is not of the form https://NAME:PORT")
    return value


_FILLED: Final = (AfterValidator(_filled), Field(json_schema_extra={"minItems": 1}))


def _text(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


ClusterName = Annotated[
    str,
    AfterValidator(_matching(_CLUSTER_NAME, "a name of at most 32 of a-z, 0-9 and -")),
    _text(_CLUSTER_NAME),
]
NodeName = Annotated[
    str, AfterValidator(_matching(_LABEL, "a host name of at most 63 of a-z, 0-9 and -")), _text(_LABEL)
]
Version = Annotated[str, AfterValidator(_matching(_VERSION, "a version of the form 1.2.3, without v")), _text(_VERSION)]
Mac = Annotated[
    str,
    AfterValidator(_matching(_MAC, "a hardware address of the form 52:54:00:12:34:56, lower case")),
    _text(_MAC),
]
Device = Annotated[str, AfterValidator(_matching(_DEVICE, "a path below /dev")), _text(_DEVICE)]
Driver = Annotated[str, AfterValidator(_matching(_DRIVER, "the name of a kernel driver")), _text(_DRIVER)]
GitUrl = Annotated[str, AfterValidator(_matching(_GIT_URL, "an https or ssh URL")), _text(_GIT_URL)]
GitRef = Annotated[str, AfterValidator(_matching(_GIT_REF, "a full ref name such as refs/heads/main")), _text(_GIT_REF)]
Folder = Annotated[
    str,
    AfterValidator(_matching(_FOLDER, "a folder of the repository, without leading ./ or /")),
    _text(_FOLDER),
]
Host = Annotated[str, AfterValidator(_matching(_HOST, "a host name or an address")), _text(_HOST)]
HttpUrl = Annotated[
    str, AfterValidator(_matching(_HTTP_URL, "of the form https://NAME or http://NAME")), _text(_HTTP_URL)
]
Endpoint = Annotated[str, AfterValidator(_endpoint), _text(r"^https://[^\s/:]+:[0-9]+/?$")]
Reference = Annotated[
    str,
    AfterValidator(_matching(_REFERENCE, "of the form op://vault/item/field, env://NAME or file:///path")),
    _text(_REFERENCE),
]
Seconds = Annotated[int, Field(strict=True, gt=0)]
Count = Annotated[int, Field(strict=True, gt=0)]
Address = Annotated[IPv4Address, WithJsonSchema({"type": "string", "format": "ipv4"})]
Network = Annotated[IPv4Network, WithJsonSchema({"type": "string", "pattern": r"^[0-9.]+/[0-9]{1,2}$"})]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class MachinePart(_Part):
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


class NodePart(_Part):
    """One machine."""

    name: NodeName
    """Host name and Kubernetes node name."""
    role: model.Role
    """controlplane or worker."""
    address: Address
    """The address that the machine configuration gives."""
    maintenance_address: Address | None = None
    """Where it answers before it is configured; left out where that is the same address."""
    macs: Annotated[tuple[Mac, ...], *_FILLED]
    """Permanent hardware addresses of its ports."""
    driver: Driver
    """Kernel driver of those ports."""
    disk: Device
    """The disk that Talos is installed to."""
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
            disk=self.disk,
            machine=self.machine.record() if self.machine else None,
        )


class NetworksPart(_Part):
    """The networks of a cluster."""

    nodes: Network
    """Network of the nodes' own addresses."""
    gateway: Address
    """Default route of the nodes."""
    nameservers: Annotated[tuple[Address, ...], *_FILLED]
    """What the nodes ask for names."""
    time_servers: Annotated[tuple[Host, ...], *_FILLED]
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


class GitPart(_Part):
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


class SecretsPart(_Part):
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


class BudgetPart(_Part):
    """How long a phase may take, in seconds."""

    target: Seconds
    """The time that is wanted."""
    deadline: Seconds | None = None
    """The time after which waiting ends; twice the target where left out."""


class BudgetsPart(_Part):
    """Budgets of the phases and of the whole run; what is left out has a default."""

    preflight: BudgetPart | None = None
    talos: BudgetPart | None = None
    prerequisites: BudgetPart | None = None
    crds: BudgetPart | None = None
    core: BudgetPart | None = None
    handover: BudgetPart | None = None
    total: BudgetPart | None = None

    def record(self) -> MappingProxyType[str, model.Budget]:
        """One budget for each name in `BUDGETED`."""
        return MappingProxyType({name: self._budget(name) for name in model.BUDGETED})

    def _budget(self, name: str) -> model.Budget:
        part: BudgetPart = getattr(self, name) or BudgetPart(target=DEFAULT_TARGETS[name])
        return model.Budget(part.target, part.deadline or DEADLINE_FACTOR * part.target)


class ClusterPart(_Part):
    """One cluster: its machines, networks, versions, Git source, secrets and budgets."""

    name: ClusterName
    """Also the name of this file."""
    id: Annotated[int, Field(strict=True, ge=1, le=255)]
    """ClusterMesh id, unique over all clusters."""
    virtual: Annotated[bool, Field(strict=True)]
    """Whether the machines are virtual ones that the lab makes."""
    endpoint: Endpoint
    """URL of the Kubernetes API as the machines know it."""
    talos_version: Version
    """Talos, without v."""
    kubernetes_version: Version
    """Kubernetes, without v."""
    networks: NetworksPart
    git: GitPart
    secrets: SecretsPart
    bootstrap_node: NodeName
    """The control plane on which etcd is started, once in the cluster's life."""
    nodes: Annotated[tuple[NodePart, ...], *_FILLED]
    budgets: BudgetsPart = BudgetsPart()

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
        )


def parse(document: Yaml) -> tuple[ClusterPart | None, tuple[Finding, ...]]:
    """The document as a model, or every finding about its form; never both."""
    try:
        return ClusterPart.model_validate(document), ()
    except ValidationError as error:
        return None, tuple(_findings(error))


def json_schema() -> str:
    """The JSON schema that editors read, as the text of `inventory/schema.json`."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ClusterPart.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


def _findings(error: ValidationError) -> Iterator[Finding]:
    for detail in error.errors(include_url=False):
        location: Location = tuple(detail["loc"])
        yield Finding(location, _explain(location, detail["type"], detail["msg"], detail.get("ctx"), detail["input"]))


def _explain(location: Location, kind: str, message: str, context: dict[str, Any] | None, found: object) -> str:
    place = f"`{dotted(location)}`" if location else "the file"
    if kind == "missing":
        return f"{place} is missing"
    if kind in {"model_type", "dict_type"}:
        return f"{place} is not a mapping of keys to values"
    if kind == "extra_forbidden":
        return f"{place} is an unknown key{_nearest(str(location[-1]))}"
    # What stands where a reference is wanted may be the secret itself.
    shown = not (location and location[0] == "secrets") and isinstance(found, (str, int, float))
    if kind == "value_error" and context:
        return f"{place}: {json.dumps(found) if shown else 'the value'} {context['error']}"
    text = message[:1].lower() + message[1:]
    return f"{place}: {text}, found {json.dumps(found)}" if shown else f"{place}: {text}"


def _nearest(key: str) -> str:
    known = {field.alias or name for part in _parts(ClusterPart) for name, field in part.model_fields.items()}
    nearest = difflib.get_close_matches(key, sorted(known), n=1)
    return f"; the nearest known key is `{nearest[0]}`" if nearest else ""


def _parts(part: type[_Part]) -> Iterator[type[_Part]]:
    yield part
    yield from (other for other in _Part.__subclasses__() if other is not part)
