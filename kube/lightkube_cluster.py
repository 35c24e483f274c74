"""The Kubernetes API over lightkube's connection."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from bootstrap.engine.step import Observation
from bootstrap.host.objects import Object, mapping, objects, sequence, text
from kube import errors
from kube.cluster import (
    FIELD_MANAGER,
    NAMESPACE,
    SUCCESSORS,
    ApplyResult,
    Comparison,
    EventType,
    KindRef,
    Look,
    ObjectRef,
    Outcome,
    Standing,
    WatchEvent,
    reference,
)
from kube.connection import CONNECT_SECONDS, open_client
from kube.errors import KubeError, KubeErrorKind
from kube.ownership import compare, prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from httpx2 import Client, Response

    from bootstrap.host.secret import Secret

# One API server on two cores answers four writers at full speed; more only queue there.
CONNECTIONS: Final = 4
# Objects a list page; CRDs are large, and a page of them stays below 10 MB.
PAGE: Final = 100
# How long a watch may be silent before the caller gets a chance to look at its own deadline.
HEARTBEAT_SECONDS: Final = 2.0
# A server that closes every watch at once is not asked more often than this.
REOPEN_SECONDS: Final = 0.1
_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# What the API server's audit log calls us.
USER_AGENT: Final = "firstlight"
_APPLY: Final = "application/apply-patch+yaml"

_Made = TypeVar("_Made")


class _Resource(NamedTuple):
    """Where a kind is served."""

    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.prefix}{place}/{self.plural}" + (f"/{name}" if name else "")


class LightkubeCluster:
    """A cluster by its kubeconfig; see `kube.cluster.Cluster` for what the calls promise."""

    def __init__(self, client: Client, *, connections: int = CONNECTIONS) -> None:
        self._client = client
        self._server = str(client.base_url).rstrip("/")
        self._connections = connections
        self._resources: Mapping[KindRef, _Resource] = {}

    @classmethod
    def connect(
        cls, kubeconfig: Secret, *, server: str = "", connect_seconds: float = CONNECT_SECONDS
    ) -> LightkubeCluster:
        """A cluster for the kubeconfig's current context; nothing is sent yet.

        Args:
            kubeconfig: the whole kubeconfig.
            server: speak to this URL in place of the kubeconfig's.
            connect_seconds: limit for the handshake.

        Raises:
            InputError: the kubeconfig cannot be used.
        """
        return cls(open_client(kubeconfig, server=server, connect_seconds=connect_seconds))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ready(self) -> Look:
        """Whether /readyz says so; see `Cluster.ready`."""
        try:
            self._request("GET", "/readyz", {"verbose": ""}, what="ask whether the API is ready")
        except KubeError as error:
            failing = [line for line in error.cause.splitlines() if line.startswith("[-]")]
            return Observation(holds=False, seen="; ".join(failing) or error.cause)
        return Observation(holds=True, seen="readyz: ok")

    def version(self) -> str:
        """The API server's version; see `Cluster.version`."""
        return text(self._json("GET", "/version", what="ask for the version"), "gitVersion")

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
        found: dict[KindRef, _Resource] = {}
        for root in ("/api", "/apis"):
            document = self._json("GET", root, what="discover the API", accept=_AGGREGATED)
            for group in objects(document, "items"):
                for version in objects(group, "versions"):
                    found.update(_served(root, text(group, "metadata", "name"), version))
        self._resources = found
        return frozenset(found)

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        """One object or None; see `Cluster.get`."""
        resource = self._resource(kind)
        if resource is None:
            return None
        what = f"read {ObjectRef(*kind, namespace, name)}"
        try:
            return self._json("GET", resource.path(namespace, name), what=what)
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
        while time.monotonic() < deadline:
            if not version:
                found, version = self._list(kind, namespace, selectors)
                yield from (WatchEvent(EventType.ADDED, item) for item in found)
            yield WatchEvent(EventType.IDLE, {})
            if not version:
                # The kind is not served yet: look again soon, discovery is cheap.
                time.sleep(min(HEARTBEAT_SECONDS, max(0.0, deadline - time.monotonic())))
                continue
            began = time.monotonic()
            for event in self._changes(kind, namespace, {**selectors, "resourceVersion": version}):
                if event is None:
                    version = ""
                    break
                version = text(event.item, "metadata", "resourceVersion")
                yield event
            if time.monotonic() - began < REOPEN_SECONDS:
                time.sleep(REOPEN_SECONDS)

    def compare(self, objects: Sequence[Object], *, field_manager: str = FIELD_MANAGER) -> list[Comparison]:
        """How each object stands; see `Cluster.compare`."""
        return self._each(lambda item: self._compare(prepared(item), field_manager), objects)

    def apply(
        self, objects: Sequence[Object], *, field_manager: str = FIELD_MANAGER, force: bool = False
    ) -> list[ApplyResult]:
        """Server-side apply; see `Cluster.apply`."""
        parameters = {"fieldManager": field_manager, "fieldValidation": "Strict", "force": str(force).lower()}
        first = [item for item in objects if item.get("kind") == NAMESPACE[1]]
        rest = [item for item in objects if item.get("kind") != NAMESPACE[1]]
        return [
            result
            for wave in (first, rest)
            for result in self._each(lambda item: self._apply(prepared(item), parameters), wave)
        ]

    def openapi(self) -> Object:
        """Kubernetes' OpenAPI v2 document; see `Cluster.openapi`."""
        return self._json("GET", "/openapi/v2", what="read the OpenAPI document")

    def _each(self, work: Callable[[Object], _Made], items: Sequence[Object]) -> list[_Made]:
        if len(items) <= 1:
            return [work(item) for item in items]
        with ThreadPoolExecutor(min(self._connections, len(items)), "kube") as pool:
            return list(pool.map(work, items))

    def _compare(self, wanted: Object, manager: str) -> Comparison:
        name = reference(wanted)
        live = self.get((name.api_version, name.kind), name.name, name.namespace)
        return compare(wanted, live, manager=manager, successors=SUCCESSORS)

    def _apply(self, wanted: Object, parameters: Mapping[str, str]) -> ApplyResult:
        found = self._compare(wanted, parameters["fieldManager"])
        name = found.reference
        before = text(found.live, "metadata", "resourceVersion")
        if found.standing is Standing.CEDED:
            return ApplyResult(name, Outcome.CEDED, before)
        if found.standing is Standing.EQUAL:
            return ApplyResult(name, Outcome.UNCHANGED, before)
        resource = self._resource((name.api_version, name.kind))
        if resource is None:
            raise KubeError(
                KubeErrorKind.INVALID,
                f"cannot apply {name}",
                cause=f"{name.api_version} {name.kind} is not served",
            )
        path = resource.path(name.namespace, name.name)
        written = self._json("PATCH", path, parameters, body=wanted, what=f"apply {name}")
        after = text(written, "metadata", "resourceVersion")
        changed = Outcome.UNCHANGED if after == before else Outcome.CHANGED
        return ApplyResult(name, changed if before else Outcome.CREATED, after)

    def _resource(self, kind: KindRef) -> _Resource | None:
        if kind not in self._resources:
            self.discover()
        return self._resources.get(kind)

    def _list(self, kind: KindRef, namespace: str, selectors: Mapping[str, str]) -> tuple[list[Object], str]:
        resource = self._resource(kind)
        if resource is None:
            return [], ""
        api_version, name = kind
        found: list[Object] = []
        going_on = ""
        while True:
            parameters = {"limit": str(PAGE), **selectors, **({"continue": going_on} if going_on else {})}
            try:
                page = self._json("GET", resource.path(namespace), parameters, what=f"list {name} objects")
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
        """One watch request until it is silent for a heartbeat; None when it must begin with a new list."""
        from httpx2 import HTTPError, ReadError, ReadTimeout, RemoteProtocolError, Timeout

        resource = self._resources[kind]
        timeout = Timeout(HEARTBEAT_SECONDS, connect=CONNECT_SECONDS)
        query = {**parameters, "watch": "true", "allowWatchBookmarks": "true"}
        try:
            with self._client.stream("GET", resource.path(namespace), params=query, timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    error = self._status_error(response, f"watch {kind[1]} objects")
                    if error.kind is not KubeErrorKind.EXPIRED:
                        raise error
                    yield None
                    return
                for line in response.iter_lines():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        yield None
                    elif event["type"] == "BOOKMARK":
                        continue
                    else:
                        yield WatchEvent(EventType(event["type"]), event["object"])
        except (ReadTimeout, ReadError, RemoteProtocolError):
            # Silent for a heartbeat, or cut off: the next request goes on where this one ended.
            return
        except HTTPError as failure:
            raise errors.from_transport(failure, what=f"watch {kind[1]} objects", server=self._server) from None

    def _json(
        self, method: str, path: str, parameters: Mapping[str, str] | None = None, *, what: str,
        body: Object | None = None, accept: str = "application/json",
    ) -> Object:  # fmt: skip
        content = self._request(method, path, parameters or {}, what=what, body=body, accept=accept)
        try:
            document = json.loads(content)
        except ValueError:
            raise KubeError(
                KubeErrorKind.UNAVAILABLE, f"cannot {what}", cause=f"{self._server} did not answer with JSON"
            ) from None
        return mapping(document)

    def _request(
        self, method: str, path: str, parameters: Mapping[str, str], *, what: str,
        body: Object | None = None, accept: str = "application/json",
    ) -> bytes:  # fmt: skip
        from httpx2 import HTTPError, RemoteProtocolError

        content = None if body is None else json.dumps(body).encode()
        headers = {
            "Accept": accept,
            "User-Agent": USER_AGENT,
            **({"Content-Type": _APPLY} if content is not None else {}),
        }
        # A kept connection that the server closed meanwhile says so only on use: one more try for what reads.
        tries = 2 if method == "GET" else 1
        while True:
            tries -= 1
            try:
                response = self._client.request(method, path, params=dict(parameters), content=content, headers=headers)
                break
            except RemoteProtocolError as error:
                if not tries:
                    raise errors.from_transport(error, what=what, server=self._server) from None
            except HTTPError as error:
                raise errors.from_transport(error, what=what, server=self._server) from None
        if response.is_error:
            raise self._status_error(response, what)
        return response.content

    def _status_error(self, response: Response, what: str) -> KubeError:
        return errors.from_status(
            response.status_code,
            response.content,
            what=what,
            retry_after=response.headers.get("Retry-After", ""),
        )


def _served(root: str, group: str, version: Object) -> dict[KindRef, _Resource]:
    name = text(version, "version")
    api_version = f"{group}/{name}" if group else name
    return {
        (api_version, text(resource, "responseKind", "kind")): _Resource(
            f"{root}/{api_version}", text(resource, "resource"), text(resource, "scope") == "Namespaced"
        )
        for resource in objects(version, "resources")
        if "get" in sequence(resource, "verbs")
    }


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return {key: value for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
