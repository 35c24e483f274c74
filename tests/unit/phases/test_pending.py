"""Whose helm left a release pending, and what that helm is still allowed."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from bootstrap.host.commands import CommandError
from bootstrap.host.errors import FirstlightError
from kube import helm
from kube.cluster import SECRET
from phases.pending import HELM_SECONDS, LOOK_SECONDS, Mark, free
from phases.refs import NETWORK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bootstrap.engine import Context
    from bootstrap.engine.step import Gate, Observation
    from bootstrap.host.objects import Object
    from kube.cluster import KindRef
    from phases.world import World

BUSY = "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress"


def now() -> datetime:
    return datetime.now(UTC)


def secret(status: str, began: datetime, *, version: str = "1", writer: str = "Helm") -> Object:
    info: Object = {"status": status, "last_deployed": began.isoformat()}
    return {
        "metadata": {
            "resourceVersion": version, "labels": {"status": status},
            "managedFields": [{"manager": writer, "fieldsV1": {"f:type": {}}}],
        },
        "data": {"release": helm.packed({"name": "cilium", "namespace": "kube-system", "version": 1, "info": info})},
    }  # fmt: skip


@dataclass
class Storage:
    """helm's storage with one release, and a context of a step that may wait for it."""

    item: Object
    while_waiting: Callable[[int], Object | None] = lambda _look: None
    looks: int = 0
    written: list[str] = field(default_factory=list)

    @property
    def api(self) -> Storage:
        return self

    def value(self, _ref: object) -> Storage:
        return self

    def get(self, _kind: KindRef, _name: str, _namespace: str = "") -> Object | None:
        return self.item

    def list_objects(self, kind: KindRef, *_: str, **__: str) -> list[Object]:
        assert kind == SECRET
        return [self.item]

    def swap(self, item: Object) -> Object | None:
        self.written.append(helm.decode(item).status)
        return item

    @contextlib.contextmanager
    def outside(self, _kind: str) -> Iterator[None]:
        yield

    def wait(self, gate: Gate[None]) -> Observation[None]:
        while True:
            found = gate.check(cast("Context", self))
            if found.holds:
                return found
            self.looks += 1
            assert self.looks * gate.interval <= gate.timeout
            self.item = self.while_waiting(self.looks) or self.item


@pytest.fixture
def world(tmp_path: Path) -> World:
    return cast("World", SimpleNamespace(state=tmp_path))


def begun(world: World, ago: float) -> Mark:
    """That a helm of ours was started so many seconds ago, and never ended well."""
    mark = Mark.of(world, NETWORK)
    with contextlib.suppress(CommandError), mark.set():
        raise CommandError("helm failed", cause="killed")
    at = (now() - timedelta(seconds=ago)).timestamp()
    os.utime(mark.file, (at, at))
    return mark


@pytest.mark.parametrize(
    ("status", "ages", "looks", "written"),
    [  # of the operation, and of the last start of a helm of ours
        ("pending-install", (20, 30), 0, ["failed"]),  # ours: whoever started it is dead
        ("pending-install", (20, None), 56, ["failed"]),  # another's: it gets the rest of its time
        ("pending-upgrade", (20, 10), 56, ["failed"]),  # it began before ours was started
        ("pending-rollback", (20, 400), 56, ["failed"]),  # ours had ended before this one began
        ("pending-upgrade", (400, None), 0, ["failed"]),  # it has had its time
        ("pending-upgrade", (-400, None), 60, ["failed"]),  # the other machine's clock is ahead
        ("deployed", (20, None), 0, []),
        ("uninstalling", (20, 30), 0, []),
    ],
)
def test_a_hold_ends_with_the_helm_that_has_it(
    status: str, ages: tuple[float, float | None], looks: int, written: list[str], world: World
) -> None:
    age, started = ages
    storage = Storage(secret(status, now() - timedelta(seconds=age)))
    if started is not None:
        begun(world, started)
    free(world, NETWORK, cast("Context", storage))
    assert storage.written == written
    # Time goes on while this is asked.
    assert looks - 4 <= storage.looks <= looks
    assert storage.looks * LOOK_SECONDS <= HELM_SECONDS


def test_what_flux_has_begun_is_fluxs_to_end(world: World) -> None:
    storage = Storage(secret("pending-upgrade", now() - timedelta(days=1), writer="helm-controller"))
    free(world, NETWORK, cast("Context", storage))
    assert (storage.written, storage.looks) == ([], 0)


def test_anothers_helm_that_ends_is_not_written_over(world: World) -> None:
    ended = secret("deployed", now(), version="2")
    storage = Storage(secret("pending-upgrade", now()), lambda look: ended if look == 3 else None)
    free(world, NETWORK, cast("Context", storage))
    assert (storage.written, storage.looks) == ([], 3)


def test_anothers_helm_that_still_writes_is_left_alone(world: World) -> None:
    going_on = secret("pending-upgrade", now(), version="2")
    storage = Storage(secret("pending-upgrade", now()), lambda look: going_on if look == 3 else None)
    with pytest.raises(FirstlightError, match="another helm works on it"):
        free(world, NETWORK, cast("Context", storage))
    assert storage.written == []


def test_a_helm_that_ended_well_leaves_no_mark(world: World) -> None:
    mark = Mark.of(world, NETWORK)
    with mark.set():
        assert mark.covers(now())
    assert not mark.covers(now())


@pytest.mark.parametrize(("said", "stays"), [(BUSY, False), ("Error: timed out waiting for the condition", True)])
def test_a_helm_that_was_refused_has_begun_nothing(said: str, *, stays: bool, world: World) -> None:
    mark = Mark.of(world, NETWORK)
    with pytest.raises(CommandError), mark.set():
        raise CommandError("helm failed", cause=said, stderr=said)
    assert mark.covers(now()) is stays


def test_a_release_that_does_not_say_when_it_was_begun_is_not_ours(world: World) -> None:
    found: Any = replace(helm.decode(secret("pending-upgrade", now())), began=None)
    assert not begun(world, 10).covers(found.began)
