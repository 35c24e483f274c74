"""What the phases need of the Kubernetes API, as one protocol.

Objects are JSON-like dictionaries as the API sends them. Kinds are pairs of API version and kind, so that
callers beside this package can name them without importing it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Never, Protocol, TypeAlias

from bootstrap.engine.step import Observation
from bootstrap.host.objects import Object, name_of, namespace_of, text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from bootstrap.host.secret import Secret

KindRef: TypeAlias = tuple[str, str]
# A look at the cluster that brings no value; it fits every gate.
Look: TypeAlias = Observation[Never]

FIELD_MANAGER: Final = "firstlight"
# Flux takes over what we applied and then owns the fields (its flag --override-manager names us).
SUCCESSORS: Final = ("kustomize-controller", "helm-controller", "flux-operator")

NAMESPACE: Final[KindRef] = ("v1", "Namespace")
SECRET: Final[KindRef] = ("v1", "Secret")
CONFIG_MAP: Final[KindRef] = ("v1", "ConfigMap")
NODE: Final[KindRef] = ("v1", "Node")
POD: Final[KindRef] = ("v1", "Pod")
SERVICE: Final[KindRef] = ("v1", "Service")
EVENT: Final[KindRef] = ("v1", "Event")
DEPLOYMENT: Final[KindRef] = ("apps/v1", "Deployment")
DAEMON_SET: Final[KindRef] = ("apps/v1", "DaemonSet")
STATEFUL_SET: Final[KindRef] = ("apps/v1", "StatefulSet")
LEASE: Final[KindRef] = ("coordination.k8s.io/v1", "Lease")
CUSTOM_RESOURCE_DEFINITION: Final[KindRef] = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")


class ObjectRef(NamedTuple):
    """The name of one object; namespace is empty for cluster-wide ones."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def reference(item: Object) -> ObjectRef:
    """The name of an object."""
    return ObjectRef(text(item, "apiVersion"), text(item, "kind"), namespace_of(item), name_of(item))


class Standing(StrEnum):
    """How a live object stands to the one that we want."""

    ABSENT = "absent"
    DIFFERENT = "different"
    EQUAL = "equal"
    CEDED = "ceded"


@dataclass(frozen=True)
class Comparison:
    """A wanted object beside the live one; nothing was written.

    Attributes:
        reference: which object.
        standing: `CEDED` when a successor (Flux) manages it now and it is not ours to write any more.
        differences: paths that differ or that we do not own, at most a few; never values.
        live: the live object; None when absent.
    """

    reference: ObjectRef
    standing: Standing
    differences: tuple[str, ...] = ()
    live: Object | None = None


def describe(one: Comparison) -> str:
    """What an apply would do to an object, for a person: `Namespace a: different in metadata.labels.x`."""
    places = f" in {', '.join(one.differences)}" if one.standing is Standing.DIFFERENT and one.differences else ""
    return f"{one.reference}: {one.standing}{places}"


class Outcome(StrEnum):
    """What an apply did."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    CEDED = "ceded"


@dataclass(frozen=True)
class ApplyResult:
    """What applying one object did; `UNCHANGED` by resourceVersion when a request was sent."""

    reference: ObjectRef
    outcome: Outcome
    resource_version: str


class EventType(StrEnum):
    """What a watch reports; `IDLE` is our own heartbeat with an empty object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    IDLE = "IDLE"


class WatchEvent(NamedTuple):
    """One step of a watch."""

    type: EventType
    item: Object


class Connect(Protocol):
    """Opens the Kubernetes API that a kubeconfig names."""

    def __call__(
        self, kubeconfig: Secret, *, server: str = "", permit: Callable[[], None] = lambda: None
    ) -> Cluster:  # fmt: skip
        """Connect; nothing is sent before the first call.

        Args:
            kubeconfig: the whole kubeconfig.
            server: a URL in place of the one in the kubeconfig.
            permit: asked before each request that makes or changes something; what it raises is raised in its place.
        """


class Reading(Protocol):
    """The part of `Cluster` that looks read from; also a copy that watches keep."""

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        """One object; see `Cluster.get`."""

    def list_objects(self, kind: KindRef, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """All objects of a kind; see `Cluster.list_objects`."""


class Cluster(Protocol):
    """The Kubernetes API of one cluster; safe to use from several threads.

    Every call is bounded in time and raises `kube.errors.KubeError`.
    """

    def ready(self) -> Look:
        """Whether /readyz says so; `seen` names the failing checks. Never raises for an absent server."""

    def version(self) -> str:
        """The API server's version, such as `v1.34.1`."""

    def identity(self) -> str:
        """The UID of the namespace kube-system: the cluster's own identity."""

    def discover(self) -> frozenset[KindRef]:
        """Every kind that is served now."""

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        """One object; None when it, its namespace or its kind is not there."""

    def list_objects(self, kind: KindRef, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """All objects of a kind, in one namespace or in all; empty when the kind is not served.

        Args:
            kind: API version and kind.
            namespace: empty means all.
            labels: a label selector as kubectl takes it.
            fields: a field selector as kubectl takes it.
        """

    def watch(
        self, kind: KindRef, namespace: str = "", *, labels: str = "", name: str = "", seconds: float
    ) -> Iterator[WatchEvent]:
        """What is there now, as `ADDED`, then every change, until `seconds` are over.

        `IDLE` comes after the first list and then at least every few seconds, so that a caller can look at
        its deadline. A dropped connection is opened again without a gap.
        """

    def compare(self, objects: Sequence[Object], *, field_manager: str = FIELD_MANAGER) -> list[Comparison]:
        """How each object stands; reads only."""

    def dry_run(
        self, objects: Sequence[Object], *, field_manager: str = FIELD_MANAGER, force: bool = False
    ) -> list[Comparison]:
        """What an apply of these would do, tried by the server: defaults, validation, admission, conflicts of owners.

        Nothing is stored. Where the server would take an object, the comparison says what it would change; an object
        in a namespace that only these objects bring is compared and not tried.

        Raises:
            KubeError: also where an apply would be refused.
        """

    def apply(
        self, objects: Sequence[Object], *, field_manager: str = FIELD_MANAGER, force: bool = False
    ) -> list[ApplyResult]:
        """Server-side apply of what is absent or different, namespaces first; the rest is not written.

        Args:
            objects: whole objects; an order among them is kept only for namespaces.
            field_manager: owner of the fields.
            force: take fields that others own.
        """

    def swap(self, item: Object, *, field_manager: str = FIELD_MANAGER) -> Object | None:
        """Create an object, or replace exactly the version that its `metadata.resourceVersion` names.

        Returns:
            The object as it was written; None when somebody was faster, and nothing was written.
        """

    def approve(self, item: Object) -> bool:
        """Write the decision about a certificate request, at exactly the version that it names.

        Returns:
            Whether it was written; somebody may have been faster.
        """

    def delete(self, name: ObjectRef) -> None:
        """Delete an object, if there is one; it stays for as long as finalizers or its grace period ask."""

    def try_create(self, item: Object) -> None:
        """Let the server try to create an object, its admission webhooks asked, once; nothing is stored.

        Raises:
            KubeError: it would be refused, or a webhook does not answer.
        """

    def openapi(self, api_versions: Collection[str]) -> Object:
        """The schemas of kinds in so many API versions by name, as OpenAPI v3 has them; unserved ones are left out.

        A version's schemas are small and quickly made; for the one document of OpenAPI v2 an API server that has just
        got its definitions works for long.
        """

    def close(self) -> None:
        """Give the connections back; no call may follow."""
