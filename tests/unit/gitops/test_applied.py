"""What kustomize-controller owns of a live object, held against the model."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from gitops.applied import MANAGER, differences

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Service",
    "metadata": {"name": "a", "namespace": "b", "labels": {"own": "x"}},
    "spec": {
        "selector": {"app": "a"}, "externalIPs": ["10.0.0.1", "10.0.0.2"], "type": None, "emptied": [],
        "ports": [{"name": "dns", "port": 53}, {"name": "tcp", "port": 53, "protocol": "TCP"}],
    },
}  # fmt: skip
OWNED: dict[str, Any] = {
    "f:metadata": {
        "f:labels": {
            "f:own": {}, "f:kustomize.toolkit.fluxcd.io/name": {}, "f:kustomize.toolkit.fluxcd.io/namespace": {},
        }
    },
    "f:spec": {
        "f:selector": {}, "f:externalIPs": {'v:"10.0.0.1"': {}, 'v:"10.0.0.2"': {}},
        "f:ports": {
            'k:{"port":53,"protocol":"UDP"}': {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}},
            'k:{"port":53,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}},
        },
    },
}  # fmt: skip


def live() -> dict[str, Any]:
    """As the API server completes the model; of other writers something else."""
    return {
        **copy.deepcopy(MODEL),
        "metadata": {
            "name": "a", "namespace": "b", "uid": "1",
            "labels": {"own": "x", "kustomize.toolkit.fluxcd.io/name": "k", "theirs": "y"},
            "managedFields": [
                {"manager": MANAGER, "operation": "Apply", "fieldsV1": copy.deepcopy(OWNED)},
                {"manager": MANAGER, "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
                {"manager": "other", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:theirs": {}}}}},
            ],
        },
        "spec": {
            **copy.deepcopy(MODEL["spec"]), "type": "ClusterIP", "clusterIP": "10.1.1.1",
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    }  # fmt: skip


def test_defaults_other_writers_and_owner_labels_are_no_difference() -> None:
    model = copy.deepcopy(MODEL)
    model["spec"]["ports"][0]["protocol"] = "UDP"
    assert differences(model, live()) == []


def without_model_key(model: dict[str, Any], _: dict[str, Any]) -> None:
    del model["metadata"]["labels"]


def with_model_key(model: dict[str, Any], _: dict[str, Any]) -> None:
    model["spec"]["sessionAffinity"] = "None"


def with_other_value(_: dict[str, Any], found: dict[str, Any]) -> None:
    found["spec"]["selector"] = {"app": "z"}


def with_fewer_items(model: dict[str, Any], _: dict[str, Any]) -> None:
    model["spec"]["externalIPs"].pop()
    model["spec"]["ports"].pop()


def with_more_items(model: dict[str, Any], _: dict[str, Any]) -> None:
    model["spec"]["externalIPs"].append("10.0.0.3")


def with_nobody(_: dict[str, Any], found: dict[str, Any]) -> None:
    found["metadata"]["managedFields"] = []


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (without_model_key, ["metadata.labels is applied, and not in the model"]),
        (with_model_key, ["spec.sessionAffinity is in the model, and not applied"]),
        (with_other_value, ['spec.selector is {"app": "z"}, {"app": "a"} is wanted']),
        (
            with_fewer_items,
            ['spec.externalIPs has "10.0.0.2", which is not in the model',
             "spec.ports.[53,TCP] is applied, and not in the model"],
        ),
        (with_more_items, ['spec.externalIPs: "10.0.0.3" is in the model, and not applied']),
        (with_nobody, ["kustomize-controller has applied it 0 times, once is wanted"]),
    ],
)  # fmt: skip
def test_a_difference_is_named(change: Callable[[dict[str, Any], dict[str, Any]], None], seen: list[str]) -> None:
    model, found = copy.deepcopy(MODEL), live()
    model["spec"]["ports"][0]["protocol"] = "UDP"
    change(model, found)
    assert differences(model, found) == seen


def test_a_key_that_the_api_completed_is_no_difference() -> None:
    model, found = copy.deepcopy(MODEL), live()
    model["spec"]["ports"] = [{"name": "tcp", "port": 53}]
    fields = found["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:ports"]
    del fields['k:{"port":53,"protocol":"UDP"}']
    assert differences(model, found) == []
