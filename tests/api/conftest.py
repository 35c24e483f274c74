"""The API ring: a native etcd and kube-apiserver on loopback, for one test session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kube.lightkube_cluster import LightkubeCluster
from tests.api.server import ApiServer, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["ApiServer"]


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory, programs: Callable[[str], Path]) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api"), programs("etcd"), programs("kube-apiserver")) as server:
        yield server


@pytest.fixture
def cluster(api_server: ApiServer) -> Iterator[LightkubeCluster]:
    connected = LightkubeCluster.connect(api_server.kubeconfig)
    yield connected
    connected.close()
