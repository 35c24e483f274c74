"""A kubelet's request for a serving certificate, approved at a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kube import serving
from tests.scripted.requests import serving_request

if TYPE_CHECKING:
    from bootstrap.host.objects import Object
    from kube.lightkube_cluster import LightkubeCluster


def made(cluster: LightkubeCluster, name: str) -> Object:
    written = cluster.swap(serving_request(name, "10.0.0.1", name))
    assert written is not None
    return written


def test_an_approval_is_written(cluster: LightkubeCluster) -> None:
    item = made(cluster, "approval")
    assert serving.conditions(item) == frozenset()
    assert cluster.approve(serving.approved(item, message="known"))
    live = cluster.get(serving.REQUEST, "csr-approval")
    assert live is not None
    assert serving.conditions(live) == {serving.APPROVED}


def test_whoever_comes_late_approves_nothing(cluster: LightkubeCluster) -> None:
    item = made(cluster, "late")
    assert cluster.approve(serving.approved(item, message="the first"))
    assert not cluster.approve(serving.approved(item, message="the second"))


def test_a_request_that_is_gone_is_not_approved(cluster: LightkubeCluster) -> None:
    item = made(cluster, "gone")
    gone = {**item, "metadata": {**item["metadata"], "name": "csr-nobody"}}  # type: ignore[dict-item] # as it was made
    assert not cluster.approve(serving.approved(gone, message="nobody's"))
