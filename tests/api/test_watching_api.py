"""Watched gates against a real API server: they hear of changes, and cost little while nothing happens."""

from __future__ import annotations

import json
import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest

from bootstrap.host.objects import mapping
from kube.cluster import CONFIG_MAP, CUSTOM_RESOURCE_DEFINITION, DAEMON_SET, DEPLOYMENT, NAMESPACE, NODE, EventType
from kube.errors import KubeError
from kube.lightkube_cluster import HEARTBEAT_SECONDS, LightkubeCluster
from kube.watching import Watched
from tests.api.test_cluster import config_map

if TYPE_CHECKING:
    from bootstrap.engine import Context
    from tests.api.conftest import ApiServer

# Seconds; what does not happen within them never does.
PATIENCE = 30.0
# As many at once as any phase has.
SIX = (
    (CONFIG_MAP, "default"), (DEPLOYMENT, ""), (DAEMON_SET, "default"), (NODE, ""), (NAMESPACE, ""),
    (CUSTOM_RESOURCE_DEFINITION, ""),
)  # fmt: skip
CONTEXT = cast("Context", None)


def data(watched: Watched, name: str) -> dict[str, object]:
    return dict(mapping(watched.now().get(CONFIG_MAP, name, "default"), "data"))


def test_a_change_wakes_and_is_in_the_copy(cluster: LightkubeCluster) -> None:
    cluster.apply([config_map("wakes", a="1")])
    woken: queue.SimpleQueue[None] = queue.SimpleQueue()
    watched = Watched(lambda: cluster, (CONFIG_MAP, "default"))
    with watched.watch(CONTEXT, lambda: woken.put(None)):
        woken.get(timeout=PATIENCE)
        assert data(watched, "wakes") == {"a": "1"}
        # Also after the server has ended the first watch, and the next one goes on where it ended.
        for number in (2, 3):
            time.sleep(HEARTBEAT_SECONDS * (number - 2))
            cluster.apply([config_map("wakes", a=str(number))])
            woken.get(timeout=PATIENCE)
            assert data(watched, "wakes") == {"a": str(number)}


def test_waiting_costs_less_than_two_reads_a_second(cluster: LightkubeCluster, api_server: ApiServer) -> None:
    woken: queue.SimpleQueue[None] = queue.SimpleQueue()
    watched = Watched(lambda: cluster, *SIX)
    with watched.watch(CONTEXT, lambda: woken.put(None)):
        woken.get(timeout=PATIENCE)
        # The first lists are over; what follows is idle.
        time.sleep(1)
        before, began = reads(api_server), time.monotonic()
        time.sleep(2 * HEARTBEAT_SECONDS)
        asked, seconds = reads(api_server) - before, time.monotonic() - began
    assert len(asked) >= len(SIX), "the watches go on"
    assert len(asked) / seconds <= 2.0


def reads(server: ApiServer) -> set[str]:
    events = (json.loads(line) for line in server.audit_log.read_text().splitlines() if line.endswith("}"))
    return {
        event["auditID"]
        for event in events
        if event["verb"] in {"get", "list", "watch"} and event.get("userAgent", "").startswith("firstlight")
    }


def test_a_connection_is_closed_by_whoever_reads_from_it_last(api_server: ApiServer) -> None:
    cluster = LightkubeCluster.connect(api_server.kubeconfig)
    client = cluster._transport._client
    closers: list[str] = []
    close = client.close

    def closed_by() -> None:
        closers.append(threading.current_thread().name)
        close()

    client.close = closed_by  # type: ignore[method-assign]
    seen: queue.SimpleQueue[EventType] = queue.SimpleQueue()

    def follow() -> None:
        with suppress(KubeError):
            for event in cluster.watch(CONFIG_MAP, "default", seconds=PATIENCE):
                seen.put(event.type)

    reader = threading.Thread(target=follow, name="reader")
    reader.start()
    while seen.get(timeout=PATIENCE) is not EventType.IDLE:
        pass
    time.sleep(0.5)  # it reads now, and nothing comes
    cluster.close()
    reader.join(PATIENCE)
    assert closers == ["reader"]
    with pytest.raises(KubeError, match="cannot read Namespace default") as refused:
        cluster.get(NAMESPACE, "default")
    assert refused.value.cause == "the connection was closed by us"
