"""The tree that the lab's cluster is handed over to, with the real kustomize and helm."""

from __future__ import annotations

import pytest

from bootstrap.host.objects import Object, dig, mapping, name_of, objects, text
from bootstrap.host.yaml_io import load_all, load_file
from gitops import releases
from gitops.tree import Name, Tree
from tests.unit.tree.rendered import ROOT, Rendered

PODS = {"DaemonSet", "Deployment", "StatefulSet", "Job"}
WORKLOADS = {
    "cilium": {"DaemonSet/cilium", "Deployment/cilium-operator"},
    "coredns": {"Deployment/coredns"},
    "flux-operator": {"Deployment/flux-operator"},
    "flux-instance": set(),
}


def test_every_folder_with_a_kustomization_belongs_to_the_tree(tree: Tree) -> None:
    folders = {
        str(file.parent.relative_to(ROOT))
        for base in ("kubernetes/clusters/lab", "kubernetes/infrastructure")
        for file in (ROOT / base).rglob("kustomization.yaml")
    }
    assert {one.path for one in tree.kustomizations} == folders


def test_every_child_waits_prunes_and_substitutes(tree: Tree) -> None:
    for one in tree.kustomizations[1:]:
        spec = mapping(one.item, "spec")
        assert spec["prune"] is True, one.name
        assert spec["wait"] or spec.get("healthChecks"), one.name
        assert not (spec["wait"] and spec.get("healthChecks")), f"{one.name}: Flux ignores its health checks"
        assert text(spec, "timeout"), one.name
        assert text(spec, "postBuild", "substituteFrom", 0, "name") == "cluster-settings", one.name
        assert one.name.namespace == "flux-system"


def test_nothing_in_the_tree_refers_to_another_namespace(tree: Tree) -> None:
    for _, item in tree.objects():
        for reference in _references(item):
            assert reference.get("namespace") in {None, mapping(item, "metadata")["namespace"]}, name_of(item)


def test_each_release_is_adopted_under_the_name_that_helmfile_gives_it(tree: Tree) -> None:
    for one in releases.releases(tree):
        assert one.name == one.release_name


def test_settings_hold_no_variables() -> None:
    (settings,) = load_file(ROOT / "kubernetes/clusters/lab/cluster-settings.yaml")
    for key, value in mapping(settings, "data").items():
        assert isinstance(value, str), key
        assert "${" not in value, f"{key}: substitution is one pass"


@pytest.mark.parametrize("release", sorted(WORKLOADS))
def test_every_pod_carries_the_chart_so_that_a_changed_version_would_roll_it(
    rendered: dict[str, Rendered], release: str
) -> None:
    one = rendered[release]
    pods = {f"{item['kind']}/{name_of(item)}": item for item in one.objects if item["kind"] in PODS}
    assert pods.keys() == WORKLOADS[release]
    for item in pods.values():
        label = text(item, "spec", "template", "metadata", "labels", "helm.sh/chart")
        assert label == f"{one.chart.name}-{one.chart.version}"


def test_cilium_reaches_the_api_server_by_the_clusters_endpoint(rendered: dict[str, Rendered]) -> None:
    containers = [
        container
        for item in rendered["cilium"].objects
        if item["kind"] in PODS
        for container in objects(item, "spec", "template", "spec", "containers")
    ]
    assert len(containers) == 3
    for container in containers:
        environment = {text(entry, "name"): text(entry, "value") for entry in objects(container, "env")}
        assert environment["KUBERNETES_SERVICE_HOST"] == "lab-k8s.monosense.io"
        assert environment["KUBERNETES_SERVICE_PORT"] == "6443"


def test_dns_has_the_address_and_the_label_that_everybody_looks_for(rendered: dict[str, Rendered]) -> None:
    by_kind = {str(item["kind"]): item for item in rendered["coredns"].objects}
    service, deployment = by_kind["Service"], by_kind["Deployment"]
    assert (name_of(service), text(service, "spec", "clusterIP")) == ("kube-dns", "10.253.0.10")
    labels = mapping(deployment, "spec", "template", "metadata", "labels")
    assert labels["k8s-app"] == "kube-dns"
    assert mapping(service, "spec", "selector").items() <= labels.items()


