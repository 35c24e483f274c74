"""Helm in the model: what `helmfile sync` of one release leaves, and how its workloads come up."""

from __future__ import annotations

import base64
import gzip
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from bootstrap.host import yaml_io
from bootstrap.host.objects import Object, mapping, name_of, namespace_of, number, text
from kube.cluster import CUSTOM_RESOURCE_DEFINITION, DAEMON_SET, DEPLOYMENT, NAMESPACE, NODE, POD, SECRET
from tests.scripted.machines import node
from tests.scripted.recordings import Recordings

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.yaml_io import Yaml
    from tests.scripted.machines import Machines
    from tests.scripted.model import Model

_WORKLOADS = (DAEMON_SET, DEPLOYMENT)
_INSTANCE = "FluxInstance"


class HelmError(Exception):
    """Helm refused; says why in its words."""


class HelmDiedError(Exception):
    """Helm was killed: what it had done stays."""


class Releases:
    """The releases of a world.

    Args:
        model: the world.
        machines: its machines.
    """

    def __init__(self, model: Model, machines: Machines) -> None:
        self._model = model
        self._machines = machines
        self.instance_made: Callable[[], None] = lambda: None
        model.hears({"rollout": self._rollout, "established": self._established})

    def history(self, name: str) -> list[Object]:
        """The stored revisions of a release, oldest first."""
        stored = [item for item in self._model.select(SECRET) if text(item, "metadata", "labels", "name") == name]
        return sorted(stored, key=lambda item: int(text(item, "metadata", "labels", "version")))

    def sync(self, name: str, values: Object, *, writer: str, origin: Object | None = None) -> int:
        """Install or upgrade a release.

        Args:
            name: of the release.
            values: for the chart.
            writer: the program.
            origin: labels that it puts on every object.

        Returns:
            The revision.

        Raises:
            HelmError: an operation is under way, a namespace or a kind is not there.
            HelmDiedError: it was killed after the first object.
        """
        release = Recordings().json(f"release-{name}.json")
        namespace = release["namespace"]
        history = self.history(name)
        if history and text(history[-1], "metadata", "labels", "status").startswith("pending"):
            raise HelmError("UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress")
        if self._model.find(NAMESPACE, namespace) is None:
            raise HelmError(f'create: failed to create: namespaces "{namespace}" not found')
        items = [_labelled(json.loads(item), origin or {}) for item in _manifest(name)]
        self._require_kinds(items)
        if self._model.get("helm dies") == name:
            self._model.put("helm dies", "")
            release.update(version=len(history) + 1, config=values, manifest=_manifest_text(name, {}))
            self._store(release, namespace, status="pending-install", writer=writer)
            self._put(items[0], namespace)
            raise HelmDiedError
        for item in items:
            self._put(item, namespace)
        for older in history:
            self._store(json_of(older), namespace, status="superseded", writer="")
        revision = len(history) + 1
        release.update(version=revision, config=values, manifest=_manifest_text(name, origin or {}))
        self._store(release, namespace, status="deployed", writer=writer)
        return revision

    def suspend(self, name: str, status: str) -> None:
        """Show a release in the middle of the operation that wrote its latest revision."""
        release = Recordings().json(f"release-{name}.json")
        self._store(json_of(self.history(name)[-1]), release["namespace"], status=status, writer="")

    def _require_kinds(self, items: list[Object]) -> None:
        """A custom kind must have been registered; in this world only the FluxInstance of ours is asked for."""
        known = {text(item, "spec", "names", "kind") for item in self._model.select(CUSTOM_RESOURCE_DEFINITION)}
        for item in items:
            if item["kind"] == _INSTANCE and _INSTANCE not in known:
                version = item["apiVersion"]
                raise HelmError(f'resource mapping not found: no matches for kind "{_INSTANCE}" in version "{version}"')

    def _put(self, item: Object, namespace: str) -> None:
        kind = (text(item, "apiVersion"), text(item, "kind"))
        metadata: Object = {"namespace": namespace, **mapping(item, "metadata")}
        live = self._model.find(kind, name_of(item), text(metadata, "namespace")) or {}
        status: Object = {"status": live["status"]} if "status" in live else {}
        stored = self._model.store({**item, "metadata": metadata, **status})
        observed = number(stored, "status", "observedGeneration")
        if kind in _WORKLOADS and observed != number(stored, "metadata", "generation"):
            what = json.dumps([*kind, namespace_of(stored), name_of(stored)])
            self._model.after(self._machines.delays.rollout, "rollout", what)
        if kind[1] == _INSTANCE and not live:
            self.instance_made()

    def _store(self, release: dict[str, Any], namespace: str, *, status: str, writer: str) -> None:
        release["info"] = {**release["info"], "status": status}
        packed = base64.b64encode(gzip.compress(json.dumps(release).encode(), compresslevel=1))
        name, version = release["name"], str(release["version"])
        live = self._model.find(SECRET, f"sh.helm.release.v1.{name}.v{version}", namespace)
        managed: Yaml = [{"manager": writer, "operation": "Update", "fieldsV1": {"f:type": {}}}]
        if live is not None:
            managed = mapping(live, "metadata")["managedFields"]
        self._model.store({
            "apiVersion": SECRET[0], "kind": SECRET[1], "type": "helm.sh/release.v1",
            "metadata": {
                "name": f"sh.helm.release.v1.{name}.v{version}", "namespace": namespace, "managedFields": managed,
                "labels": {"owner": "helm", "name": name, "status": status, "version": version},
            },
            "data": {"release": base64.b64encode(packed).decode()},
        })  # fmt: skip

    def _established(self, name: str) -> None:
        item = self._model.find(CUSTOM_RESOURCE_DEFINITION, name)
        conditions: Yaml = [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]
        self._model.store({**(item or {}), "status": {"conditions": conditions}})

    def _rollout(self, what: str) -> None:
        version, kind, namespace, name = json.loads(what)
        item = self._model.find((version, kind), name, namespace) or {}
        count = len(self._model.select(NODE)) if kind == DAEMON_SET[1] else number(item, "spec", "replicas")
        generation = number(item, "metadata", "generation")
        names = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
        if kind == DEPLOYMENT[1]:
            names = ("replicas", "updatedReplicas", "availableReplicas")
        self._model.store({**item, "status": {"observedGeneration": generation, **dict.fromkeys(names, count)}})
        labels = mapping(item, "spec", "selector", "matchLabels")
        for index in range(count):
            pod: Object = {"apiVersion": POD[0], "kind": POD[1], "spec": {}}
            pod["metadata"] = {"name": f"{name}-{index}", "namespace": namespace, "labels": labels}
            pod["status"] = {"containerStatuses": [{"restartCount": 0}]}
            self._model.store(pod)
        if kind == DAEMON_SET[1]:
            self._model.put("network", "up")
            for one in self._model.select(NODE):
                self._model.store({**one, "status": node(name_of(one), ready=True)["status"]})


def json_of(stored: Object) -> dict[str, Any]:
    """The release inside a storage secret."""
    packed = base64.b64decode(base64.b64decode(text(stored, "data", "release")))
    found: dict[str, Any] = json.loads(gzip.decompress(packed))
    return found


@cache
def _manifest(name: str) -> tuple[str, ...]:
    """The objects of a release as JSON texts, so that nobody changes another's."""
    manifest = Recordings().json(f"release-{name}.json")["manifest"]
    return tuple(json.dumps(item) for item in yaml_io.load_all(manifest, source=name) if item)


def _manifest_text(name: str, origin: Object) -> str:
    return "---\n".join(f"{json.dumps(_labelled(json.loads(item), origin))}\n" for item in _manifest(name))


def _labelled(item: Object, origin: Object) -> Object:
    if not origin:
        return item
    metadata = mapping(item, "metadata")
    return {**item, "metadata": {**metadata, "labels": {**mapping(metadata, "labels"), **origin}}}
