"""Objects that somebody makes for a moment and takes away again, found by their labels after a kill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kube.cluster import reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.host.objects import Object
    from kube.cluster import Cluster, KindRef, ObjectRef

# On all that is made for a moment, and on what controllers make of it.
OURS: Final = "app.kubernetes.io/managed-by=firstlight"
# What tells apart the objects of several owners.
COMPONENT: Final = "app.kubernetes.io/component"


@dataclass(frozen=True)
class Belongings:
    """What one owner makes in a cluster.

    Attributes:
        api: the cluster.
        owner: who makes it, a DNS label.
        kinds: in the order in which they are removed: who makes others before what it makes.
        namespace: where; empty for what is cluster-wide.
    """

    api: Cluster
    owner: str
    kinds: tuple[KindRef, ...]
    namespace: str = ""

    @property
    def labels(self) -> Object:
        """What marks an object as one of these."""
        return labels_of(self.owner)

    def remove(self) -> None:
        """Delete all of it, whoever left it; some stays for as long as finalizers or a grace period ask.

        Raises:
            KubeError: the cluster cannot be asked.
        """
        for name in self.left():
            self.api.delete(name)

    def left(self) -> Iterator[ObjectRef]:
        """What is there of it, kind by kind: each is asked for when those before it have been taken.

        Raises:
            KubeError: the cluster cannot be asked.
        """
        selector = f"{OURS},{COMPONENT}={self.owner}"
        for kind in self.kinds:
            for item in self.api.list_objects(kind, self.namespace, labels=selector):
                yield reference(item)


def labels_of(owner: str) -> Object:
    """What marks an object as one that this owner made for a moment."""
    key, _, value = OURS.partition("=")
    return {key: value, COMPONENT: owner}
