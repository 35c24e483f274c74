"""The lease against a real API server."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine.events import Bus
from bootstrap.engine.graph import Graph
from bootstrap.engine.meter import Meter
from bootstrap.engine.run import Settings, execute
from bootstrap.engine.runner import Children
from bootstrap.engine.selection import everything
from bootstrap.engine.testing import FakeSignals
from bootstrap.host.clock import SystemClock
from bootstrap.host.errors import ExitCode
from bootstrap.host.objects import mapping, number, objects, text
from bootstrap.host.process import Process, this_process
from kube import lease as module
from kube.cluster import CONFIG_MAP, LEASE
from kube.errors import KubeError, KubeErrorKind
from kube.lease import NAMESPACE, Holder, KubeLease
from kube.lightkube_cluster import LightkubeCluster
from tests.unit.engine.world import World, phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.engine import Context
    from bootstrap.engine.verdict import Verdict
    from bootstrap.host.objects import Object
    from tests.api.conftest import ApiServer

ELSEWHERE = Process("ops-2", "boot-2", 4026531836, 4711)
# Seconds; long enough for a renewal in between on a loaded machine, short enough to wait for.
DURATION = 3


def a_lease(holder: Holder, api_server: ApiServer) -> KubeLease:
    def connect() -> LightkubeCluster:
        return LightkubeCluster.connect(api_server.kubeconfig)

    return KubeLease(connect, holder, cluster="lab", duration=DURATION)


@pytest.fixture
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A lease of the test's own."""
    own = re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    monkeypatch.setattr(module, "NAME", own)
    return own


def act(lease: KubeLease, action: Callable[[Context], None] = lambda _ctx: None) -> Verdict:
    """One action that writes to Kubernetes, on a real clock."""
    clock = SystemClock()
    graph = Graph((phase("core", World().acting("one", before=action)),))
    return execute(
        graph,
        everything(graph),
        Settings(cluster="lab", resume_command="", target=60.0),
        bus=Bus("test", clock=clock, redact=str),
        clock=clock,
        meter=Meter(clock),
        children=Children(stop=lambda: None, kill=lambda: None),
        signals=FakeSignals(),
        lease=lease,
    )


def config_map(name: str, **metadata: str) -> Object:
    return {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", **metadata}, "data": {"a": "1"},
    }  # fmt: skip


def test_a_swap_writes_only_what_nobody_changed_meanwhile(cluster: LightkubeCluster) -> None:
    first = cluster.swap(config_map("swap"))
    assert first
    assert [text(field, "manager") for field in objects(first, "metadata", "managedFields")] == ["firstlight"]
    assert cluster.swap(config_map("swap")) is None
    second = cluster.swap({**first, "data": {"a": "2"}})
    assert second
    assert cluster.swap({**first, "data": {"a": "3"}}) is None
    assert mapping(cluster.get(CONFIG_MAP, "swap", "default"), "data") == {"a": "2"}
    assert cluster.swap(config_map("never-there", resourceVersion="1")) is None


def test_what_cannot_be_swapped_is_an_error(cluster: LightkubeCluster) -> None:
    with pytest.raises(KubeError, match="is not served"):
        cluster.swap({"apiVersion": "nowhere.test/v1", "kind": "Nothing", "metadata": {"name": "x"}})
    with pytest.raises(KubeError) as caught:
        cluster.swap({**config_map("typo"), "dta": {}})
    assert caught.value.kind is KubeErrorKind.INVALID


def test_of_several_that_swap_at_once_one_wins(cluster: LightkubeCluster) -> None:
    barrier = threading.Barrier(4)

    def swap(_: int) -> bool:
        barrier.wait(30.0)
        return cluster.swap(config_map("race")) is not None

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(swap, range(4))) == [False, False, False, True]


def test_it_is_taken_for_the_first_write_and_given_back(
    cluster: LightkubeCluster, api_server: ApiServer, name: str
) -> None:
    held: list[Object] = []
    holder = Holder("karl", this_process(), "run-a")
    verdict = act(
        a_lease(holder, api_server), lambda _: held.append(mapping(cluster.get(LEASE, name, NAMESPACE), "spec"))
    )
    assert verdict.exit_code is ExitCode.DONE
    assert text(held[0], "holderIdentity") == holder.identity
    assert number(held[0], "leaseDurationSeconds") == DURATION
    after = cluster.get(LEASE, name, NAMESPACE)
    assert after
    assert text(after, "spec", "holderIdentity") == ""
    assert act(a_lease(replace(holder, run="run-b"), api_server)).exit_code is ExitCode.DONE
    assert number(cluster.get(LEASE, name, NAMESPACE), "spec", "leaseTransitions") == 1


def test_a_run_without_a_write_does_not_touch_it(cluster: LightkubeCluster, api_server: ApiServer, name: str) -> None:
    lease = a_lease(Holder("karl", this_process(), "run-a"), api_server)
    before = len(api_server.writes())
    lease.release()
    assert cluster.get(LEASE, name, NAMESPACE) is None
    assert len(api_server.writes()) == before


@pytest.mark.usefixtures("name")
def test_who_comes_second_is_refused_before_its_write(api_server: ApiServer) -> None:
    written: list[str] = []
    refused: list[Verdict] = []

    def first(_ctx: Context) -> None:
        written.append("first")
        second = a_lease(Holder("olga", ELSEWHERE, "run-b"), api_server)
        refused.append(act(second, lambda _: written.append("second")))

    verdict = act(a_lease(Holder("karl", this_process(), "run-a"), api_server), first)
    assert verdict.exit_code is ExitCode.DONE
    assert refused[0].exit_code is ExitCode.LOCKED
    assert f"karl, pid {this_process().pid} on {this_process().host}, run run-a" in refused[0].failures[0].cause
    assert written == ["first"]


@pytest.mark.parametrize(("dead", "seconds"), [(True, 0), (False, DURATION)])
def test_what_a_dead_run_holds_is_taken_over(
    cluster: LightkubeCluster, api_server: ApiServer, name: str, *, dead: bool, seconds: int
) -> None:
    here = this_process()
    place = replace(here, pid=0x7FFFFFFF) if dead else ELSEWHERE
    cluster.swap({
        "apiVersion": LEASE[0], "kind": LEASE[1], "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"holderIdentity": Holder("olga", place, "run-0").identity, "leaseDurationSeconds": DURATION},
    })  # fmt: skip
    verdict = act(a_lease(Holder("karl", here, "run-a"), api_server))
    assert verdict.exit_code is ExitCode.DONE
    assert verdict.seconds >= seconds


def test_who_was_stopped_for_longer_than_its_lease_writes_nothing_more(
    cluster: LightkubeCluster, api_server: ApiServer, name: str
) -> None:
    other = Holder("olga", ELSEWHERE, "run-b")

    def lose(_ctx: Context) -> None:
        live = cluster.get(LEASE, name, NAMESPACE)
        assert live
        spec = {**mapping(live, "spec"), "holderIdentity": other.identity}
        while cluster.swap({**live, "spec": spec}) is None:
            live = cluster.get(LEASE, name, NAMESPACE) or live
        stopped.now += 600.0

    stopped = Boot()
    holder = Holder("karl", this_process(), "run-a")
    lease = KubeLease(
        lambda: LightkubeCluster.connect(api_server.kubeconfig), holder, cluster="lab", now=stopped, duration=DURATION
    )
    verdict = act(lease, lose)
    assert verdict.exit_code is ExitCode.LOCKED
    assert text(cluster.get(LEASE, name, NAMESPACE), "spec", "holderIdentity") == other.identity


class Boot:
    """Seconds since a boot that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now
