"""Looks at Flux's own objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine.proof import ProofKind
from bootstrap.host.objects import name_of, namespace_of
from gitops import apart, handover
from gitops.tree import Name

if TYPE_CHECKING:
    from bootstrap.host.objects import Object
    from bootstrap.host.yaml_io import Yaml

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


class Live:
    """A cluster that is a list of objects."""

    def __init__(self, *items: Object) -> None:
        self._items = items

    def get(self, kind: tuple[str, str], name: str, namespace: str = "") -> Object | None:
        return next((item for item in self.list_objects(kind, namespace) if name_of(item) == name), None)

    def list_objects(
        self, kind: tuple[str, str], namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> list[Object]:
        assert not labels + fields, "this cluster knows no selectors"
        found = [item for item in self._items if (item["apiVersion"], item["kind"]) == kind]
        return [item for item in found if namespace in {"", namespace_of(item) or namespace}]


def flux(
    kind: tuple[str, str], name: str, *, ready: str = "True", reason: str = "Reason", message: str = "",
    observed: int = 2, needs: str = "", suspended: bool = False, labels: Object | None = None, peer: str = "",
    path: str = "./kubernetes/infrastructure", **status: Yaml,
) -> Object:  # fmt: skip
    annotations: Object = {apart.PEER: peer} if peer else {}
    return {
        "apiVersion": kind[0], "kind": kind[1],
        "metadata": {
            "name": name, "namespace": "flux-system", "generation": 2, "labels": labels or {},
            "annotations": annotations,
        },
        "spec": {
            "suspend": suspended, "dependsOn": [{"name": needs}] if needs else [], "path": path,
            "chartRef": {"kind": "OCIRepository", "name": name},
        },
        "status": {
            "observedGeneration": observed,
            "conditions": [{"type": "Ready", "status": ready, "reason": reason, "message": message}],
            **status,
        },
    }  # fmt: skip


def applied(name: str, *, commit: str = COMMIT, **more: Any) -> Object:
    revision = f"refs/heads/main@sha1:{commit}"
    return flux(handover.KUSTOMIZATION, name, lastAppliedRevision=revision, **more)


def names(*found: str) -> set[Name]:
    return {Name("flux-system", name) for name in found}


@pytest.mark.parametrize(
    ("items", "holds", "seen"),
    [
        ([applied("a"), applied("b", needs="a")], True, "2 of 2 Kustomizations Ready at 0123456789ab"),
        ([applied("a")], False, "Kustomization flux-system/b is not there"),
        ([applied("a"), applied("b", commit=OTHER)], False, "flux-system/b is Ready at refs/heads/main@sha1:ffff"),
        ([applied("a"), applied("b", observed=1)], False, "flux-system/b: generation 2 is not observed yet"),
        ([applied("a"), applied("b", suspended=True)], False, "flux-system/b is suspended"),
        (
            [applied("b", needs="a", ready="False", message="dependency not ready"),
             applied("a", ready="False", message="clone https://me:secret@host/x failed")],
            False, "Kustomization flux-system/a: Reason: clone https://[redacted]@host/x failed",
        ),
        (
            [applied("a", needs="b", ready="False", message="loop"), applied("b", needs="a", ready="False")],
            False, "0 of 2",
        ),
        (
            [applied("b"), applied("a", ready="Unknown", message="health check"),
             flux(handover.HELM_RELEASE, "r", ready="False", message="no such chart", labels={
                 "kustomize.toolkit.fluxcd.io/name": "a", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"})],
            False, "health check; HelmRelease flux-system/r: Reason: no such chart",
        ),
    ],
)  # fmt: skip
def test_kustomizations(items: list[Object], *, holds: bool, seen: str) -> None:
    look = handover.kustomizations_at(Live(*items), COMMIT, names("a", "b"))
    assert look.holds is holds
    assert seen in look.seen


def test_nothing_expected_proves_nothing() -> None:
    assert not handover.kustomizations_at(Live(applied("a")), COMMIT, ()).holds


@pytest.mark.parametrize(
    ("revision", "holds"),
    [(f"refs/heads/main@sha1:{COMMIT}", True), (f"refs/heads/main@sha1:{OTHER}", False), ("", False)],
)
def test_the_source_is_at_the_commit(revision: str, *, holds: bool) -> None:
    source = flux(handover.GIT_REPOSITORY, "flux-system", artifact={"revision": revision})
    assert handover.source_at(Live(source), COMMIT).holds is holds
    assert not handover.source_at(Live(source), "").holds


@pytest.mark.parametrize(
    ("revision", "ready", "holds"),
    [("v2.7.3@sha256:abc", "True", True), ("v2.7.2@sha256:abc", "True", False), ("v2.7.3@sha256:a", "False", False)],
)
def test_the_instance_is_ready_at_its_version(revision: str, ready: str, *, holds: bool) -> None:
    instance = flux(handover.FLUX_INSTANCE, "flux", ready=ready, lastAppliedRevision=revision)
    assert handover.instance_ready(Live(instance), "2.7.3").holds is holds
    assert not handover.instance_ready(Live(), "2.7.3").holds


def test_releases() -> None:
    ready, failing = flux(handover.HELM_RELEASE, "a"), flux(handover.HELM_RELEASE, "b", ready="False", message="m")
    assert handover.releases_ready(Live(ready), names("a")).holds
    assert handover.releases_ready(Live(ready), names("a", "b")).seen.endswith("flux-system/b is not there")
    assert handover.releases_ready(Live(ready, failing), names("a")).seen.endswith("flux-system/b: Reason: m")
    assert not handover.releases_ready(Live(), names()).holds


SOURCE = flux(handover.GIT_REPOSITORY, "flux-system", artifact={"revision": f"main@sha1:{COMMIT}"})
LOOP = (
    applied("a", needs="c", ready="False", reason="DependencyNotReady"),
    applied("b", needs="a", ready="False", reason="DependencyNotReady"),
    applied("c", needs="b", ready="False", reason="DependencyNotReady"),
)


def test_what_no_waiting_mends_is_named_before_what_may_come() -> None:
    waiting = applied("a", ready="Unknown", reason="Progressing", message="health check")
    broken = applied("c", ready="False", reason="BuildFailed", message="no such file")
    behind = applied("b", needs="c", ready="False", reason="DependencyNotReady", message="c is not ready")
    look = handover.kustomizations_at(Live(SOURCE, waiting, broken, behind), COMMIT, names("a", "b", "c"))
    assert (
        look.seen
        == "0 of 3 Kustomizations Ready at 0123456789ab; Kustomization flux-system/c: BuildFailed: no such file"
    )
    assert look.conflict is not None
    assert look.conflict.fact == "Kustomization flux-system/c: its manifests cannot be built"


def test_a_refusal_of_another_commit_is_waited_for() -> None:
    broken = applied("a", ready="False", reason="BuildFailed", lastAttemptedRevision=f"main@sha1:{OTHER}")
    assert handover.kustomizations_at(Live(SOURCE, broken), COMMIT, names("a")).conflict is None
    broken = applied("a", ready="False", reason="BuildFailed", lastAttemptedRevision=f"main@sha1:{COMMIT}")
    assert handover.kustomizations_at(Live(broken), COMMIT, names("a")).conflict is None
    assert handover.kustomizations_at(Live(SOURCE, broken), COMMIT, names("a")).conflict is not None


def test_kustomizations_that_wait_for_each_other_are_named_in_their_order() -> None:
    look = handover.kustomizations_at(Live(SOURCE, *LOOP), COMMIT, names("a", "b", "c"))
    assert look.conflict is not None
    assert look.conflict.fact.endswith("waits for itself")
    assert look.conflict.cause in {
        "dependsOn: flux-system/a -> flux-system/c -> flux-system/b -> flux-system/a",
        "dependsOn: flux-system/b -> flux-system/a -> flux-system/c -> flux-system/b",
        "dependsOn: flux-system/c -> flux-system/b -> flux-system/a -> flux-system/c",
    }


def test_workloads_and_what_needs_the_other_cluster_are_told_apart() -> None:
    items = (
        SOURCE,
        applied("a"),
        applied("mesh", ready="False", reason="HealthCheckFailed", message="no remote", peer="infra"),
        applied("on-mesh", needs="mesh", ready="False", reason="DependencyNotReady"),
        applied("shop", ready="False", reason="BuildFailed", message="oops", path="kubernetes/workloads/shop"),
        applied("wiki", path="./kubernetes/workloads/wiki"),
    )
    look = handover.kustomizations_at(Live(*items), COMMIT, names("a"))
    assert look.holds
    assert look.seen == "1 of 1 Kustomizations Ready at 0123456789ab"
    assert [(proof.criterion.split()[1], proof.kind) for proof in look.proofs] == [
        ("flux-system/mesh", ProofKind.UNPROVEN), ("flux-system/on-mesh", ProofKind.UNPROVEN),
        ("flux-system/shop", ProofKind.UNPROVEN), ("flux-system/wiki", ProofKind.PROVEN),
    ]  # fmt: skip
    assert look.proofs[0].evidence.startswith("waiting for peer infra: Kustomization flux-system/mesh")
    assert look.proofs[1].evidence.startswith("waiting for peer infra: ")
    assert look.proofs[2].evidence.startswith("workload: ")


def test_releases_of_workloads_are_not_waited_for() -> None:
    labels: Object = {
        "kustomize.toolkit.fluxcd.io/name": "shop", "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    }  # fmt: skip
    shop = applied("shop", path="./kubernetes/workloads/shop")
    failing = flux(handover.HELM_RELEASE, "shop", ready="False", reason="InstallFailed", labels=labels)
    ready = flux(handover.HELM_RELEASE, "a")
    assert handover.releases_ready(Live(shop, failing, ready), names("a")).seen == "1 of 1 HelmReleases Ready"


def test_the_source_of_a_chart_is_named_where_it_is_what_fails() -> None:
    release = flux(handover.HELM_RELEASE, "a", ready="False", reason="SourceNotReady", message="not ready")
    kind = ("source.toolkit.fluxcd.io/v1", "OCIRepository")
    source = flux(kind, "a", ready="False", reason="OCIArtifactPullFailed", message="MANIFEST_UNKNOWN: unknown")
    look = handover.releases_ready(Live(release, source), names("a"))
    assert look.seen.endswith("OCIRepository flux-system/a: OCIArtifactPullFailed: MANIFEST_UNKNOWN: unknown")
    assert look.conflict is not None
    assert look.conflict.fact == "OCIRepository flux-system/a: the registry does not have it"
    assert handover.releases_ready(Live(release), names("a")).conflict is None
