"""Helm in the model: what `helmfile sync` of one release leaves, and how its workloads come up."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from bootstrap.host import yaml_io
from bootstrap.host.objects import Object, mapping, name_of, namespace_of, number, objects, text
from kube.cluster import CUSTOM_RESOURCE_DEFINITION, DAEMON_SET, DEPLOYMENT, NAMESPACE, NODE, POD, SECRET
from phases.cilium_definitions import DEFINITIONS, GROUP
from tests.scripted.machines import node
from tests.scripted.recordings import Recordings

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.yaml_io import Yaml
    from tests.scripted.machines import Machines
    from tests.scripted.model import Model

_WORKLOADS = (DAEMON_SET, DEPLOYMENT)
_INSTANCE = "FluxInstance"
_OPERATOR = "cilium-operator"
# Seconds after which a kubelet asks at the latest again for an image that it did not get.
_BACK_OFF = 300.0
# Seconds after which a kubelet writes its node's status again, and an operator tries again.
_AGAIN = 10.0


class HelmError(Exception):
    """Helm refused; says why in its words."""


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
        model.hears({
            "rollout": self._rollout, "established": self._established, "register": self._register,
            "network": self._network,
        })  # fmt: skip

    def history(self, name: str) -> list[Object]:
        """The stored revisions of a release, oldest first."""
        stored = [item for item in self._model.select(SECRET) if text(item, "metadata", "labels", "name") == name]
        return sorted(stored, key=lambda item: int(text(item, "metadata", "labels", "version")))

    def begin(self, name: str, values: Object, *, writer: str, origin: Object | None = None) -> None:
        """Begin to install or upgrade a release: its next revision is pending, and one object is written.

        Args:
            name: of the release.
            values: for the chart.
            writer: the program.
            origin: labels that it puts on every object.

        Raises:
            HelmError: an operation is under way, or was never ended; a namespace or a kind is not there.
        """
        release = Recordings().json(f"release-{name}.json")
        namespace = release["namespace"]
        history = self.history(name)
        status = _status(history[-1]) if history else ""
        if status.startswith("pending"):
            raise HelmError("UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress")
        if status == "uninstalling" and all(_status(older) != "deployed" for older in history):
            raise HelmError(f'UPGRADE FAILED: "{name}" has no deployed releases')
        if self._model.find(NAMESPACE, namespace) is None:
            raise HelmError(f'create: failed to create: namespaces "{namespace}" not found')
        items = [_labelled(json.loads(item), origin or {}) for item in _manifest(name)]
        self._require_kinds(items)
        release.update(version=len(history) + 1, config=values, manifest=_manifest_text(name, origin or {}))
        release["info"]["last_deployed"] = datetime.now(UTC).isoformat()
        self._store(release, namespace, status="pending-upgrade" if history else "pending-install", writer=writer)
        self._put(items[0], namespace)

    def finish(self, name: str, *, origin: Object | None = None) -> int:
        """End what was begun: every object is written, and the revision deployed.

        Returns:
            The revision.
        """
        *history, begun = self.history(name)
        release = json_of(begun)
        for item in _manifest(name):
            self._put(_labelled(json.loads(item), origin or {}), release["namespace"])
        # What helm goes on from: the deployed revision, or the latest where none is.
        for older in [one for one in history if _status(one) == "deployed"] or history[-1:]:
            self._store(json_of(older), release["namespace"], status="superseded", writer="")
        self._store(release, release["namespace"], status="deployed", writer="")
        revision: int = release["version"]
        return revision

    def sync(self, name: str, values: Object, *, writer: str, origin: Object | None = None) -> int:
        """Install or upgrade a release from beginning to end; gives the revision."""
        self.begin(name, values, writer=writer, origin=origin)
        return self.finish(name, origin=origin)

    def suspend(self, name: str, status: str, *, age: float = 0.0) -> None:
        """Show a release in the middle of an operation that wrote its latest revision so many seconds ago."""
        release = json_of(self.history(name)[-1])
        release["info"]["last_deployed"] = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
        self._store(release, release["namespace"], status=status, writer="")

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

    def _register(self, _: str = "") -> None:
        """What Cilium's operator does once it runs: its definitions are in no chart."""
        if self._model.get("operator is silent"):
            self._model.put("operator was silent", value=True)
            self._model.after(_AGAIN, "register")
            return
        for one in DEFINITIONS:
            name = f"{one.plural}.{GROUP}"
            names: Object = {"kind": one.kind, "plural": one.plural}
            versions: Yaml = [{"name": "v2", "served": True}]
            self._model.store({
                "apiVersion": CUSTOM_RESOURCE_DEFINITION[0], "kind": CUSTOM_RESOURCE_DEFINITION[1],
                "metadata": {"name": name}, "spec": {"group": GROUP, "names": names, "versions": versions},
            })  # fmt: skip
            self._established(name)

    def _lacks_image(self, item: Object, what: str) -> bool:
        """Whether the pods of a workload wait for their image, as `no image` says: seconds, 0 until mended."""
        lacking = dict(self._model.get("no image", {}))
        if name_of(item) not in lacking:
            return False
        seconds = lacking.pop(name_of(item))
        if seconds:
            self._model.put("no image", lacking)
        self._model.put("no image was there", what)
        self._model.after(seconds or _BACK_OFF, "rollout", what)
        waiting: Yaml = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
        containers = objects(item, "spec", "template", "spec", "containers")
        statuses: list[Object] = [{"name": text(one, "name"), "state": {"waiting": waiting}} for one in containers]
        self._pod(item, 0, *statuses)
        return True

    def _pod(self, item: Object, index: int, *statuses: Object) -> None:
        """A pod of a workload, with what it says of its containers."""
        nodes = self._model.select(NODE)
        self._model.store({
            "apiVersion": POD[0], "kind": POD[1],
            "metadata": {
                "name": f"{name_of(item)}-{index}", "namespace": namespace_of(item),
                "labels": mapping(item, "spec", "selector", "matchLabels"),
            },
            "spec": {
                **mapping(item, "spec", "template", "spec"), "nodeName": name_of(nodes[index % len(nodes)]),
            },
            "status": {"containerStatuses": [*statuses]},
        })  # fmt: skip

    def _rollout(self, what: str) -> None:
        version, kind, namespace, name = json.loads(what)
        item = self._model.find((version, kind), name, namespace) or {}
        lacks_image = self._lacks_image(item, what)
        count = len(self._model.select(NODE)) if kind == DAEMON_SET[1] else number(item, "spec", "replicas")
        generation = number(item, "metadata", "generation")
        names = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
        if kind == DEPLOYMENT[1]:
            names = ("replicas", "updatedReplicas", "availableReplicas")
        counts: Object = {**dict.fromkeys(names, count), names[-1]: 0 if lacks_image else count}
        self._model.store({**item, "status": {"observedGeneration": generation, **counts}})
        if lacks_image:
            return
        for index in range(count):
            self._pod(item, index, {"restartCount": 0})
        if name == _OPERATOR:
            self._register()
        if kind == DAEMON_SET[1]:
            self._model.put("network", "up")
            self._network()

    def _network(self, _: str = "") -> None:
        """What kubelets say once their network is there, but for those that `nodes not ready` names."""
        without = self._model.get("nodes not ready") or []
        for one in self._model.select(NODE):
            if name_of(one) not in without:
                self._model.store({**one, "status": node(name_of(one), ready=True)["status"]})
        if without:
            self._model.put("nodes were not ready", without)
            self._model.after(_AGAIN, "network")


def _status(stored: Object) -> str:
    return text(stored, "metadata", "labels", "status")


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
