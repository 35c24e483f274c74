"""Namespaces that are being deleted: which, and what holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.engine.step import Observation
from bootstrap.host.objects import Object, name_of, objects, sequence, text
from kube.cluster import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Collection

    from kube.cluster import Look, Reading

# Conditions by which the namespace controller says what is left (k8s.io/api/core/v1, NamespaceConditionType).
_HOLDING: Final = frozenset(
    {
        "NamespaceContentRemaining",
        "NamespaceDeletionContentFailure",
        "NamespaceDeletionDiscoveryFailure",
        "NamespaceDeletionGroupVersionParsingFailure",
        "NamespaceFinalizersRemaining",
    }
)


def is_terminating(namespace: Object | None) -> bool:
    """Whether it is being deleted, so that nothing can be made in it."""
    return bool(text(namespace, "metadata", "deletionTimestamp"))


def holders(namespace: Object) -> str:
    """What a namespace that is being deleted still waits for, one line; never empty."""
    conditions = objects(namespace, "status", "conditions")
    found = [text(one, "message") for one in conditions if one.get("type") in _HOLDING and one.get("status") == "True"]
    finalizers = [*sequence(namespace, "spec", "finalizers"), *sequence(namespace, "metadata", "finalizers")]
    if finalizers:
        found.append(f"finalizers {', '.join(map(str, finalizers))}")
    return "; ".join(found) or "nothing that it names"


def gone(cluster: Reading, names: Collection[str]) -> Look:
    """Whether none of these namespaces is being deleted any more; one that was made again holds as well.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    found = [cluster.get(NAMESPACE, name) for name in sorted(names)]
    left = [namespace for namespace in found if namespace is not None and is_terminating(namespace)]
    seen = "; ".join(f"{name_of(one)} is held by {holders(one)}" for one in left)
    return Observation(not left, seen or f"{', '.join(sorted(names))} gone")
