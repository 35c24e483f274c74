"""Why the pods of a workload are not ready, in their own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import Object, name_of, namespace_of, number, objects, text
from kube.cluster import EVENT
from kube.pods import container_statuses, pods_of

if TYPE_CHECKING:
    from kube.cluster import Reading

# Reasons by which kubelet says that it cannot have an image (kubernetes, pkg/kubelet/images/types.go).
_PULL: Final = frozenset({
    "ErrImageNeverPull", "ErrImagePull", "ImageInspectError", "ImagePullBackOff", "InvalidImageName",
    "RegistryUnavailable", "SignatureValidationFailed",
})  # fmt: skip
# Reasons that say nothing: events know what a pod waits for.
_MUTE: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
# A line is read by a person: one pod explains what its siblings have too.
_LONGEST: Final = 300


def troubles(cluster: Reading, workload: Object) -> str:
    """What the first pod of a workload that does not get on says, and how many more there are; empty without one.

    A pod that cannot have its image is named before others, with image and node: kubelet goes on trying, and nobody
    else knows which registry it asked.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    pods = pods_of(cluster, workload, namespace_of(workload))
    behind = [pod for pod in pods if not _is_ready(pod)]
    if not behind:
        return "" if pods else _warning(cluster, workload)
    first = min(behind, key=lambda pod: _rank(_waiting(pod)))
    others = f" (and {len(behind) - 1} more pods)" if len(behind) > 1 else ""
    node = text(first, "spec", "nodeName")
    said = _said(first) or _warning(cluster, first) or text(first, "status", "phase")
    return f"pod {name_of(first)}{f' on {node}' if node else ''}: {said[:_LONGEST]}{others}"


def _said(pod: Object) -> str:
    status = _waiting(pod)
    reason, message = text(status, "state", "waiting", "reason"), text(status, "state", "waiting", "message")
    if reason in _PULL:
        return f"{reason} of image {_image(pod, status)}: {message}"
    if reason not in _MUTE:
        last = number(status, "lastState", "terminated", "exitCode")
        died = f" (exit code {last})" if last else ""
        return f"container {text(status, 'name')}: {reason}{died}: {message}"
    for condition in objects(pod, "status", "conditions"):
        if text(condition, "type") == "PodScheduled" and text(condition, "status") != "True":
            return text(condition, "message")
    return ""


def _waiting(pod: Object) -> Object:
    """The container that says most of all that wait; the first that is not ready where none does."""
    return min(
        (one for one in container_statuses(pod) if text(one, "state", "waiting", "reason")), key=_rank, default={}
    )


def _rank(status: Object) -> int:
    reason = text(status, "state", "waiting", "reason")
    return 0 if reason in _PULL else 2 if reason in _MUTE else 1


def _image(pod: Object, status: Object) -> str:
    """As the pod asks for it: what a container's status names is another name of the same once it was pulled."""
    containers = [*objects(pod, "spec", "initContainers"), *objects(pod, "spec", "containers")]
    asked = [text(one, "image") for one in containers if text(one, "name") == text(status, "name")]
    return asked[0] if asked else text(status, "image")


def _is_ready(pod: Object) -> bool:
    return any(
        text(one, "type") == "Ready" and text(one, "status") == "True" for one in objects(pod, "status", "conditions")
    )


def _warning(cluster: Reading, item: Object) -> str:
    """The last warning about an object."""
    fields = f"involvedObject.name={name_of(item)},type=Warning"
    found = [
        event
        for event in cluster.list_objects(EVENT, namespace_of(item), fields=fields)
        if text(event, "involvedObject", "kind") == text(item, "kind")
    ]
    latest = max(found, key=lambda event: text(event, "lastTimestamp") or text(event, "eventTime"), default={})
    return f"last warning: {text(latest, 'reason')}: {text(latest, 'message')}" if latest else ""
