"""Flux in the model: from the FluxInstance to every Kustomization Ready and every release taken over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bootstrap.host.objects import Object, mapping, name_of, namespace_of, number, objects, text
from gitops.handover import FLUX_INSTANCE, GIT_REPOSITORY, HELM_RELEASE, KUSTOMIZATION
from gitops.tree import FLUX_SYSTEM
from kube.adoption import ADOPTER, ORIGIN_LABELS
from kube.cluster import DEPLOYMENT
from tests.scripted.helm import json_of
from tests.scripted.recordings import Recordings

if TYPE_CHECKING:
    from bootstrap.host.yaml_io import Yaml
    from tests.scripted.helm import Releases
    from tests.scripted.machines import Machines
    from tests.scripted.model import Model


class Flux:
    """Flux' controllers.

    Args:
        model: the world.
        machines: its machines; they know how long things take.
        releases: what helm-controller takes over.
    """

    def __init__(self, model: Model, machines: Machines, releases: Releases) -> None:
        self._model = model
        self._machines = machines
        self._releases = releases
        releases.instance_made = lambda: self._later("instance")
        model.hears({"instance": self._instance, "source": self._source, "kustomization": self._kustomization})

    def _later(self, name: str, what: str = "") -> None:
        self._model.after(self._machines.delays.flux, name, what)

    def _instance(self, _: str) -> None:
        operator = self._model.find(DEPLOYMENT, "flux-operator", FLUX_SYSTEM) or {}
        if not number(operator, "status", "availableReplicas"):
            self._later("instance")
            return
        instance = self._model.find(FLUX_INSTANCE, "flux", FLUX_SYSTEM) or {}
        version = text(instance, "spec", "distribution", "version")
        self._ready(instance, lastAppliedRevision=f"v{version}@sha256:0123456789abcdef")
        self._model.store({
            "apiVersion": GIT_REPOSITORY[0], "kind": GIT_REPOSITORY[1],
            "metadata": {"name": FLUX_SYSTEM, "namespace": FLUX_SYSTEM},
            "spec": {"url": text(instance, "spec", "sync", "url"), "ref": {"name": self._ref}},
        })  # fmt: skip
        self._model.store(_tree()[0]["item"])
        self._later("source")

    @property
    def _ref(self) -> str:
        instance = self._model.find(FLUX_INSTANCE, "flux", FLUX_SYSTEM)
        return text(instance, "spec", "sync", "ref")

    def _source(self, _: str) -> None:
        source = self._model.find(GIT_REPOSITORY, FLUX_SYSTEM, FLUX_SYSTEM) or {}
        self._ready(source, artifact={"revision": self._revision})
        self._later("kustomization", FLUX_SYSTEM)

    @property
    def _revision(self) -> str:
        return f"{self._ref}@sha1:{self._model.get('commit')}"

    def _kustomization(self, name: str) -> None:
        """Apply what a Kustomization holds, take over its releases, then begin with those that waited for it."""
        (one,) = (one for one in _tree() if name_of(one["item"]) == name)
        origin: Object = {
            "kustomize.toolkit.fluxcd.io/name": name, "kustomize.toolkit.fluxcd.io/namespace": FLUX_SYSTEM,
        }  # fmt: skip
        for item in one["objects"]:
            labels = {**mapping(item, "metadata", "labels"), **origin}
            stored = self._model.store({**item, "metadata": {**item["metadata"], "labels": labels}})
            if (item["apiVersion"], item["kind"]) == HELM_RELEASE:
                self._take_over(stored)
        item = self._model.find(KUSTOMIZATION, name, FLUX_SYSTEM) or {}
        self._ready(item, lastAppliedRevision=self._revision)
        every = {name_of(other): other for other in self._model.select(KUSTOMIZATION)}
        for other in every.values():
            needs = {text(need, "name") for need in objects(other, "spec", "dependsOn")}
            begun_by = needs or {text(other, "metadata", "labels", "kustomize.toolkit.fluxcd.io/name")}
            if name in begun_by and "status" not in other and all("status" in every.get(need, {}) for need in needs):
                self._later("kustomization", name_of(other))

    def _take_over(self, item: Object) -> None:
        """helm-controller upgrades a release that it did not make, once, with its own labels."""
        name = text(item, "spec", "releaseName")
        origin: Object = dict(zip(ORIGIN_LABELS, (name_of(item), namespace_of(item)), strict=True))
        values = json_of(self._releases.history(name)[-1])["config"]
        revision = self._releases.sync(name, values, writer=ADOPTER, origin=origin)
        self._ready(item, history=[{"version": revision}])

    def _ready(self, item: Object, **status: Yaml) -> None:
        observed = number(item, "metadata", "generation")
        condition: Yaml = {"type": "Ready", "status": "True", "reason": "ReconciliationSucceeded", "message": "done"}
        self._model.store({**item, "status": {"observedGeneration": observed, "conditions": [condition], **status}})


def _tree() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Recordings().text("tree.json"))
    return found
