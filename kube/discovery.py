"""Where the API serves each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bootstrap.host.objects import Object, objects, sequence, text
from kube.errors import KubeError, KubeErrorKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kube.cluster import KindRef, ObjectRef
    from kube.transport import Transport

_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Resource(NamedTuple):
    """Where a kind is served."""

    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """The path of one object, or of all of them; an empty namespace means all."""
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.prefix}{place}/{self.plural}" + (f"/{name}" if name else "")


class Discovery:
    """What is served, asked for once and again whenever a kind is not known.

    Args:
        transport: to the API server.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._known: Mapping[KindRef, Resource] = {}

    def renew(self) -> frozenset[KindRef]:
        """Ask for every kind that is served now.

        Raises:
            KubeError: the API cannot be asked.
        """
        found: dict[KindRef, Resource] = {}
        for root in ("/api", "/apis"):
            document = self._transport.json("GET", root, what="discover the API", accept=_AGGREGATED)
            for group in objects(document, "items"):
                for version in objects(group, "versions"):
                    found.update(_served(root, text(group, "metadata", "name"), version))
        self._known = found
        return frozenset(found)

    def find(self, kind: KindRef) -> Resource | None:
        """Where a kind is served; None when it is not.

        Raises:
            KubeError: the API cannot be asked.
        """
        if kind not in self._known:
            self.renew()
        return self._known.get(kind)

    def of(self, name: ObjectRef, verb: str) -> Resource:
        """Where the kind of an object is served.

        Args:
            name: the object.
            verb: what is to be done with it, for the error.

        Raises:
            KubeError: it is not served, or the API cannot be asked.
        """
        resource = self.find((name.api_version, name.kind))
        if resource is None:
            cause = f"{name.api_version} {name.kind} is not served"
            raise KubeError(KubeErrorKind.INVALID, f"cannot {verb} {name}", cause=cause)
        return resource

    def path_of(self, name: ObjectRef, verb: str) -> str:
        """Where an object is served; see `kube.apply.Places`."""
        return self.of(name, verb).path(name.namespace, name.name)


def _served(root: str, group: str, version: Object) -> dict[KindRef, Resource]:
    name = text(version, "version")
    api_version = f"{group}/{name}" if group else name
    return {
        (api_version, text(resource, "responseKind", "kind")): Resource(
            f"{root}/{api_version}", text(resource, "resource"), text(resource, "scope") == "Namespaced"
        )
        for resource in objects(version, "resources")
        if "get" in sequence(resource, "verbs")
    }
