"""The cluster protocol against a real API server."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.objects import mapping, text
from bootstrap.host.secret import Secret
from kube.cluster import CONFIG_MAP, NAMESPACE, EventType, Outcome, Standing
from kube.errors import KubeError, KubeErrorKind
from kube.lightkube_cluster import LightkubeCluster
from tests.api import pki

if TYPE_CHECKING:
    from bootstrap.host.objects import Object
    from tests.api.conftest import ApiServer


def config_map(name: str, namespace: str = "default", **data: str) -> Object:
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
        "data": dict(data),
    }  # fmt: skip


def custom_resource_definition(plural: str, *, extra: str = "") -> Object:
    properties: Object = {
        "replicas": {"type": "integer", "default": 0, "minimum": 0},
        "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
        "on": {"type": "boolean", "default": False, "description": ""},
    }
    if extra:
        properties[extra] = {"type": "string", "enum": ["=", "!="]}
    kind = plural.rstrip("s").capitalize()
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.test.firstlight", "creationTimestamp": None, "annotations": {"made": "by"}},
        "spec": {
            "group": "test.firstlight",
            "names": {"kind": kind, "plural": plural},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": properties, "required": []}},
                    }},
                }
            ],
        },
        "status": {"acceptedNames": {"kind": "", "plural": ""}, "conditions": [], "storedVersions": []},
    }  # fmt: skip


def test_it_is_ready_and_has_a_version_and_an_identity(cluster: LightkubeCluster) -> None:
    assert cluster.ready().holds
    assert cluster.version().startswith("v")
    assert len(cluster.identity()) == 36
    assert {NAMESPACE, ("apps/v1", "Deployment")} <= cluster.discover()


def test_a_second_apply_writes_nothing(cluster: LightkubeCluster, api_server: ApiServer) -> None:
    namespace: Object = {
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "twice", "labels": {"a": "b"}, "annotations": {"c": "d"}},
    }  # fmt: skip
    secret: Object = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "twice"},
        "type": "Opaque", "stringData": {"token": "planted"},
    }  # fmt: skip
    service: Object = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "twice"},
        "spec": {"selector": {"a": "b"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }  # fmt: skip
    wanted = [
        secret,
        config_map("one", "twice", a="1"),
        service,
        namespace,
        custom_resource_definition("twices"),
    ]
    first = cluster.apply(wanted)
    assert {result.outcome for result in first} == {Outcome.CREATED}
    written = len(api_server.writes("firstlight"))
    second = cluster.apply(copy.deepcopy(wanted))
    assert [result.outcome for result in second] == [Outcome.UNCHANGED] * 5
    assert [result.resource_version for result in first[:4]] == [result.resource_version for result in second[:4]]
    assert len(api_server.writes("firstlight")) == written


@pytest.mark.parametrize("drop", [True, False])
def test_a_changed_schema_is_written(cluster: LightkubeCluster, *, drop: bool) -> None:
    plural = "drops" if drop else "adds"
    smaller, larger = custom_resource_definition(plural), custom_resource_definition(plural, extra="operator")
    before, after = (larger, smaller) if drop else (smaller, larger)
    cluster.apply([before])
    assert [found.standing for found in cluster.compare([after])] == [Standing.DIFFERENT]
    assert [result.outcome for result in cluster.apply([after])] == [Outcome.CHANGED]
    assert [result.outcome for result in cluster.apply([after])] == [Outcome.UNCHANGED]


def test_a_dropped_field_goes_and_somebody_elses_stays(cluster: LightkubeCluster) -> None:
    cluster.apply([config_map("fields", a="1", b="2")])
    cluster.apply([config_map("fields", c="3")], field_manager="somebody")
    result = cluster.apply([config_map("fields", a="1")])
    assert result[0].outcome is Outcome.CHANGED
    assert mapping(cluster.get(CONFIG_MAP, "fields", "default"), "data") == {"a": "1", "c": "3"}
    assert cluster.apply([config_map("fields", a="1")])[0].outcome is Outcome.UNCHANGED


def test_a_conflict_names_field_and_manager_and_force_takes_it(cluster: LightkubeCluster) -> None:
    cluster.apply([config_map("conflict", a="1")], field_manager="somebody")
    with pytest.raises(KubeError) as caught:
        cluster.apply([config_map("conflict", a="2")])
    assert caught.value.kind is KubeErrorKind.CONFLICT
    assert ".data.a" in caught.value.cause
    assert "somebody" in caught.value.cause
    assert cluster.apply([config_map("conflict", a="2")], force=True)[0].outcome is Outcome.CHANGED


def test_what_flux_took_over_is_left_to_it(cluster: LightkubeCluster) -> None:
    cluster.apply([config_map("ceded", a="from-git")], field_manager="kustomize-controller")
    assert cluster.apply([config_map("ceded", a="ours")])[0].outcome is Outcome.CEDED
    assert mapping(cluster.get(CONFIG_MAP, "ceded", "default"), "data") == {"a": "from-git"}


def test_an_unknown_field_is_refused(cluster: LightkubeCluster) -> None:
    with pytest.raises(KubeError) as caught:
        cluster.apply([{**config_map("typo"), "dta": {}}])
    assert caught.value.kind is KubeErrorKind.INVALID
    assert "dta" in caught.value.cause
    assert not caught.value.transient


def test_what_is_not_there_is_nothing(cluster: LightkubeCluster) -> None:
    assert cluster.get(CONFIG_MAP, "missing", "default") is None
    assert cluster.get(("nowhere.test/v1", "Nothing"), "missing", "default") is None
    assert cluster.list_objects(("nowhere.test/v1", "Nothing")) == []
    with pytest.raises(KubeError, match="is not served"):
        cluster.apply([{"apiVersion": "nowhere.test/v1", "kind": "Nothing", "metadata": {"name": "x"}}])


def test_a_list_is_paged_and_selected(cluster: LightkubeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kube.lightkube_cluster.PAGE", 3)
    wanted = [config_map(f"page-{number}", "kube-public", n=str(number)) for number in range(7)]
    for item in wanted:
        mapping(item, "metadata")["labels"] = {"page": "yes"}
    cluster.apply(wanted)
    found = cluster.list_objects(CONFIG_MAP, "kube-public", labels="page=yes")
    assert sorted(text(item, "metadata", "name") for item in found) == [f"page-{number}" for number in range(7)]
    assert {text(item, "kind") for item in found} == {"ConfigMap"}


def test_a_watch_shows_what_is_there_then_changes(cluster: LightkubeCluster) -> None:
    cluster.apply([config_map("watched", a="1")])
    seen = []
    for event in cluster.watch(CONFIG_MAP, "default", name="watched", seconds=20):
        seen.append((event.type, text(event.item, "data", "a")))
        if event.type is EventType.IDLE and len(seen) == 2:
            cluster.apply([config_map("watched", a="2")])
        if event.type is EventType.MODIFIED:
            break
    assert seen[0] == (EventType.ADDED, "1")
    assert seen[-1] == (EventType.MODIFIED, "2")


def test_a_foreign_authority_is_told_from_an_absent_server(api_server: ApiServer) -> None:
    stranger = pki.issue("stranger")
    client = pki.issue("tester", group="system:masters", authority=stranger)
    foreign = Secret(pki.kubeconfig(api_server.server, stranger, client), "foreign")
    unknown = Secret(pki.kubeconfig(api_server.server, api_server.authority, client), "unknown user")
    assert failure(LightkubeCluster.connect(foreign)).kind is KubeErrorKind.FOREIGN
    assert failure(LightkubeCluster.connect(unknown)).kind in {KubeErrorKind.FORBIDDEN, KubeErrorKind.FOREIGN}
    absent = failure(LightkubeCluster.connect(api_server.kubeconfig, server="https://127.0.0.1:9"))
    assert absent.kind is KubeErrorKind.UNREACHABLE
    assert absent.transient


def failure(cluster: LightkubeCluster) -> KubeError:
    with contextlib.closing(cluster), pytest.raises(KubeError) as caught:
        cluster.version()
    return caught.value


def test_a_dry_run_says_what_an_apply_would_do_and_stores_nothing(
    cluster: LightkubeCluster, api_server: ApiServer
) -> None:
    cluster.apply([config_map("tried", a="1"), config_map("tried-equal", a="1")])
    namespace: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tried"}}
    wanted = [
        namespace,
        config_map("inside", "tried", a="1"),
        config_map("tried", a="2", b="3"),
        config_map("tried-equal", a="1"),
        config_map("tried-absent", a="1"),
    ]
    tried = cluster.dry_run(wanted)
    assert [(one.standing, one.differences) for one in tried] == [
        (Standing.ABSENT, ()),
        (Standing.ABSENT, ()),
        (Standing.DIFFERENT, ("data.a", "data.b")),
        (Standing.EQUAL, ()),
        (Standing.ABSENT, ()),
    ]
    assert cluster.get(NAMESPACE, "tried") is None
    assert cluster.get(CONFIG_MAP, "tried-absent", "default") is None
    assert mapping(cluster.get(CONFIG_MAP, "tried", "default"), "data") == {"a": "1"}
    sent = [write for write in api_server.writes("firstlight") if "tried-absent" in write]
    assert sent
    assert all("dryRun=All" in write for write in sent)


@pytest.mark.parametrize("dry", [True, False])
def test_what_an_apply_would_refuse_a_dry_run_refuses(cluster: LightkubeCluster, *, dry: bool) -> None:
    # The two share an API server, and the last line of one takes the field from somebody for good.
    name = f"refused-{'dry' if dry else 'wet'}"
    cluster.apply([config_map(name, a="1")], field_manager="somebody")
    call = cluster.dry_run if dry else cluster.apply
    for wanted, kind in (
        (config_map(name, a="2"), KubeErrorKind.CONFLICT),
        ({**config_map("misspelled"), "dta": {}}, KubeErrorKind.INVALID),
        (config_map("nowhere", "no-such-namespace"), KubeErrorKind.NOT_FOUND),
    ):
        with pytest.raises(KubeError) as caught:
            call([wanted])
        assert caught.value.kind is kind
    assert call([config_map(name, a="2")], force=True)
