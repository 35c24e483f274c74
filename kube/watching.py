"""What a gate waits for in Kubernetes, told by watches: each change makes the gate look at once.

While the gate waits, one thread for each source follows a watch and keeps a copy of what it saw. A look that a watch
asked for reads the copy, which costs no request; a look that nobody asked for, and everything that is not watched,
asks the API. So a copy that went wrong unnoticed delays a gate by one of its own pauses at most. A watch that fails
is opened again; until then each failure wakes the gate, which then asks the API: that is polling, ever slower.
"""

from __future__ import annotations

import contextlib
import threading
from random import Random
from typing import TYPE_CHECKING, Final, TypeAlias

from bootstrap.engine.pace import Pace
from bootstrap.host.objects import Object, name_of, namespace_of
from kube.cluster import EventType, KindRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bootstrap.engine.step import Context
    from kube.cluster import Cluster, Reading, WatchEvent

# A kind and the namespace in which it is watched; empty means all.
Source: TypeAlias = tuple[KindRef, str]
# Seconds; longer than any gate waits.
WATCH_SECONDS: Final = 3600.0
# Seconds between two attempts to watch: what is found out by polling then comes no later than by polling alone,
# and an API server that stays away is asked ever less.
REOPEN_SECONDS: Final = 1.0
SLOWEST_REOPEN_SECONDS: Final = 5.0
# The interval of a gate that is watched: its own looks are only for what a watch might have missed. With six of
# them at once, and their watches, the API is read less than twice a second.
SAFETY_SECONDS: Final = 10.0

_Objects: TypeAlias = "dict[tuple[str, str], Object]"


class Watched:
    """Objects of a cluster for one gate, kept up to date while the gate waits.

    Args:
        connect: gives the cluster; asked when the gate begins to wait.
        sources: what is watched.
    """

    def __init__(self, connect: Callable[[], Cluster], *sources: Source) -> None:
        self._connect = connect
        self._sources = sources
        self._lock = threading.Lock()
        self._objects: dict[Source, _Objects] = {source: {} for source in sources}
        self._listed: set[Source] = set()
        self._has_news = False

    def now(self) -> Reading:
        """What a look reads: the copy when a watch brought something since the last look, else the API.

        Every look has to ask: what a watch brings wakes the gate once, until a look has taken it.
        """
        api = self._connect()
        with self._lock:
            has_news, self._has_news = self._has_news, False
            if not has_news or len(self._listed) < len(self._sources):
                return api
            return _Copy(api, {source: dict(found) for source, found in self._objects.items()})

    @contextlib.contextmanager
    def watch(self, _ctx: Context, wake: Callable[[], None]) -> Iterator[None]:
        """Watch while open; see `Gate.watch`. Threads end with their watch's next sign of life."""
        closing = threading.Event()
        for source in self._sources:
            name = f"watch {source[0][1]} {source[1]}".rstrip()
            threading.Thread(target=self._follow, args=(source, wake, closing), name=name, daemon=True).start()
        try:
            yield
        finally:
            closing.set()

    def _follow(self, source: Source, wake: Callable[[], None], closing: threading.Event) -> None:
        (kind, namespace), api = source, self._connect()
        pace = Pace(REOPEN_SECONDS, SLOWEST_REOPEN_SECONDS, Random())  # noqa: S311 # jitter is no secret
        while not closing.is_set():
            came = False
            # A watch only saves polling: whatever ends it, the gate goes on without.
            with contextlib.suppress(Exception):
                for event in api.watch(kind, namespace, seconds=WATCH_SECONDS):
                    if closing.is_set():
                        return
                    came = True
                    if self._take(source, event):
                        wake()
            with self._lock:
                self._listed.discard(source)
                self._objects[source] = {}
            wake()
            closing.wait(pace.next(news=came))

    def _take(self, source: Source, event: WatchEvent) -> bool:
        """Keep what an event says; true when no look was asked for yet that could see it."""
        with self._lock:
            was_listed = source in self._listed
            if event.type is EventType.IDLE:
                self._listed.add(source)
                is_news = not was_listed
            else:
                place = (namespace_of(event.item), name_of(event.item))
                if event.type is EventType.DELETED:
                    self._objects[source].pop(place, None)
                else:
                    self._objects[source][place] = event.item
                is_news = was_listed
            is_first = is_news and not self._has_news
            self._has_news = self._has_news or is_news
            return is_first


class _Copy:
    """What the watches saw; the API for everything else."""

    def __init__(self, api: Cluster, objects: Mapping[Source, _Objects]) -> None:
        self._api = api
        self._objects = objects

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        found = self._watched(kind, namespace)
        if found is None:
            return self._api.get(kind, name, namespace)
        # Like the API server, which ignores the namespace of what is cluster-wide.
        return found.get((namespace, name)) or found.get(("", name))

    def list_objects(self, kind: KindRef, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        found = None if labels or fields else self._watched(kind, namespace)
        if found is None:
            return self._api.list_objects(kind, namespace, labels=labels, fields=fields)
        return [item for (place, _), item in sorted(found.items()) if namespace in {"", place}]

    def _watched(self, kind: KindRef, namespace: str) -> _Objects | None:
        """The objects that are watched in one namespace, or in all."""
        in_all = self._objects.get((kind, ""))
        return in_all if in_all is not None or not namespace else self._objects.get((kind, namespace))
