"""kubeconform with schemas from a real API server's OpenAPI document and from real CRDs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.objects import mapping
from bootstrap.host.secret import Redactor
from gitops.tree import Kustomization, Name, Tree
from gitops.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bootstrap.host.objects import Object
    from bootstrap.host.yaml_io import Yaml
    from kube.lightkube_cluster import LightkubeCluster

DEFINITION: Object = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.test.firstlight"},
    "spec": {
        "group": "test.firstlight", "names": {"kind": "Widget", "plural": "widgets"}, "scope": "Namespaced",
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "required": ["spec"],
            "properties": {
                "metadata": {"type": "object"},
                "spec": {"type": "object", "required": ["name"], "properties": {
                    "name": {"type": "string"},
                    "size": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
                    "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
                    "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                    "empty": {"type": "object"},
                    "maybe": {"type": "string", "nullable": True},
                }, "oneOf": [{"required": ["size"]}, {"properties": {"port": {}}, "required": ["port"]}]},
            },
        }}}],
    },
}  # fmt: skip
DEPLOYMENT: Object = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "creationTimestamp": None},
    "spec": {
        "replicas": 1, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{
            "name": "c", "image": "i", "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": 1}},
            "livenessProbe": {"httpGet": {"port": "http"}},
        }]}},
    },
}  # fmt: skip


def deployment(**spec: Yaml) -> Object:
    return {**DEPLOYMENT, "spec": {**mapping(DEPLOYMENT, "spec"), **spec}}


def widget(**spec: Yaml) -> Object:
    return {
        "apiVersion": "test.firstlight/v1", "kind": "Widget", "metadata": {"name": "w"},
        "spec": {"name": "n", **(spec if "port" in spec else {"size": 1, **spec})},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        (DEPLOYMENT, ""),
        (deployment(replica=2), "spec: additional properties 'replica'"),
        (deployment(replicas="two"), "spec.replicas"),
        ({**DEPLOYMENT, "metadata": {"name": "d", "lables": "x"}}, "metadata: additional properties 'lables'"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}, ""),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": 1}}, "data.a"),
        ({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c"}, "strinData": {}}, "strinData"),
        (widget(), ""),
        (widget(port=80), ""),
        (widget(maybe=None, anything={"x": {"y": 1}}, labels={"a": "b"}, empty={}), ""),
        (widget(nam="x"), "spec: additional properties 'nam'"),
        (widget(empty={"x": 1}), "additional properties 'x'"),
        (widget(size=0), "size"),
        (widget(labels={"a": 1}), "labels.a"),
        ({**widget(), "metadata": {"name": "w", "nmespace": "x"}}, "nmespace"),
        ({**widget(), "apiVersion": "test.firstlight/v2"}, "could not find schema"),
        (DEFINITION, ""),
    ],
)
def test_an_object_is_valid_or_named(
    tmp_path: Path, cluster: LightkubeCluster, programs: Callable[[str], Path], *, item: Object, complaint: str
) -> None:
    kustomization = Kustomization(Name("flux-system", "x"), "x", {}, "x", objects=(item,))
    found = validate(
        Tree(tmp_path, "lab", (kustomization,)),
        runner=ShCommandRunner(Redactor()),
        kubeconform=programs("kubeconform"),
        openapi=cluster.openapi,
        definitions=[DEFINITION],
    )
    assert found.holds is not bool(complaint), found.seen
    assert complaint in found.seen
