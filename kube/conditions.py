"""What a custom resource says of itself, as one look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.engine.step import Observation
from bootstrap.host.objects import objects, text

if TYPE_CHECKING:
    from kube.cluster import Look, ObjectRef, Reading


def ready(api: Reading, name: ObjectRef) -> Look:
    """Whether an object has the condition `Ready`; what is seen is the condition's own message.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    item = api.get((name.api_version, name.kind), name.name, name.namespace)
    if item is None:
        return Observation(holds=False, seen=f"{name} is not there")
    for condition in objects(item, "status", "conditions"):
        if text(condition, "type") == "Ready":
            holds = text(condition, "status") == "True"
            said = text(condition, "message") or text(condition, "reason")
            state = "Ready" if holds else "not Ready"
            return Observation(holds, f"{name} is {state}{f': {said}' if said else ''}")
    return Observation(holds=False, seen=f"{name} says nothing of itself yet")
