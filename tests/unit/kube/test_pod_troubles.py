"""What an unready workload is said to wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kube.cluster import EVENT, POD, KindRef
from kube.rollout import daemon_set_ready

if TYPE_CHECKING:
    from bootstrap.host.objects import Object

IMAGE = "quay.io/cilium/cilium:v1.18.3"
BACK_OFF = "Back-off pulling image"


def waiting(reason: str, message: str = "", *, name: str = "agent", code: int = 0) -> dict[str, Any]:
    last = {"lastState": {"terminated": {"exitCode": code}}} if code else {}
    return {"name": name, "image": "sha256:0", "state": {"waiting": {"reason": reason, "message": message}}, **last}


def pod(name: str, *statuses: dict[str, Any], ready: str = "False", **more: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready}, *more.get("conditions", [])]
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"nodeName": more.get("node", "infra-01"), "containers": [{"name": "agent", "image": IMAGE}]},
        "status": {"phase": "Pending", "conditions": conditions, more.get("place", "containerStatuses"): [*statuses]},
    }


def warning(kind: str, name: str, reason: str, at: str) -> dict[str, Any]:
    return {"involvedObject": {"kind": kind, "name": name}, "reason": reason, "message": "why", "lastTimestamp": at}


class Api:
    """A DaemonSet that is not ready, with pods and events."""

    def __init__(self, pods: list[Any], events: list[Any]) -> None:
        self._objects = {POD: pods, EVENT: events}

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        return {
            "kind": kind[1], "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"matchLabels": {"k8s-app": "cilium", "a": "b"}}},
            "status": {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 1},
        }  # fmt: skip

    def list_objects(self, kind: KindRef, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        assert namespace == "kube-system"
        if kind == POD:
            assert labels == "a=b,k8s-app=cilium"
            return self._objects[POD]
        assert fields.endswith(",type=Warning")
        name = fields.partition(",")[0].removeprefix("involvedObject.name=")
        return [one for one in self._objects[kind] if one["involvedObject"]["name"] == name]


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient cpu."}
EVENTS = [
    warning("Pod", "cilium-a", "FailedMount", "2026-11-21T20:00:00Z"),
    warning("Pod", "cilium-a", "FailedCreatePodSandBox", "2026-11-21T20:01:00Z"),
    warning("Node", "cilium-a", "Other", "2026-11-21T20:02:00Z"),
    warning("DaemonSet", "cilium", "FailedCreate", "2026-11-21T20:00:00Z"),
]


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([pod("cilium-a", ready="True")], ""),
        ([], "last warning: FailedCreate: why"),
        (
            [pod("cilium-a", waiting("ImagePullBackOff", BACK_OFF))],
            f"pod cilium-a on infra-01: ImagePullBackOff of image {IMAGE}: {BACK_OFF}",
        ),
        (
            [pod("cilium-a", waiting("ErrImagePull", "401", name="init"), place="initContainerStatuses")],
            "pod cilium-a on infra-01: ErrImagePull of image sha256:0: 401",
        ),
        (
            [pod("cilium-a", waiting("PodInitializing"), waiting("CrashLoopBackOff", "back-off", code=3))],
            "pod cilium-a on infra-01: container agent: CrashLoopBackOff (exit code 3): back-off",
        ),
        (
            [pod("cilium-b", waiting("CrashLoopBackOff", "x")), pod("cilium-a", waiting("ErrImagePull", "refused"))],
            f"pod cilium-a on infra-01: ErrImagePull of image {IMAGE}: refused (and 1 more pods)",
        ),
        ([pod("cilium-a", node="", conditions=[UNSCHEDULABLE])], f"pod cilium-a: {UNSCHEDULABLE['message']}"),
        (
            [pod("cilium-a", waiting("ContainerCreating"))],
            "pod cilium-a on infra-01: last warning: FailedCreatePodSandBox: why",
        ),
        ([pod("cilium-c", waiting("ContainerCreating"))], "pod cilium-c on infra-01: Pending"),
    ],
)
def test_a_workload_that_is_not_ready_says_why(pods: list[Any], said: str) -> None:
    look = daemon_set_ready(Api(pods, EVENTS), "kube-system", "cilium")
    assert not look.holds
    assert look.seen == "; ".join(["DaemonSet kube-system/cilium: 1 of 3 available", *([said] if said else [])])


def test_a_long_message_is_cut() -> None:
    look = daemon_set_ready(Api([pod("cilium-a", waiting("ErrImagePull", "x" * 1000))], []), "kube-system", "cilium")
    assert len(look.seen) < 400
