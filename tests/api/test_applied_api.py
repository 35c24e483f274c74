"""The comparison of the model with what a server-side apply owns, by what a real API server makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootstrap.host.objects import Object, mapping, name_of, namespace_of
from gitops.applied import MANAGER, differences

if TYPE_CHECKING:
    from kube.lightkube_cluster import LightkubeCluster

LABELS = {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
CONTAINER: dict[str, Any] = {
    "name": "c", "image": "i", "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}],
    "env": [{"name": "A", "value": "1"}], "args": ["--one", "--two"], "resources": {"limits": {"memory": "64Mi"}},
}  # fmt: skip
MODEL: list[Object] = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "applied", "labels": {"own": "x"}}},
    {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "applied"},
        "data": {"A": "1", "b.yaml": "c: 2\n"},
    },
    {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "applied"},
        "spec": {
            "selector": {"app": "a"}, "externalIPs": ["10.0.0.1"],
            "ports": [{"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53, "targetPort": "dns"}],
        },
    },
    {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "a", "namespace": "applied", "annotations": None},
        "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [CONTAINER], "tolerations": [{"operator": "Exists"}], "volumes": []},
            },
        },
    },
]  # fmt: skip


def test_what_was_applied_differs_in_nothing_and_a_change_is_seen(cluster: LightkubeCluster) -> None:
    applied: list[Object] = [
        {**item, "metadata": {**mapping(item, "metadata"), "labels": {**mapping(item, "metadata", "labels"), **LABELS}}}
        for item in MODEL
    ]
    cluster.apply(applied, field_manager=MANAGER)
    found: list[Object] = []
    for item in MODEL:
        live = cluster.get((str(item["apiVersion"]), str(item["kind"])), name_of(item), namespace_of(item))
        assert live is not None
        found.append(live)
    assert {name: differences(*pair) for name, *pair in zip("ncsd", MODEL, found, strict=True)} == {
        "n": [], "c": [], "s": [], "d": [],
    }  # fmt: skip
    theirs: Object = {**MODEL[1], "data": {"A": "2", "C": "3"}}
    assert differences(theirs, found[1]) == [
        'data.A is "1", "2" is wanted', "data.b.yaml is applied, and not in the model",
        "data.C is in the model, and not applied",
    ]  # fmt: skip
