"""Whether workloads are rolled out and nodes are ready, as one look each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.engine.step import Observation
from bootstrap.host.objects import Object, name_of, namespace_of, number, objects, text
from kube.cluster import DAEMON_SET, DEPLOYMENT, NODE
from kube.pod_troubles import troubles

if TYPE_CHECKING:
    from collections.abc import Collection

    from kube.cluster import Look, Reading


def deployment_ready(cluster: Reading, namespace: str, name: str) -> Look:
    """Whether a Deployment runs its current generation with every replica available.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    item = cluster.get(DEPLOYMENT, name, namespace)
    if item is None:
        return _no(f"Deployment {namespace}/{name} is not there")
    wanted = number(item, "spec", "replicas")
    updated, available = number(item, "status", "updatedReplicas"), number(item, "status", "availableReplicas")
    return _judge(cluster, item, wanted=wanted, updated=updated, available=available)


def daemon_set_ready(cluster: Reading, namespace: str, name: str) -> Look:
    """Whether a DaemonSet runs its current generation on every node that it wants.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    item = cluster.get(DAEMON_SET, name, namespace)
    if item is None:
        return _no(f"DaemonSet {namespace}/{name} is not there")
    wanted = number(item, "status", "desiredNumberScheduled")
    updated, available = number(item, "status", "updatedNumberScheduled"), number(item, "status", "numberAvailable")
    if not wanted:
        return _no(f"DaemonSet {namespace}/{name} wants no pod yet")
    return _judge(cluster, item, wanted=wanted, updated=updated, available=available)


def nodes_ready(cluster: Reading, names: Collection[str]) -> Look:
    """Whether all nodes of these names are Ready; nodes beyond them are not looked at.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    found = {name_of(item): item for item in cluster.list_objects(NODE)}
    troubles = [f"{name}: {trouble}" for name in sorted(names) if (trouble := _node_trouble(found.get(name)))]
    ready = f"{len(names) - len(troubles)} of {len(names)} nodes Ready"
    return Observation(holds=not troubles, seen="; ".join([ready, *troubles]))


def both(*looks: Look) -> Look:
    """All of several looks in one; of what no waiting mends, the first."""
    return Observation(
        all(look.holds for look in looks),
        "; ".join(look.seen for look in looks),
        conflict=next((look.conflict for look in looks if look.conflict), None),
    )


def _judge(cluster: Reading, item: Object, *, wanted: int, updated: int, available: int) -> Look:
    label = f"{text(item, 'kind')} {namespace_of(item)}/{name_of(item)}"
    current = number(item, "status", "observedGeneration") >= number(item, "metadata", "generation")
    seen = f"{label}: {available} of {wanted} available"
    if current and updated == wanted == available:
        return Observation(holds=True, seen=seen)
    said = troubles(cluster, item)
    return _no(f"{seen}; {said}" if said else seen)


def _node_trouble(node: Object | None) -> str:
    if node is None:
        return "not registered"
    for condition in objects(node, "status", "conditions"):
        if text(condition, "type") == "Ready":
            return "" if text(condition, "status") == "True" else text(condition, "message") or "NotReady"
    return "says nothing of itself yet"


def _no(seen: str) -> Look:
    return Observation(holds=False, seen=seen)
