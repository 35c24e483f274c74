"""The world as it is on disk: machines, objects, what will happen when, and what was done to it.

One SQLite file, so that a run that is killed with -9 leaves it as it was and the next process, or another one at
the same time, finds it. What happens by itself is an event with its time; whoever looks lets all happen that is due.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import uuid
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from bootstrap.host.objects import mapping, name_of, namespace_of, number, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bootstrap.host.objects import Object
    from kube.cluster import KindRef

_TABLES = """
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS machines (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS objects (
    version TEXT, kind TEXT, namespace TEXT, name TEXT, value TEXT, PRIMARY KEY (version, kind, namespace, name));
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, at REAL, name TEXT, what TEXT);
CREATE TABLE IF NOT EXISTS effects (number INTEGER PRIMARY KEY, pid INTEGER, kind TEXT, what TEXT);
CREATE TABLE IF NOT EXISTS asked (question TEXT PRIMARY KEY, times INTEGER);
"""
# Two processes share a world; a transaction takes a millisecond, a loaded machine a thousand times that.
_BUSY_SECONDS = 30.0


class Effect(NamedTuple):
    """Something that somebody did to the world."""

    kind: str
    what: str
    pid: int = 0


class Model:
    """The world's file, opened by one process.

    Args:
        path: the file; made when it is missing.
        now: the process' own time; the world's is the latest that any process brought.
    """

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.RLock()
        self._depth = 0
        self._event_at: float | None = None
        self._happenings: dict[str, Callable[[str], None]] = {}
        self._done: Callable[[Effect], None] = lambda _effect: None
        self._file = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        # A killed process loses nothing that it gave to the kernel; only a power failure would.
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=OFF")
        self._file.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def hears(self, happenings: dict[str, Callable[[str], None]]) -> None:
        """Who makes which events happen."""
        self._happenings.update(happenings)

    def tells(self, done: Callable[[Effect], None]) -> None:
        """Who is told of an effect once it is on disk."""
        self._done = done

    @contextlib.contextmanager
    def look(self) -> Iterator[None]:
        """A transaction; what is due has happened when it begins."""
        with self._lock:
            if self._depth:
                yield
                return
            self._file.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                self._happen(self.now)
                yield
            except BaseException:
                self._file.execute("ROLLBACK")
                raise
            else:
                self._file.execute("COMMIT")
            finally:
                self._depth -= 1

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """While open, no other thread of this process has a transaction."""
        with self._lock:
            yield

    @property
    def now(self) -> float:
        """The world's time, seconds; while an event happens, the event's."""
        if self._event_at is not None:
            return self._event_at
        return max(self._now(), float(self.get("now", 0.0)))

    @property
    def quiet(self) -> float:
        """Seconds until the next event."""
        (at,) = self._rows("SELECT MIN(at) FROM events")[0]
        return float("inf") if at is None else max(0.0, float(at) - self.now)

    def settle(self) -> None:
        """Let everything happen that will happen by itself."""
        with self.look():
            self._happen(float("inf"))

    def after(self, seconds: float, name: str, what: str = "") -> None:
        """Let an event happen so many seconds from now."""
        values = (self.now + seconds, name, what)
        self._rows("INSERT INTO events (at, name, what) VALUES (?, ?, ?)", values)
        self.put("now", max(self.now, float(self.get("now", 0.0))))

    def effect(self, kind: str, what: str) -> Effect:
        """Count something that was done to the world."""
        self._rows("INSERT INTO effects (pid, kind, what) VALUES (?, ?, ?)", (os.getpid(), kind, what))
        self.put("now", self.now)
        return Effect(kind, what, os.getpid())

    def done(self, effect: Effect) -> None:
        """Tell of an effect, outside of its transaction: whoever is told may end the process."""
        self._done(effect)

    def effects(self) -> list[Effect]:
        """Everything that was done, in its order."""
        rows = self._rows("SELECT kind, what, pid FROM effects ORDER BY number")
        return [Effect(*row) for row in rows]

    def ask(self, question: str) -> None:
        """Count a question that was put to a machine."""
        query = "INSERT INTO asked VALUES (?, 1) ON CONFLICT (question) DO UPDATE SET times = times + 1"
        self._rows(query, (question,))

    def asked(self) -> dict[str, int]:
        """How often which question was put to which machine."""
        return dict(self._rows("SELECT question, times FROM asked"))

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the world's own."""
        row = next(iter(self._rows("SELECT value FROM state WHERE key = ?", (key,))), None)
        return json.loads(row[0]) if row else default

    def put(self, key: str, value: Any) -> None:
        """Set a value of the world's own."""
        self._rows("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, json.dumps(value)))

    def machines(self) -> list[dict[str, Any]]:
        """Every machine."""
        return [_machine(row[0]) for row in self._rows("SELECT value FROM machines ORDER BY name")]

    def machine(self, name: str) -> dict[str, Any]:
        """The machine of that name."""
        ((value,),) = self._rows("SELECT value FROM machines WHERE name = ?", (name,))
        return _machine(value)

    def put_machine(self, machine: dict[str, Any]) -> None:
        """Set a machine."""
        values = (machine["name"], json.dumps(machine))
        self._rows("INSERT OR REPLACE INTO machines VALUES (?, ?)", values)

    def find(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        """One object."""
        query = "SELECT value FROM objects WHERE version = ? AND kind = ? AND namespace = ? AND name = ?"
        row = next(iter(self._rows(query, (*kind, namespace, name))), None)
        return json.loads(row[0]) if row else None

    def select(self, kind: KindRef, namespace: str = "") -> list[Object]:
        """All objects of a kind, in one namespace or in all."""
        query = "SELECT value FROM objects WHERE version = ? AND kind = ? AND (? = '' OR namespace = ?) ORDER BY name"
        return [json.loads(row[0]) for row in self._rows(query, (*kind, namespace, namespace))]

    def every(self) -> list[Object]:
        """All objects."""
        query = "SELECT value FROM objects ORDER BY version, kind, namespace, name"
        return [json.loads(row[0]) for row in self._rows(query)]

    def store(self, item: Object) -> Object:
        """Create or replace an object, with what the API server adds: uid, generation, resourceVersion."""
        kind = (text(item, "apiVersion"), text(item, "kind"))
        live = self.find(kind, name_of(item), namespace_of(item)) or {}
        before = mapping(live, "metadata")
        version = int(self.get("resourceVersion", 0)) + 1
        self.put("resourceVersion", version)
        metadata = {**mapping(item, "metadata"), "uid": before.get("uid") or str(uuid.uuid4())}
        metadata["resourceVersion"] = str(version)
        if "spec" in item:
            metadata["generation"] = number(before, "generation") + (live.get("spec") != item["spec"])
        stored: Object = {**item, "metadata": metadata}
        values = (*kind, namespace_of(item), name_of(item), json.dumps(stored))
        self._rows("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)", values)
        return stored

    def remove(self, kind: KindRef, name: str, namespace: str = "") -> None:
        """Delete an object."""
        query = "DELETE FROM objects WHERE version = ? AND kind = ? AND namespace = ? AND name = ?"
        self._rows(query, (*kind, namespace, name))

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """All rows at once: one that is still to be read keeps the file as it was, and nobody could begin to write."""
        with self._lock:
            return self._file.execute(query, values).fetchall()

    def _happen(self, until: float) -> None:
        while True:
            query = "SELECT number, at, name, what FROM events WHERE at <= ? ORDER BY at, number LIMIT 1"
            row = next(iter(self._rows(query, (until,))), None)
            if row is None:
                return
            key, at, name, what = row
            self._rows("DELETE FROM events WHERE number = ?", (key,))
            self.put("now", max(at, float(self.get("now", 0.0))))
            self._event_at = at
            try:
                self._happenings[name](what)
            finally:
                self._event_at = None


def _machine(value: str) -> dict[str, Any]:
    """A machine of the caller's own; its lists are never changed in place."""
    return dict(_read_machine(value))


@lru_cache(maxsize=64)
def _read_machine(value: str) -> dict[str, Any]:
    # A run asks for the machines a thousand times, and they change a dozen times.
    found: dict[str, Any] = json.loads(value)
    return found
