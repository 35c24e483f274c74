"""The Kubernetes API over lightkube's connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from bootstrap.engine.step import Observation
from bootstrap.host.objects import Object, mapping, name_of, namespace_of, objects, text
from kube.apply import Applier
from kube.cluster import (
    FIELD_MANAGER,
    NAMESPACE,
    ApplyResult,
    Comparison,
    EventType,
    KindRef,
    Look,
    ObjectRef,
    WatchEvent,
    reference,
)
from kube.connection import CONNECT_SECONDS, open_client
from kube.discovery import Discovery
from kube.errors import KubeError, KubeErrorKind
from kube.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from httpx2 import Client

    from bootstrap.engine.retry import Retry
    from bootstrap.host.secret import Secret

# One API server on two cores answers four writers at full speed; more only queue there.
CONNECTIONS: Final = 4
# Objects a list page; CRDs are large, and a page of them stays below 10 MB.
PAGE: Final = 100
# The server ends a watch after this, so that the caller can look at its deadline: five watches are one request a
# second, half of what waiting may cost.
HEARTBEAT_SECONDS: Final = 5
# Seconds between two looks whether a kind is served by now.
UNSERVED_SECONDS: Final = 2.0
# What a try may take of the server's patience: less than our own, so that it says which webhook does not answer.
TRY_SECONDS: Final = 10
# A server that closes every watch at once is not asked more often than this.
REOPEN_SECONDS: Final = 0.1
_WHOLE: Final = "application/json"


class LightkubeCluster:
    """A cluster by its kubeconfig; see `kube.cluster.Cluster` for what the calls promise."""

    def __init__(
        self, client: Client, *, connections: int = CONNECTIONS, retry: Retry | None = None,
        permit: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._transport = Transport(client, retry, permit)
        self._discovery = Discovery(self._transport)
        self._applier = Applier(self._transport, self, connections)

    @classmethod
    def connect(
        cls, kubeconfig: Secret, *, server: str = "", connect_seconds: float = CONNECT_SECONDS,
        permit: Callable[[], None] = lambda: None,
    ) -> LightkubeCluster:  # fmt: skip
        """A cluster for the kubeconfig's current context; nothing is sent yet.

        Args:
            kubeconfig: the whole kubeconfig.
            server: speak to this URL in place of the kubeconfig's.
            connect_seconds: limit for the handshake.
            permit: asked before each request that makes or changes something; what it raises is raised in its place.

        Raises:
            InputError: the kubeconfig cannot be used.
        """
        return cls(open_client(kubeconfig, server=server, connect_seconds=connect_seconds), permit=permit)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def ready(self) -> Look:
        """Whether /readyz says so; see `Cluster.ready`."""
        try:
            # Not tried again: what an API server that is not ready answers looks like an error and is none.
            self._transport.ask("GET", "/readyz", {"verbose": ""}, what="ask whether the API is ready")
        except KubeError as error:
            failing = [line for line in error.cause.splitlines() if line.startswith("[-]")]
            return Observation(holds=False, seen="; ".join(failing) or error.cause)
        return Observation(holds=True, seen="readyz: ok")

    def version(self) -> str:
        """The API server's version; see `Cluster.version`."""
        return text(self._transport.json("GET", "/version", what="ask for the version"), "gitVersion")

    def identity(self) -> str:
        """The UID of kube-system; see `Cluster.identity`."""
        found = self.get(NAMESPACE, "kube-system")
        if found is None:
            raise KubeError(
                KubeErrorKind.UNAVAILABLE,
                "the cluster has no identity yet",
                cause="namespace kube-system is missing",
            )
        return text(found, "metadata", "uid")

    def discover(self) -> frozenset[KindRef]:
        """Every kind that is served now; see `Cluster.discover`."""
        return self._discovery.renew()

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        """One object or None; see `Cluster.get`."""
        resource = self._discovery.find(kind)
        if resource is None:
            return None
        what = f"read {ObjectRef(*kind, namespace, name)}"
        try:
            return self._transport.json("GET", resource.path(namespace, name), what=what)
        except KubeError as error:
            if error.kind is KubeErrorKind.NOT_FOUND:
                return None
            raise

    def list_objects(self, kind: KindRef, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """All objects of a kind; see `Cluster.list_objects`."""
        return self._list(kind, namespace, _selectors(labels, fields))[0]

    def watch(
        self, kind: KindRef, namespace: str = "", *, labels: str = "", name: str = "", seconds: float
    ) -> Iterator[WatchEvent]:
        """What is there, then every change; see `Cluster.watch`."""
        deadline = time.monotonic() + seconds
        selectors = _selectors(labels, f"metadata.name={name}" if name else "")
        version = ""
        known: set[tuple[str, str]] = set()
        while time.monotonic() < deadline:
            if not version:
                found, version = self._list(kind, namespace, selectors)
                yield from (WatchEvent(EventType.ADDED, item) for item in found)
                listed = {_place(item) for item in found}
                yield from (_deleted(kind, *place) for place in known - listed)
                known = listed
            yield WatchEvent(EventType.IDLE, {})
            if not version:
                # The kind is not served yet: look again soon, discovery is cheap.
                time.sleep(min(UNSERVED_SECONDS, max(0.0, deadline - time.monotonic())))
                continue
            began = time.monotonic()
            for event in self._changes(kind, namespace, {**selectors, "resourceVersion": version}):
                if event is None:
                    version = ""
                    break
                version = text(event.item, "metadata", "resourceVersion")
                if event.type is not EventType.IDLE:
                    known.add(_place(event.item))
                    yield event
            if time.monotonic() - began < REOPEN_SECONDS:
                time.sleep(REOPEN_SECONDS)

    def compare(self, objects: Sequence[Object], *, field_manager: str = FIELD_MANAGER) -> list[Comparison]:
        """How each object stands; see `Cluster.compare`."""
        return self._applier.compare(objects, field_manager)

    def dry_run(
        self, objects: Sequence[Object], *, field_manager: str = FIELD_MANAGER, force: bool = False
    ) -> list[Comparison]:
        """What an apply would do; see `Cluster.dry_run`."""
        return self._applier.dry_run(objects, field_manager, force=force)

    def apply(
        self, objects: Sequence[Object], *, field_manager: str = FIELD_MANAGER, force: bool = False
    ) -> list[ApplyResult]:
        """Server-side apply; see `Cluster.apply`."""
        return self._applier.apply(objects, field_manager, force=force)

    def swap(self, item: Object, *, field_manager: str = FIELD_MANAGER) -> Object | None:
        """Create it, or replace one version of it; see `Cluster.swap`."""
        name = reference(item)
        is_there = bool(text(item, "metadata", "resourceVersion"))
        path = self._discovery.of(name, "write").path(name.namespace, name.name if is_there else "")
        try:
            return self._transport.json(
                "PUT" if is_there else "POST", path, {"fieldManager": field_manager, "fieldValidation": "Strict"},
                what=f"write {name}", body=item, body_type=_WHOLE,
            )  # fmt: skip
        except KubeError as error:
            gone = is_there and error.kind is KubeErrorKind.NOT_FOUND
            if gone or error.kind is KubeErrorKind.CONFLICT:
                return None
            raise

    def approve(self, item: Object) -> bool:
        """Write the decision about a certificate request; see `Cluster.approve`."""
        name = reference(item)
        path = self._discovery.of(name, "approve").path(name.namespace, name.name)
        try:
            self._transport.json(
                "PUT", f"{path}/approval", {"fieldManager": FIELD_MANAGER}, what=f"approve {name}", body=item,
                body_type=_WHOLE,
            )  # fmt: skip
        except KubeError as error:
            if error.kind in {KubeErrorKind.NOT_FOUND, KubeErrorKind.CONFLICT}:
                return False
            raise
        return True

    def delete(self, name: ObjectRef) -> None:
        """Delete an object; see `Cluster.delete`."""
        try:
            self._transport.json("DELETE", self._discovery.path_of(name, "delete"), what=f"delete {name}")
        except KubeError as error:
            if error.kind is not KubeErrorKind.NOT_FOUND:
                raise

    def try_create(self, item: Object) -> None:
        """Create it without storing it; see `Cluster.try_create`."""
        name = reference(item)
        path = self._discovery.of(name, "create").path(name.namespace)
        parameters = {
            "dryRun": "All", "fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "timeout": f"{TRY_SECONDS}s",
        }  # fmt: skip
        # Not tried again: whoever asks wants to know of each failure.
        self._transport.ask("POST", path, parameters, what=f"create {name}", body=item, body_type=_WHOLE)

    def openapi(self, api_versions: Collection[str]) -> Object:
        """Schemas by name; see `Cluster.openapi`."""
        found: Object = {}
        for version in sorted(api_versions):
            path = f"/openapi/v3/{'apis' if '/' in version else 'api'}/{version}"
            try:
                document = self._transport.json("GET", path, what=f"read the schemas of {version}")
            except KubeError as error:
                if error.kind is not KubeErrorKind.NOT_FOUND:
                    raise
            else:
                found.update(mapping(document, "components", "schemas"))
        return found

    def path_of(self, name: ObjectRef, verb: str) -> str:
        """Where an object is served; see `kube.apply.Places`."""
        return self._discovery.path_of(name, verb)

    def _list(self, kind: KindRef, namespace: str, selectors: Mapping[str, str]) -> tuple[list[Object], str]:
        resource = self._discovery.find(kind)
        if resource is None:
            return [], ""
        api_version, name = kind
        found: list[Object] = []
        going_on = ""
        while True:
            parameters = {"limit": str(PAGE), **selectors, **({"continue": going_on} if going_on else {})}
            try:
                page = self._transport.json("GET", resource.path(namespace), parameters, what=f"list {name} objects")
            except KubeError as error:
                if error.kind is KubeErrorKind.NOT_FOUND:
                    return [], ""
                raise
            # The API leaves version and kind out of the items of a list.
            found += [{"apiVersion": api_version, "kind": name, **item} for item in objects(page, "items")]
            going_on = text(page, "metadata", "continue")
            if not going_on:
                return found, text(page, "metadata", "resourceVersion")

    def _changes(self, kind: KindRef, namespace: str, parameters: Mapping[str, str]) -> Iterator[WatchEvent | None]:
        """One watch request, which the server ends after a heartbeat; None when it must begin with a new list."""
        resource, what = self._discovery.find(kind), f"watch {kind[1]} objects"
        if resource is None:
            yield None
            return
        path = resource.path(namespace)
        try:
            for event in self._transport.watch(path, parameters, seconds=HEARTBEAT_SECONDS, what=what):
                if event["type"] == "ERROR":
                    yield None
                else:
                    # A bookmark only says how far we are.
                    kind_of_event = EventType.IDLE if event["type"] == "BOOKMARK" else EventType(str(event["type"]))
                    yield WatchEvent(kind_of_event, mapping(event, "object"))
        except KubeError as error:
            if error.kind is not KubeErrorKind.EXPIRED:
                raise
            yield None


def _place(item: Object) -> tuple[str, str]:
    return namespace_of(item), name_of(item)


def _deleted(kind: KindRef, namespace: str, name: str) -> WatchEvent:
    """For what a list no longer has; nobody saw it go."""
    api_version, kind_name = kind
    metadata: Object = {"namespace": namespace, "name": name}
    return WatchEvent(EventType.DELETED, {"apiVersion": api_version, "kind": kind_name, "metadata": metadata})


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return {key: value for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
