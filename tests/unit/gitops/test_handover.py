"""Looks at Flux's own objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host.objects import name_of, namespace_of
from gitops import handover
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
    kind: tuple[str, str], name: str, *, ready: str = "True", message: str = "", observed: int = 2,
    needs: str = "", suspended: bool = False, labels: Object | None = None, **status: Yaml,
) -> Object:  # fmt: skip
    return {
        "apiVersion": kind[0], "kind": kind[1],
        "metadata": {"name": name, "namespace": "flux-system", "generation": 2, "labels": labels or {}},
        "spec": {"suspend": suspended, "dependsOn": [{"name": needs}] if needs else []},
        "status": {
            "observedGeneration": observed,
            "conditions": [{"type": "Ready", "status": ready, "reason": "Reason", "message": message}],
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
