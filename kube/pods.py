"""Pods of a workload, and what the kubelet says about their containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.host.objects import Object, mapping, number, objects, text
from kube.cluster import POD

if TYPE_CHECKING:
    from kube.cluster import Reading


def pods_of(cluster: Reading, workload: Object, namespace: str) -> list[Object]:
    """The pods that a workload's selector names, those that are being deleted included.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    labels = mapping(workload, "spec", "selector", "matchLabels")
    selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return list(cluster.list_objects(POD, namespace, labels=selector))


def container_statuses(pod: Object) -> list[Object]:
    """What the kubelet says about each container, those that initialise first."""
    return [*objects(pod, "status", "initContainerStatuses"), *objects(pod, "status", "containerStatuses")]


def last_end(container: Object) -> str:
    """How a container ended before it was started again, from its status; empty when it never was."""
    last = mapping(container, "lastState", "terminated")
    if not last:
        return ""
    code, reason = number(last, "exitCode"), text(last, "reason")
    return f"{text(container, 'name')}: {reason or 'ended'}, exit code {code}, at {text(last, 'finishedAt')}"