def test_the_corefile_answers_for_the_cluster_and_forwards_the_rest(rendered: dict[str, Rendered]) -> None:
    (config,) = [item for item in rendered["coredns"].objects if item["kind"] == "ConfigMap"]
    corefile = text(config, "data", "Corefile")
    assert corefile.startswith("dns://.:53 {\n")
    for line in ("kubernetes cluster.local in-addr.arpa ip6.arpa {", "forward . /etc/resolv.conf", "ready"):
        assert line in [part.strip() for part in corefile.splitlines()]


def test_flux_instance_names_version_components_and_sync(rendered: dict[str, Rendered]) -> None:
    (instance,) = rendered["flux-instance"].objects
    spec = mapping(instance, "spec")
    assert mapping(spec, "distribution") == {"version": "2.7.3", "registry": "ghcr.io/fluxcd", "artifact": None}
    assert spec["components"] == ["source-controller", "kustomize-controller", "helm-controller"]
    assert mapping(spec, "sync") == {
        "kind": "GitRepository",
        "interval": "1m",
        "url": "https://github.com/monosense-io/k8s-gitops.git",
        "ref": "refs/heads/main",
        "path": "kubernetes/clusters/lab",
    }


def test_flux_controllers_get_each_argument_once(rendered: dict[str, Rendered]) -> None:
    (instance,) = rendered["flux-instance"].objects
    assert _added_arguments(instance) == {
        "source-controller": ["--requeue-dependency=5s"],
        "kustomize-controller": [
            "--no-cross-namespace-refs=true",
            "--requeue-dependency=5s",
            "--no-remote-bases=true",
            "--override-manager=firstlight",
        ],
        "helm-controller": [
            "--no-cross-namespace-refs=true",
            "--requeue-dependency=5s",
            "--feature-gates=DisableChartDigestTracking=true",
        ],
    }


def test_first_resources_hold_references_instead_of_secrets() -> None:
    documents = [item for item in load_file(ROOT / "bootstrap/resources.yaml") if isinstance(item, dict)]
    secrets = [item for item in documents if item["kind"] == "Secret"]
    assert [name_of(item) for item in secrets] == ["onepassword-connect-token"]
    for item in secrets:
        assert "data" not in item
        for value in mapping(item, "stringData").values():
            assert str(value).startswith(("op://", "secret://"))
    namespaces = {name_of(item) for item in documents if item["kind"] == "Namespace"}
    assert {text(item, "metadata", "namespace") for item in secrets} <= namespaces
    for item in documents:
        # Flux compares without case.
        assert text(item, "metadata", "annotations", "kustomize.toolkit.fluxcd.io/prune").casefold() == "disabled"


def test_every_namespace_of_a_release_is_there_before_it(tree: Tree) -> None:
    made = {name_of(item) for item in load_file(ROOT / "bootstrap/resources.yaml") if isinstance(item, dict)}
    assert {one.namespace for one in releases.releases(tree)} <= made | {"kube-system"}


def test_health_checks_name_objects_that_the_releases_make(tree: Tree, rendered: dict[str, Rendered]) -> None:
    made = {(str(item["kind"]), name_of(item)) for one in rendered.values() for item in one.objects}
    made |= {("HelmRelease", one.name) for one in releases.releases(tree)}
    for one in tree.kustomizations:
        for check in objects(one.item, "spec", "healthChecks"):
            assert (text(check, "kind"), text(check, "name")) in made


def test_the_root_is_no_object_of_the_tree(tree: Tree) -> None:
    assert tree.find("kustomize.toolkit.fluxcd.io", "Kustomization", Name("flux-system", "flux-system")) is None


def _references(item: Object) -> list[Object]:
    places = (("spec", "chartRef"), ("spec", "sourceRef"), ("spec", "chart", "spec", "sourceRef"))
    return [found for place in places if isinstance(found := dig(item, *place), dict)]


def _added_arguments(instance: Object) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for patch in objects(instance, "spec", "kustomize", "patches"):
        operations = load_all(text(patch, "patch"), source="patch")[0]
        for operation in operations if isinstance(operations, list) else []:
            assert text(operation, "op") == "add"
            assert text(operation, "path").endswith("/args/-")
            for name in text(patch, "target", "name").strip("()").split("|"):
                found.setdefault(name, []).append(text(operation, "value"))
    return found
