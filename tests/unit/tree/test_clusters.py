"""The trees that the clusters are handed over to, with the real kustomize and helm."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.objects import Object, dig, mapping, name_of, objects, sequence, text
from bootstrap.host.yaml_io import load_all, load_file
from gitops import releases
from gitops.tree import KUSTOMIZE_GROUP, Name, Tree, is_kind
from phases.refs import CORE_RELEASES
from tests.unit.tree.rendered import CLUSTERS, ROOT, Rendered

if TYPE_CHECKING:
    from collections.abc import Iterator

PODS = {"DaemonSet", "Deployment", "StatefulSet", "Job"}
# What Talos lets a container ask for; modules are the kernel's own (Talos' guide to Cilium).
TALOS_FORBIDS = "SYS_MODULE"

in_every_cluster = pytest.mark.parametrize("cluster", CLUSTERS)


@pytest.fixture
def tree(trees: dict[str, Tree], cluster: str) -> Tree:
    return trees[cluster]


@pytest.fixture
def rendered(everywhere: dict[str, dict[str, Rendered]], cluster: str) -> dict[str, Rendered]:
    return everywhere[cluster]


@pytest.fixture
def settings(cluster: str) -> Object:
    (found,) = load_file(ROOT / f"kubernetes/clusters/{cluster}/cluster-settings.yaml")
    return mapping(found, "data")


def test_every_component_is_in_some_cluster(trees: dict[str, Tree]) -> None:
    folders = {
        str(file.parent.relative_to(ROOT)) for file in (ROOT / "kubernetes/infrastructure").rglob("kustomization.yaml")
    }
    assert folders <= {one.path for tree in trees.values() for one in tree.kustomizations}


@pytest.mark.parametrize("cluster", ["infra", "apps"])
def test_a_real_cluster_has_every_core_release(tree: Tree) -> None:
    found = {Name(one.namespace, one.name) for one in releases.releases(tree)}
    assert {Name(one.namespace, one.name) for one in CORE_RELEASES} <= found


@in_every_cluster
def test_every_child_prunes_substitutes_and_waits_unless_its_children_do(tree: Tree) -> None:
    for one in tree.kustomizations[1:]:
        spec = mapping(one.item, "spec")
        parent = any(is_kind(item, KUSTOMIZE_GROUP, "Kustomization") for item in one.objects)
        assert spec["prune"] is True, one.name
        assert bool(spec["wait"] or spec.get("healthChecks")) is not parent, one.name
        assert not (spec["wait"] and spec.get("healthChecks")), f"{one.name}: Flux ignores its health checks"
        assert text(spec, "timeout"), one.name
        assert text(spec, "postBuild", "substituteFrom", 0, "name") == "cluster-settings", one.name
        assert one.name.namespace == "flux-system"


@in_every_cluster
def test_nothing_in_the_tree_refers_to_another_namespace(tree: Tree) -> None:
    for _, item in tree.objects():
        for reference in _references(item):
            assert reference.get("namespace") in {None, mapping(item, "metadata")["namespace"]}, name_of(item)


@in_every_cluster
def test_each_release_is_adopted_under_the_name_that_helmfile_gives_it(tree: Tree) -> None:
    for one in releases.releases(tree):
        assert one.name == one.release_name


@in_every_cluster
def test_settings_are_text_and_hold_no_variables(settings: Object) -> None:
    for key, value in settings.items():
        assert isinstance(value, str), key
        assert "${" not in value, f"{key}: substitution is one pass"


@in_every_cluster
def test_the_root_is_no_object_of_the_tree(tree: Tree) -> None:
    assert tree.find(KUSTOMIZE_GROUP, "Kustomization", Name("flux-system", "flux-system")) is None


@in_every_cluster
def test_every_namespace_of_a_release_is_there_before_it(tree: Tree) -> None:
    made = {name_of(item) for item in load_file(ROOT / "bootstrap/resources.yaml") if isinstance(item, dict)}
    assert {one.namespace for one in releases.releases(tree)} <= made | {"kube-system"}


@in_every_cluster
def test_health_checks_name_objects_that_the_releases_make(tree: Tree, rendered: dict[str, Rendered]) -> None:
    made = {(str(item["kind"]), name_of(item)) for one in rendered.values() for item in one.objects}
    made |= {("HelmRelease", one.name) for one in releases.releases(tree)}
    for one in tree.kustomizations:
        for check in objects(one.item, "spec", "healthChecks"):
            assert (text(check, "kind"), text(check, "name")) in made


@in_every_cluster
def test_each_release_brings_the_workloads_that_its_gate_waits_for(rendered: dict[str, Rendered]) -> None:
    for one in CORE_RELEASES:
        if one.name not in rendered:
            continue
        made = {f"{item['kind']}/{name_of(item)}" for item in _lasting(rendered[one.name])}
        wanted = {f"DaemonSet/{name}" for name in one.daemon_sets} | {f"Deployment/{name}" for name in one.deployments}
        assert {name for name in made if name.partition("/")[0] in PODS} == wanted


@in_every_cluster
def test_every_pod_carries_the_chart_so_that_a_changed_version_would_roll_it(rendered: dict[str, Rendered]) -> None:
    for one in rendered.values():
        for item in (item for item in one.objects if item["kind"] in PODS):
            label = text(item, "spec", "template", "metadata", "labels", "helm.sh/chart")
            assert label == f"{one.chart.name}-{one.chart.version}", name_of(item)


@in_every_cluster
def test_releases_bring_no_definitions(rendered: dict[str, Rendered]) -> None:
    kinds = {str(item["kind"]) for one in rendered.values() for item in one.objects}
    assert "CustomResourceDefinition" not in kinds


@in_every_cluster
def test_pods_of_a_restricted_namespace_are_admitted(rendered: dict[str, Rendered]) -> None:
    restricted = {
        text(item, "metadata", "name")
        for item in load_file(ROOT / "bootstrap/resources.yaml")
        if text(item, "metadata", "labels", "pod-security.kubernetes.io/enforce") == "restricted"
    }
    checked = [
        (name_of(item), mapping(item, "spec", "template", "spec"))
        for one in rendered.values()
        for item in one.objects
        if item["kind"] in PODS and text(item, "metadata", "namespace") in restricted
    ]
    assert checked
    for name, pod in checked:
        for container in objects(pod, "containers"):
            allowed = {**mapping(pod, "securityContext"), **mapping(container, "securityContext")}
            assert allowed["runAsNonRoot"] is True, name
            assert allowed["allowPrivilegeEscalation"] is False, name
            assert text(allowed, "seccompProfile", "type") == "RuntimeDefault", name
            assert sequence(allowed, "capabilities", "drop") == ["ALL"], name


@in_every_cluster
def test_cilium_reaches_the_api_server_by_the_clusters_endpoint(
    rendered: dict[str, Rendered], settings: Object
) -> None:
    containers = [
        container
        for item in rendered["cilium"].objects
        if item["kind"] in PODS
        for container in objects(item, "spec", "template", "spec", "containers")
    ]
    assert len(containers) == 3
    for container in containers:
        environment = {text(entry, "name"): text(entry, "value") for entry in objects(container, "env")}
        assert environment["KUBERNETES_SERVICE_HOST"] == settings["K8S_SERVICE_HOST"]
        assert environment["KUBERNETES_SERVICE_PORT"] == "6443"


@in_every_cluster
def test_cilium_asks_for_what_talos_gives(tree: Tree, settings: Object) -> None:
    values = releases.core_values(tree, "cilium")
    granted = mapping(values, "securityContext", "capabilities")
    assert granted
    assert TALOS_FORBIDS not in {name for names in granted.values() if isinstance(names, list) for name in names}
    assert mapping(values, "cgroup") == {"autoMount": {"enabled": False}, "hostRoot": "/sys/fs/cgroup"}
    # A template that makes certificates makes others each time, and Flux would find something to change.
    assert dig(values, "hubble", "tls", "auto", "method") == "cronJob"
    assert dig(values, "ipam", "mode") == "kubernetes"
    assert dig(values, "cluster") == {"name": settings["CLUSTER"], "id": int(str(settings["CLUSTER_ID"]))}


@pytest.mark.parametrize(("cluster", "address"), [("infra", "10.245.0.10"), ("apps", "10.247.0.10")])
def test_coredns_is_as_its_story_wants_it(tree: Tree, rendered: dict[str, Rendered], address: str) -> None:
    values = releases.core_values(tree, "coredns")
    assert releases.release(tree, "coredns").version == "1.38.0"
    assert values["replicaCount"] == 2
    assert dig(values, "topologySpreadConstraints", 0, "labelSelector", "matchLabels", "k8s-app") == "kube-dns"
    assert mapping(values, "resources", "limits") == {"cpu": "200m", "memory": "256Mi"}
    by_name = {(str(item["kind"]), name_of(item)): item for item in rendered["coredns"].objects}
    assert text(by_name["Service", "kube-dns"], "spec", "clusterIP") == address
    assert dig(by_name["PodDisruptionBudget", "coredns"], "spec", "minAvailable") == 1
    (container,) = objects(by_name["Deployment", "coredns"], "spec", "template", "spec", "containers")
    assert mapping(container, "securityContext") == {
        "runAsNonRoot": True, "runAsUser": 10001, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
        "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
    }  # fmt: skip
    assert ("ServiceMonitor", "coredns") in by_name
    found = tree.find("monitoring.coreos.com", "PrometheusRule", Name("kube-system", "coredns"))
    assert found is not None
    rules = objects(found[1], "spec", "groups", 0, "rules")
    assert {text(rule, "alert") for rule in rules} == {
        "CoreDNSAbsent", "CoreDNSDown", "CoreDNSHighErrorRate", "CoreDNSLatencyHigh",
    }  # fmt: skip
    jobs = {job for rule in rules for job in re.findall(r'job="([^"]+)"', text(rule, "expr"))}
    assert jobs == {name for kind, name in by_name if kind == "Service"} - {"kube-dns"}


@pytest.mark.parametrize("cluster", ["infra", "apps"])
def test_spegel_uses_the_folder_that_talos_lets_it_write(tree: Tree) -> None:
    values = releases.core_values(tree, "spegel")
    assert dig(values, "spegel", "containerdRegistryConfigPath") == "/etc/cri/conf.d/hosts"
    assert "discard_unpacked_layers = false" in (ROOT / "talos/base.yaml").read_text()


@in_every_cluster
def test_dns_has_the_address_and_the_label_that_everybody_looks_for(
    rendered: dict[str, Rendered], settings: Object
) -> None:
    by_name = {(str(item["kind"]), name_of(item)): item for item in rendered["coredns"].objects}
    service = by_name["Service", "kube-dns"]
    assert text(service, "spec", "clusterIP") == settings["COREDNS_CLUSTER_IP"]
    labels = mapping(by_name["Deployment", "coredns"], "spec", "template", "metadata", "labels")
    assert labels["k8s-app"] == "kube-dns"
    assert mapping(service, "spec", "selector").items() <= labels.items()


@in_every_cluster
def test_the_corefile_answers_for_the_cluster_and_forwards_the_rest(rendered: dict[str, Rendered]) -> None:
    (config,) = [item for item in rendered["coredns"].objects if item["kind"] == "ConfigMap"]
    corefile = text(config, "data", "Corefile")
    assert corefile.startswith("dns://.:53 {\n")
    for line in ("kubernetes cluster.local in-addr.arpa ip6.arpa {", "forward . /etc/resolv.conf", "ready"):
        assert line in [part.strip() for part in corefile.splitlines()]


@in_every_cluster
def test_flux_instance_names_version_components_and_sync(rendered: dict[str, Rendered], cluster: str) -> None:
    (instance,) = rendered["flux-instance"].objects
    spec = mapping(instance, "spec")
    assert mapping(spec, "distribution") == {"version": "2.7.3", "registry": "ghcr.io/fluxcd", "artifact": None}
    assert spec["components"] == ["source-controller", "kustomize-controller", "helm-controller"]
    assert mapping(spec, "sync") == {
        "kind": "GitRepository",
        "interval": "1m",
        "url": "https://github.com/monosense-io/k8s-gitops.git",
        "ref": "refs/heads/main",
        "path": f"kubernetes/clusters/{cluster}",
    }


@in_every_cluster
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


@in_every_cluster
def test_flux_checks_out_the_folder_that_its_path_is_in(rendered: dict[str, Rendered]) -> None:
    (instance,) = rendered["flux-instance"].objects
    patches = objects(instance, "spec", "kustomize", "patches")
    (patch,) = (each for each in patches if text(each, "target", "kind") == "GitRepository")
    assert load_all(text(patch, "patch"), source="patch") == [
        [{"op": "add", "path": "/spec/sparseCheckout", "value": ["kubernetes"]}]
    ]
    assert text(instance, "spec", "sync", "path").startswith("kubernetes/")


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


def _lasting(one: Rendered) -> Iterator[Object]:
    """What a release brings, hooks left out."""
    return (item for item in one.objects if not text(item, "metadata", "annotations", "helm.sh/hook"))


def _references(item: Object) -> list[Object]:
    places = (("spec", "chartRef"), ("spec", "sourceRef"), ("spec", "chart", "spec", "sourceRef"))
    return [found for place in places if isinstance(found := dig(item, *place), dict)]


def _added_arguments(instance: Object) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    patches = objects(instance, "spec", "kustomize", "patches")
    for patch in (each for each in patches if text(each, "target", "kind") == "Deployment"):
        operations = load_all(text(patch, "patch"), source="patch")[0]
        for operation in operations if isinstance(operations, list) else []:
            assert text(operation, "op") == "add"
            assert text(operation, "path").endswith("/args/-")
            for name in text(patch, "target", "name").strip("()").split("|"):
                found.setdefault(name, []).append(text(operation, "value"))
    return found
