"""Gates that Kubernetes wakes: what is read from the copy, what from the API, and what a broken watch does."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, cast

import pytest

from bootstrap.engine import Gate, Observation
from bootstrap.engine.testing import run_phases
from bootstrap.host.clock import SystemClock
from bootstrap.host.errors import ExitCode
from bootstrap.host.objects import name_of, text
from kube import watching
from kube.cluster import DEPLOYMENT, NODE, Cluster, EventType, KindRef, Reading, WatchEvent
from kube.errors import KubeError, KubeErrorKind
from kube.watching import Watched
from tests.unit.engine.world import World, phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.engine import Context
    from bootstrap.host.objects import Object

# Seconds; what does not happen within them on another thread never does.
PATIENCE = 20.0
CONTEXT = cast("Context", None)


def deployment(name: str, namespace: str = "a", ready: str = "no") -> Object:
    return {"kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "status": {"ready": ready}}


def node(name: str) -> Object:
    return {"kind": "Node", "metadata": {"name": name}}


class Api:
    """An API whose watches say what the test says; counts what is read beside."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.opened: queue.SimpleQueue[KindRef] = queue.SimpleQueue()
        self.ended: queue.SimpleQueue[KindRef] = queue.SimpleQueue()
        self._events: dict[KindRef, queue.SimpleQueue[WatchEvent | Exception]] = {
            DEPLOYMENT: queue.SimpleQueue(),
            NODE: queue.SimpleQueue(),
        }

    def say(self, kind: KindRef, *events: WatchEvent | Exception) -> None:
        for event in events:
            self._events[kind].put(event)

    def watch(self, kind: KindRef, namespace: str = "", *, seconds: float) -> Iterator[WatchEvent]:
        assert seconds > 0
        assert namespace in {"", "a"}
        self.opened.put(kind)
        try:
            while True:
                event = self._events[kind].get()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.ended.put(kind)

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        self.reads.append(f"get {kind[1]} {namespace}/{name}")
        return None

    def list_objects(self, kind: KindRef, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        self.reads.append(f"list {kind[1]} {namespace} {labels}{fields}".rstrip())
        return []


class Woken:
    """Counts wake-ups and lets a test wait for the next one."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()

    def __call__(self) -> None:
        self._calls.put(None)

    def await_next(self) -> None:
        self._calls.get(timeout=PATIENCE)

    @property
    def is_quiet(self) -> bool:
        return self._calls.empty()


IDLE = WatchEvent(EventType.IDLE, {})


def added(item: Object) -> WatchEvent:
    return WatchEvent(EventType.ADDED, item)


def watched(api: Api, *sources: watching.Source) -> Watched:
    return Watched(lambda: cast("Cluster", api), *sources)


def names(reading: Reading, namespace: str = "") -> list[str]:
    return [name_of(item) for item in reading.list_objects(DEPLOYMENT, namespace)]


def test_a_look_that_a_watch_asked_for_costs_no_request() -> None:
    api, woken = Api(), Woken()
    objects = watched(api, (DEPLOYMENT, "a"))
    with objects.watch(CONTEXT, woken):
        api.say(DEPLOYMENT, added(deployment("one")), added(deployment("two")), IDLE)
        woken.await_next()
        look = objects.now()
        assert names(look, "a") == ["one", "two"]
        assert text(look.get(DEPLOYMENT, "one", "a"), "status", "ready") == "no"
        assert look.get(DEPLOYMENT, "three", "a") is None
        assert api.reads == []
        api.say(DEPLOYMENT, WatchEvent(EventType.MODIFIED, deployment("one", ready="yes")))
        woken.await_next()
        assert text(objects.now().get(DEPLOYMENT, "one", "a"), "status", "ready") == "yes"
        api.say(DEPLOYMENT, WatchEvent(EventType.DELETED, deployment("one")))
        woken.await_next()
        assert names(objects.now(), "a") == ["two"]
        assert api.reads == []


def test_a_look_that_nobody_asked_for_asks_the_api() -> None:
    api, woken = Api(), Woken()
    objects = watched(api, (DEPLOYMENT, "a"))
    assert objects.now() is api
    with objects.watch(CONTEXT, woken):
        api.say(DEPLOYMENT, added(deployment("one")), IDLE, IDLE)
        woken.await_next()
        assert objects.now() is not api
        assert objects.now() is api
        assert woken.is_quiet, "a sign of life is no news"


def test_a_look_keeps_what_it_began_with() -> None:
    api, woken = Api(), Woken()
    objects = watched(api, (DEPLOYMENT, "a"))
    with objects.watch(CONTEXT, woken):
        api.say(DEPLOYMENT, IDLE)
        woken.await_next()
        look = objects.now()
        api.say(DEPLOYMENT, added(deployment("late")))
        woken.await_next()
        assert names(look, "a") == []
        assert names(objects.now(), "a") == ["late"]


def test_many_changes_before_a_look_wake_it_once() -> None:
    source = (DEPLOYMENT, "a")
    objects = watched(Api(), source)
    events = [IDLE, *(added(deployment(f"d{number}")) for number in range(50))]
    assert [objects._take(source, event) for event in events] == [True, *[False] * 50]
    assert len(names(objects.now(), "a")) == 50
    assert objects._take(source, added(deployment("late")))


def test_only_what_is_watched_comes_from_the_copy() -> None:
    api, woken = Api(), Woken()
    objects = watched(api, (DEPLOYMENT, "a"))
    with objects.watch(CONTEXT, woken):
        api.say(DEPLOYMENT, IDLE)
        woken.await_next()
        look = objects.now()
        look.get(NODE, "n")
        look.list_objects(DEPLOYMENT, "b")
        look.list_objects(DEPLOYMENT)
        look.list_objects(DEPLOYMENT, "a", labels="x=y")
    assert api.reads == ["get Node /n", "list Deployment b", "list Deployment", "list Deployment a x=y"]


def test_a_watch_of_all_namespaces_knows_each() -> None:
    api, woken = Api(), Woken()
    objects = watched(api, (DEPLOYMENT, ""))
    with objects.watch(CONTEXT, woken):
        api.say(DEPLOYMENT, added(deployment("one")), added(deployment("two", "b")), IDLE)
        woken.await_next()
        look = objects.now()
        assert (names(look), names(look, "b")) == (["one", "two"], ["two"])
        assert look.get(DEPLOYMENT, "two", "b")
        assert not look.get(DEPLOYMENT, "two", "a")
    assert api.reads == []


def test_a_copy_is_used_only_when_every_source_was_listed() -> None:
    api, woken = Api(), Woken()
    objects = watched(api, (DEPLOYMENT, "a"), (NODE, ""))
    with objects.watch(CONTEXT, woken):
        api.say(DEPLOYMENT, IDLE)
        woken.await_next()
        assert objects.now() is api
        api.say(NODE, added(node("n")), IDLE)
        woken.await_next()
        look = objects.now()
        assert look is not api
        assert look.get(NODE, "n")


@pytest.mark.parametrize(
    "failure", [KubeError(KubeErrorKind.UNREACHABLE, "x", cause="refused"), NotImplementedError("no watch here")]
)
def test_a_watch_that_fails_leaves_polling(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "REOPEN_SECONDS", 0.01)
    api, woken = Api(), Woken()
    objects = watched(api, (DEPLOYMENT, "a"))
    with objects.watch(CONTEXT, woken):
        api.say(DEPLOYMENT, added(deployment("gone")), IDLE)
        woken.await_next()
        api.say(DEPLOYMENT, failure)
        woken.await_next()
        assert objects.now() is api, "a copy that nobody keeps is worth nothing"
        assert [api.opened.get(timeout=PATIENCE) for _ in range(2)] == [DEPLOYMENT] * 2
        api.say(DEPLOYMENT, added(deployment("kept")), IDLE)
        woken.await_next()
        assert names(objects.now(), "a") == ["kept"]


def test_a_watch_ends_when_the_gate_does() -> None:
    api, woken = Api(), Woken()
    objects = watched(api, (DEPLOYMENT, "a"), (NODE, ""))
    with objects.watch(CONTEXT, woken):
        assert {api.opened.get(timeout=PATIENCE) for _ in range(2)} == {DEPLOYMENT, NODE}
    api.say(DEPLOYMENT, IDLE)
    api.say(NODE, IDLE)
    assert {api.ended.get(timeout=PATIENCE) for _ in range(2)} == {DEPLOYMENT, NODE}
    assert api.opened.empty()


def test_a_gate_on_kubernetes_reads_once_and_is_then_told() -> None:
    api = Api()
    objects = watched(api, (DEPLOYMENT, "a"))
    looked = threading.Event()

    def check(_ctx: Context) -> Observation[str]:
        found = objects.now().get(DEPLOYMENT, "one", "a")
        looked.set()
        return Observation(text(found, "status", "ready") == "yes", "looked")

    def world() -> None:
        looked.wait(PATIENCE)
        api.say(DEPLOYMENT, added(deployment("one")), IDLE)
        api.say(DEPLOYMENT, WatchEvent(EventType.MODIFIED, deployment("one", ready="yes")))

    gate = Gate(description="it", check=check, interval=2 * PATIENCE, timeout=PATIENCE, watch=objects.watch)
    threading.Thread(target=world).start()
    verdict = run_phases([phase("p", World().acting("one", gate=gate))], clock=SystemClock())
    assert verdict.exit_code is ExitCode.DONE
    assert api.reads == ["get Deployment a/one"]
    assert next(verdict.steps()).waits[0].doubt == 0.0
