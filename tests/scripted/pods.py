"""Pods that ask and end: what a kubelet makes of a pod that somebody created, in the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootstrap.host.objects import Object, name_of, objects, text
from kube.cluster import NODE, POD

if TYPE_CHECKING:
    from bootstrap.host.yaml_io import Yaml
    from tests.scripted.machines import Machines
    from tests.scripted.model import Model

# What goes wrong is a value of the world's own: `says` by container, or `waits` or `sandbox` for the whole pod, and
# at how many pods (`times`, 0 for all). How often it did is another value.
FAULT = "pods"
FIRED = "pods that went wrong"


class Pods:
    """The pods of a world that run by themselves to their end.

    Args:
        model: the world.
        machines: its machines; they know how long things take.
    """

    def __init__(self, model: Model, machines: Machines) -> None:
        self._model = model
        self._machines = machines
        model.hears({"pod": self._runs})

    def created(self, item: Object) -> None:
        """Let a pod run in a moment."""
        self._model.after(
            self._machines.delays.rollout, "pod", f"{text(item, 'metadata', 'namespace')}/{name_of(item)}"
        )

    def _runs(self, what: str) -> None:
        namespace, _, name = what.partition("/")
        item = self._model.find(POD, name, namespace)
        if item is None:
            return
        fault = self._fault()
        status = _refused(item, fault) if {"waits", "sandbox"} & fault.keys() else _ended(item, fault.get("says", {}))
        node = name_of(self._model.select(NODE)[0])
        self._model.store({**item, "spec": {**dict(_spec(item)), "nodeName": node}, "status": status})

    def _fault(self) -> dict[str, Any]:
        fault: dict[str, Any] = self._model.get(FAULT, {})
        fired = int(self._model.get(FIRED, 0))
        if not fault or fired >= fault.get("times", fired + 1):
            return {}
        self._model.put(FIRED, fired + 1)
        return fault


def _spec(item: Object) -> Object:
    spec = item["spec"]
    assert isinstance(spec, dict)
    return spec


def _refused(item: Object, fault: dict[str, Any]) -> Object:
    """A pod whose image is not to be had, or that got no network until its deadline."""
    reason = fault.get("waits", "ContainerCreating")
    waiting: Yaml = [
        {"name": text(one, "name"), "state": {"waiting": {"reason": reason, "message": "as the kubelet says it"}}}
        for one in objects(item, "spec", "containers")
    ]
    if "waits" in fault:
        return {"phase": "Pending", "containerStatuses": waiting}
    condition: Yaml = {"type": "PodReadyToStartContainers", "status": "False"}
    return {
        "phase": "Failed", "reason": "DeadlineExceeded", "message": "Pod was active on the node too long",
        "conditions": [condition], "containerStatuses": waiting,
    }  # fmt: skip


def _ended(item: Object, says: dict[str, str]) -> Object:
    names = [text(one, "name") for one in objects(item, "spec", "containers")]
    ended: Yaml = [
        {
            "name": name,
            "state": {
                "terminated": {
                    "exitCode": int(name in says), "reason": "Error" if name in says else "Completed",
                    "message": says.get(name, ""),
                },
            },
        }
        for name in names
    ]  # fmt: skip
    return {"phase": "Failed" if set(names) & says.keys() else "Succeeded", "containerStatuses": ended}
