"""Storms of errors between us and an API server: which request is sent again."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import httpx2
import pytest

from bootstrap.engine.retry import REQUEST, Retry
from bootstrap.engine.testing import FakeClock
from kube.cluster import CONFIG_MAP, SECRET, ObjectRef, Outcome
from kube.discovery import Resource
from kube.errors import KubeError, KubeErrorKind
from kube.lightkube_cluster import LightkubeCluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.objects import Object

Answer: TypeAlias = "httpx2.Response | type[httpx2.TransportError]"
NAME: Object = {"name": "one", "namespace": "a"}
OBJECT: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": NAME, "data": {"a": "1"}}


def busy() -> httpx2.Response:
    return httpx2.Response(503)


def throttled(seconds: str = "3") -> httpx2.Response:
    return httpx2.Response(429, headers={"Retry-After": seconds})


def found() -> httpx2.Response:
    return httpx2.Response(200, json={**OBJECT, "metadata": {**NAME, "resourceVersion": "7"}})


class Server:
    """Gives its answers one after the other; discovery is known already."""

    def __init__(self, *answers: Answer) -> None:
        self.asked: list[str] = []
        self.clock = FakeClock(now=0.0)
        self._answers = list(answers)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(f"{request.method} {request.url.path}")
        answer = self._answers.pop(0)
        if isinstance(answer, httpx2.Response):
            return answer
        raise answer("it broke")

    def cluster(self, permit: Callable[[], None] = lambda: None) -> LightkubeCluster:
        client = httpx2.Client(base_url="https://api", transport=httpx2.MockTransport(self))
        retry = Retry(REQUEST, clock=self.clock, random=Random(0))  # noqa: S311 # jitter is no secret
        cluster = LightkubeCluster(client, retry=retry, permit=permit)
        cluster._discovery._known = {CONFIG_MAP: Resource("/api/v1", "configmaps", namespaced=True)}
        return cluster


CUT = (httpx2.ReadError, httpx2.RemoteProtocolError, httpx2.WriteError)


def storm() -> list[Answer]:
    return [busy(), *CUT, throttled(), httpx2.Response(500)]


def test_a_write_waits_for_its_permit_and_nothing_else_needs_one() -> None:
    server = Server(found(), httpx2.Response(200, json={}), found(), found())
    refusals = [KubeError(KubeErrorKind.UNAVAILABLE, "the lease has lapsed", cause="it cannot be renewed")] * 2

    def permit() -> None:
        if refusals:
            raise refusals.pop()

    cluster = server.cluster(permit)
    assert cluster.get(CONFIG_MAP, "one", "a")
    cluster.delete(ObjectRef(*CONFIG_MAP, "a", "one"))
    assert len(refusals) == 2
    cluster.apply([OBJECT])
    assert refusals == []
    assert [each.partition(" ")[0] for each in server.asked] == ["GET", "DELETE", "GET", "PATCH"]


def test_a_read_outlasts_a_storm() -> None:
    server = Server(*storm(), found())
    item = server.cluster().get(CONFIG_MAP, "one", "a")
    assert item
    assert len(server.asked) == 7
    assert server.clock.monotonic() >= 3.0, "the server asked for three seconds"


def test_a_server_side_apply_outlasts_a_storm() -> None:
    server = Server(httpx2.Response(404), *storm(), found())
    (result,) = server.cluster().apply([OBJECT])
    assert result.outcome is Outcome.CREATED
    assert (
        server.asked == ["GET /api/v1/namespaces/a/configmaps/one"] + ["PATCH /api/v1/namespaces/a/configmaps/one"] * 7
    )


@pytest.mark.parametrize("failure", [httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ReadTimeout])
def test_a_server_that_is_not_there_is_for_the_step_to_wait_for(failure: type[httpx2.TransportError]) -> None:
    server = Server(failure, found())
    with pytest.raises(KubeError) as caught:
        server.cluster().get(CONFIG_MAP, "one", "a")
    assert caught.value.kind is KubeErrorKind.UNREACHABLE
    assert caught.value.transient
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "repeated"),
    [
        (httpx2.ReadError, KubeErrorKind.CUT_OFF, False),
        (busy(), KubeErrorKind.UNAVAILABLE, False),
        (throttled("1"), KubeErrorKind.THROTTLED, True),
    ],
)
def test_a_create_is_repeated_only_when_it_had_no_effect(
    answer: Answer, kind: KubeErrorKind, *, repeated: bool
) -> None:
    server = Server(answer, found())
    cluster = server.cluster()
    if repeated:
        assert cluster.swap(OBJECT)
    else:
        with pytest.raises(KubeError) as caught:
            cluster.swap(OBJECT)
        assert caught.value.kind is kind
    assert server.asked == ["POST /api/v1/namespaces/a/configmaps"] * (2 if repeated else 1)


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422])
def test_a_refusal_is_not_repeated(status: int) -> None:
    server = Server(httpx2.Response(status, content=json.dumps({"kind": "Status", "message": "no"})), found())
    with pytest.raises(KubeError, match="cannot read ConfigMap"):
        server.cluster().get(CONFIG_MAP, "one", "a")
    assert len(server.asked) == 1


def test_an_api_server_that_is_not_ready_is_asked_once() -> None:
    server = Server(httpx2.Response(500, text="[+]ping ok\n[-]etcd failed\n"), found())
    look = server.cluster().ready()
    assert (look.holds, look.seen) == (False, "[-]etcd failed")
    assert len(server.asked) == 1


def test_patience_with_one_request_ends() -> None:
    server = Server(*(busy() for _ in range(50)))
    with pytest.raises(KubeError):
        server.cluster().get(CONFIG_MAP, "one", "a")
    assert len(server.asked) <= REQUEST.attempts
    assert server.clock.monotonic() <= REQUEST.seconds


def test_a_watch_of_a_kind_that_is_not_served_has_to_begin_with_a_list() -> None:
    nothing = httpx2.Response(200, json={"items": []})
    server = Server(nothing, nothing)
    cluster = server.cluster()
    assert list(cluster._changes(SECRET, "", {})) == [None]
    assert server.asked == ["GET /api", "GET /apis"]
