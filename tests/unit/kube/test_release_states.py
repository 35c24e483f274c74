"""Every status of helm has a rule, and a freed release is one that helm reads."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube import helm
from kube.cluster import SECRET, KindRef
from kube.release_states import RULES, Treatment, rule, unlock

if TYPE_CHECKING:
    from bootstrap.host.objects import Object
    from kube.helm import Release

RELEASE: dict[str, object] = json.loads(
    (Path(__file__).parents[2] / "scripted" / "recorded" / "release-coredns.json").read_text()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def secret(status: str) -> Object:
    info = {"status": status, "last_deployed": "2026-11-21T19:09:10.997032831+01:00", "notes": "<kept>"}
    return {
        "apiVersion": SECRET[0], "kind": SECRET[1], "type": "helm.sh/release.v1",
        "metadata": {
            "name": "sh.helm.release.v1.coredns.v1", "namespace": "kube-system", "resourceVersion": "7",
            "labels": {"owner": "helm", "name": "coredns", "status": status, "version": "1", "custom": "kept"},
            "managedFields": [{"manager": "Helm", "fieldsV1": {"f:type": {}}}],
        },
        "data": {"release": helm.packed({**RELEASE, "info": info})},  # type: ignore[dict-item] # a recording
    }  # fmt: skip


class Store:
    """One Secret, and what became of it."""

    def __init__(self, item: Object | None, *, is_beaten: bool = False) -> None:
        self.item = item
        self.written = False
        self._is_beaten = is_beaten

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        assert (kind, name, namespace) == (SECRET, "sh.helm.release.v1.coredns.v1", "kube-system")
        return self.item

    def swap(self, item: Object) -> Object | None:
        if self._is_beaten:
            return None
        self.item, self.written = item, True
        return item


@pytest.mark.parametrize(
    ("status", "treatment"),
    [
        ("deployed", Treatment.GO_ON),
        ("failed", Treatment.GO_ON),
        ("superseded", Treatment.GO_ON),
        ("uninstalled", Treatment.GO_ON),
        ("pending-install", Treatment.UNLOCK),
        ("pending-upgrade", Treatment.UNLOCK),
        ("pending-rollback", Treatment.UNLOCK),
        ("uninstalling", Treatment.REFUSE),
        ("unknown", Treatment.REFUSE),
        ("of another helm", Treatment.REFUSE),
    ],
)
def test_every_status_has_its_rule(status: str, treatment: Treatment) -> None:
    assert rule(status).treatment is treatment
    assert rule(status).reason


@pytest.mark.parametrize("status", [status for status, one in RULES.items() if one.treatment is Treatment.UNLOCK])
def test_a_freed_release_is_failed_and_else_what_it_was(status: str) -> None:
    store = Store(secret(status))
    before = helm.decode(secret(status))
    assert unlock(store, before)
    assert store.item is not None
    after = helm.decode(store.item)
    said = f"Release unlocked from stale '{status}' state"
    assert after == replace(before, status="failed", description=said)
    metadata = store.item["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["labels"] == {
        "owner": "helm", "name": "coredns", "status": "failed", "version": "1", "custom": "kept",
        "modifiedAt": metadata["labels"]["modifiedAt"],  # type: ignore[call-overload,index] # JSON
    }  # fmt: skip


@pytest.mark.parametrize("live", [None, {**secret("deployed"), "metadata": {"resourceVersion": "8"}}])
def test_what_somebody_wrote_meanwhile_is_left_alone(live: Object | None) -> None:
    store = Store(live)
    assert not unlock(store, helm.decode(secret("pending-upgrade")))
    assert not store.written


def test_a_write_that_came_too_late_is_told() -> None:
    store = Store(secret("pending-upgrade"), is_beaten=True)
    assert not unlock(store, helm.decode(secret("pending-upgrade")))


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_packed_is_read_back(content: dict[str, object]) -> None:
    assert helm.unpacked({"data": {"release": helm.packed(content)}}) == content  # type: ignore[arg-type] # JSON


def test_when_an_operation_began_is_read_as_go_writes_it() -> None:
    release: Release = helm.decode(secret("deployed"))
    assert release.began == datetime(2026, 11, 21, 18, 9, 10, 997032, tzinfo=UTC)
