"""What every core release must bring up: each part is broken alone, and the gate of its release alone fails."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from gitops.handover import FLUX_INSTANCE
from kube.cluster import DAEMON_SET, DEPLOYMENT, NODE, POD
from phases import releases
from phases.refs import CORE_RELEASES, LAST, NETWORK
from talos.probe import State
from tests.unit.phases import rack as racks
from tests.unit.phases.rack import Rack

if TYPE_CHECKING:
    from pathlib import Path

    from gitops.tree import Tree
    from kube.cluster import KindRef
    from phases.refs import CoreRelease

KINDS = {"Deployment": DEPLOYMENT, "DaemonSet": DAEMON_SET}
WORKLOADS = [
    *((one, "DaemonSet", name) for one in CORE_RELEASES for name in one.daemon_sets),
    *((one, "Deployment", name) for one in CORE_RELEASES for name in one.deployments),
]


@dataclass
class Live:
    """What is in the cluster, by kind, namespace and name."""

    objects: dict[tuple[KindRef, str, str], Any]

    def get(self, kind: KindRef, name: str, namespace: str) -> Any:
        return self.objects.get((kind, namespace, name))

    def list_objects(self, kind: KindRef, _namespace: str = "", **_: str) -> list[Any]:
        return [item for (other, *_), item in self.objects.items() if other == kind]


def workload(kind: str, namespace: str, name: str) -> Any:
    counts = ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable", "updatedReplicas")
    return {
        "kind": kind, "metadata": {"name": name, "namespace": namespace, "generation": 2},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}},
        "status": {"observedGeneration": 2, **dict.fromkeys((*counts, "availableReplicas"), 1)},
    }  # fmt: skip


def conditioned(kind: KindRef, name: str, status: str, **more: Any) -> Any:
    condition = {"type": "Ready", "status": status, "message": "it says why", "observedGeneration": 1}
    metadata = {"name": name, "namespace": "flux-system", "generation": 1}
    return {
        "apiVersion": kind[0], "kind": kind[1], "metadata": metadata,
        "status": {"observedGeneration": 1, "conditions": [condition], **more},
    }  # fmt: skip


@pytest.fixture
def live() -> Live:
    live = Live({})
    for one, kind, name in WORKLOADS:
        live.objects[KINDS[kind], one.namespace, name] = workload(kind, one.namespace, name)
    live.objects[NODE, "", "cp-1"] = conditioned(NODE, "cp-1", "True")
    instance = conditioned(FLUX_INSTANCE, "flux", "True", lastAppliedRevision="v2.7.3@sha256:0")
    live.objects[FLUX_INSTANCE, "flux-system", "flux"] = instance
    return live


@pytest.fixture
def failing(trees: dict[str, Tree], tmp_path: Path, live: Live) -> Any:
    """Which releases' gates do not hold, with what they say."""
    world = racks.world(Rack(racks.cluster(1), State.OURS), tmp_path)
    ctx: Any = SimpleNamespace(value=lambda _: trees["infra"])
    api: Any = live

    def look() -> dict[str, str]:
        looks = {one.name: releases._look(world, one, api, ctx) for one in CORE_RELEASES}
        return {name: look.seen for name, look in looks.items() if not look.holds}

    assert look() == {}
    return look


@pytest.mark.parametrize(("release", "kind", "name"), WORKLOADS, ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("unavailable", "0 of 1 available; pod x-0 on cp-1: container main: CrashLoopBackOff: back-off"),
        ("old", "1 of 1 available"),
        ("absent", "is not there"),
    ],
    ids=["unavailable", "old", "absent"],
)
def test_a_workload(
    live: Live, failing: Any, *, release: CoreRelease, kind: str, name: str, trouble: str, words: str
) -> None:
    item = live.objects[KINDS[kind], release.namespace, name]
    if trouble == "absent":
        del live.objects[KINDS[kind], release.namespace, name]
    elif trouble == "old":
        item["status"]["observedGeneration"] = 1
    else:
        item["status"] |= {"numberAvailable": 0, "availableReplicas": 0}
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off"}
        live.objects[POD, release.namespace, name] = {
            "metadata": {"name": "x-0"}, "spec": {"nodeName": "cp-1"},
            "status": {"containerStatuses": [{"name": "main", "state": {"waiting": waiting}}]},
        }  # fmt: skip
    said = failing()
    assert list(said) == [release.name]
    assert re.search(f"{kind} {release.namespace}/{name}:? {words}", said[release.name])


def test_a_node(live: Live, failing: Any) -> None:
    live.objects[NODE, "", "cp-1"] = conditioned(NODE, "cp-1", "False")
    said = failing()
    assert list(said) == [NETWORK.name]
    assert "0 of 1 nodes Ready; cp-1: it says why" in said[NETWORK.name]
    del live.objects[NODE, "", "cp-1"]
    assert "0 of 1 nodes Ready; cp-1: not registered" in failing()[NETWORK.name]


@pytest.mark.parametrize(
    ("instance", "words"),
    [
        (None, "FluxInstance flux-system/flux is not there"),
        (conditioned(FLUX_INSTANCE, "flux", "False"), "it says why"),
        (
            conditioned(FLUX_INSTANCE, "flux", "True", lastAppliedRevision="v2.6.0@sha256:0"),
            "FluxInstance flux-system/flux is Ready at v2.6.0@sha256:0, 2.7.3 is wanted",
        ),
    ],
)
def test_the_flux_instance(instance: Any, words: str, live: Live, failing: Any) -> None:
    live.objects[FLUX_INSTANCE, "flux-system", "flux"] = instance
    said = failing()
    assert list(said) == [LAST.name]
    assert words in said[LAST.name]


def test_while_flux_comes_up_the_controller_that_does_not_is_named(live: Live, failing: Any) -> None:
    live.objects[FLUX_INSTANCE, "flux-system", "flux"] = conditioned(FLUX_INSTANCE, "flux", "Unknown")
    for name in ("source-controller", "helm-controller"):
        live.objects[DEPLOYMENT, "flux-system", name] = workload("Deployment", "flux-system", name)
    live.objects[DEPLOYMENT, "flux-system", "source-controller"]["status"]["availableReplicas"] = 0
    said = failing()
    assert list(said) == [LAST.name]
    assert said[LAST.name].endswith("it says why; Deployment flux-system/source-controller: 0 of 1 available")
