"""Flux in the model: from the FluxInstance to every Kustomization Ready and every release taken over.

What its objects say in place of that they are Ready is a fault of the world, `flux`: by `Kind name` the fields of
`Fault`. `flux told` counts how often each of them was said.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bootstrap.host.objects import Object, mapping, name_of, namespace_of, number, objects, text
from gitops.handover import FLUX_INSTANCE, GIT_REPOSITORY, HELM_RELEASE, KUSTOMIZATION
from gitops.tree import FLUX_SYSTEM
from kube.adoption import ADOPTER
from kube.cluster import DEPLOYMENT
from kube.revisions import ORIGIN_LABELS
from tests.scripted.helm import json_of
from tests.scripted.recordings import Recordings

if TYPE_CHECKING:
    from bootstrap.host.yaml_io import Yaml
    from tests.scripted.helm import Releases
    from tests.scripted.machines import Machines
    from tests.scripted.model import Model


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What an object says in place of that it is Ready.

    Attributes:
        status: of its condition Ready.
        reason: of its conditions.
        message: of its conditions.
        also: further conditions that are True.
        unobserved: by how many generations its status is behind.
        needs: on what it depends, in place of what the files say; it then never begins.
        lasts: seconds after which it is Ready; 0 is for good.
        regresses: seconds for which it is Ready before it says this.
    """

    status: str = "False"
    reason: str = "ReconciliationSucceeded"
    message: str = "done"
    also: tuple[str, ...] = ()
    unobserved: int = 0
    needs: str = ""
    lasts: float = 0.0
    regresses: float = 0.0


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
        model.hears({
            "instance": self._instance, "source": self._source, "kustomization": self._kustomization,
            "flux fault": self._break, "flux mended": self._mend,
        })  # fmt: skip

    def _later(self, name: str, what: str = "") -> None:
        self._model.after(self._machines.delays.flux, name, what)

    def _instance(self, _: str) -> None:
        operator = self._model.find(DEPLOYMENT, "flux-operator", FLUX_SYSTEM) or {}
        if not number(operator, "status", "availableReplicas"):
            self._later("instance")
            return
        instance = self._model.find(FLUX_INSTANCE, "flux", FLUX_SYSTEM) or {}
        version = text(instance, "spec", "distribution", "version")
        if not self._ready(instance, lastAppliedRevision=f"v{version}@sha256:0123456789abcdef"):
            self._later("instance")
            return
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
        if self._ready(source, artifact={"revision": self._revision}):
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
            labelled = {**item, "metadata": {**item["metadata"], "labels": labels}}
            stored = self._model.store(self._with_other_needs(labelled))
            if (item["apiVersion"], item["kind"]) == HELM_RELEASE:
                self._take_over(stored)
        item = self._model.find(KUSTOMIZATION, name, FLUX_SYSTEM) or {}
        if self._ready(item, lastAppliedRevision=self._revision):
            self._begin_after(name)

    def _begin_after(self, name: str) -> None:
        every = {name_of(other): other for other in self._model.select(KUSTOMIZATION)}
        for other in every.values():
            needs = {text(need, "name") for need in objects(other, "spec", "dependsOn")}
            begun_by = needs or {text(other, "metadata", "labels", "kustomize.toolkit.fluxcd.io/name")}
            if name in begun_by and "status" not in other and all("status" in every.get(need, {}) for need in needs):
                self._later("kustomization", name_of(other))

    def _take_over(self, item: Object) -> None:
        """helm-controller upgrades a release that it did not make, once, with its own labels."""
        name = text(item, "spec", "releaseName")
        fault = self._fault(item)
        if fault and fault.status == "False" and not fault.regresses:
            self._say(item, fault)
            return
        origin: Object = dict(zip(ORIGIN_LABELS, (name_of(item), namespace_of(item)), strict=True))
        values = json_of(self._releases.history(name)[-1])["config"]
        self._releases.begin(name, values, writer=ADOPTER, origin=origin)
        revision = self._releases.finish(name, origin=origin)
        self._ready(item, history=[{"version": revision}])

    def upgrade(self, release: str, values: Object) -> None:
        """Let helm-controller upgrade a release because Git changed."""
        origin: Object = dict.fromkeys(ORIGIN_LABELS, release)
        revision = self._releases.sync(release, values, writer=ADOPTER, origin=origin)
        (item,) = (item for item in self._model.select(HELM_RELEASE) if text(item, "spec", "releaseName") == release)
        self._ready(item, history=[{"version": revision}])

    def disturb(self) -> None:
        """Let everything that has a fault say so now, or once it was Ready for a while longer."""
        for what, fault in self._model.get("flux", {}).items():
            if "regresses" in fault:
                self._model.after(fault["regresses"], "flux fault", what)
            else:
                self._break(what)

    def _ready(self, item: Object, **status: Yaml) -> bool:
        """Let an object be Ready, or say what its fault is; true when what waits for it may begin."""
        fault = self._fault(item)
        if fault and not fault.regresses:
            self._say(item, fault, **status)
            return False
        self._say(item, Fault(status="True"), **status)
        if fault:
            self._model.after(fault.regresses, "flux fault", _what(item))
        return True

    def _break(self, what: str) -> None:
        item = self._found(what)
        fault = self._fault(item)
        assert fault, what
        self._say(item, fault, **mapping(item, "status"))

    def _mend(self, what: str) -> None:
        faults = self._model.get("flux")
        item, fault = self._found(what), Fault(**faults.pop(what))
        self._model.put("flux", faults)
        self._ready(item, **mapping(item, "status"))
        kind, name = what.split()
        if fault.regresses:
            return
        if kind == GIT_REPOSITORY[1]:
            self._later("kustomization", FLUX_SYSTEM)
        elif kind == KUSTOMIZATION[1]:
            self._begin_after(name)

    def _found(self, what: str) -> Object:
        kind, name = what.split()
        kinds = {one[1]: one for one in (FLUX_INSTANCE, GIT_REPOSITORY, HELM_RELEASE, KUSTOMIZATION)}
        return next(item for item in self._model.select(kinds[kind]) if name_of(item) == name)

    def _fault(self, item: Object) -> Fault | None:
        fault = self._model.get("flux", {}).get(_what(item))
        return Fault(**fault) if fault and "needs" not in fault else None

    def _with_other_needs(self, item: Object) -> Object:
        fault = self._model.get("flux", {}).get(_what(item), {})
        if "needs" not in fault:
            return item
        self._count(item)
        return {**item, "spec": {**mapping(item, "spec"), "dependsOn": [{"name": fault["needs"]}]}}

    def _say(self, item: Object, fault: Fault, **status: Yaml) -> None:
        observed = number(item, "metadata", "generation") - fault.unobserved
        about: Object = {"reason": fault.reason, "message": fault.message, "observedGeneration": observed}
        conditions: Yaml = [
            {"type": "Ready", "status": fault.status, **about},
            *({"type": name, "status": "True", **about} for name in fault.also),
        ]
        self._model.store({**item, "status": {**status, "observedGeneration": observed, "conditions": conditions}})
        if fault != Fault(status="True"):
            self._count(item)
        if fault.lasts:
            self._model.after(fault.lasts, "flux mended", _what(item))

    def _count(self, item: Object) -> None:
        told = self._model.get("flux told", {})
        self._model.put("flux told", {**told, _what(item): told.get(_what(item), 0) + 1})


def _what(item: Object) -> str:
    return f"{item['kind']} {name_of(item)}"


def _tree() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Recordings().text("tree.json"))
    return found
