"""A run of one proof against a real API server: the test plays the controllers whenever the run pauses."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from bootstrap.engine import Phase
from bootstrap.engine.testing import FakeClock, Recording, run_phases
from bootstrap.host.objects import mapping, name_of, text
from bootstrap.host.secret import Secret
from kube.belongings import OURS
from kube.cluster import NAMESPACE, ObjectRef, reference
from phases.proofs import proving_step
from phases.refs import API, EXTRACT, FILES, SECRETS
from phases.secret_sync import TOKEN
from phases.world import Access, Credentials
from talos.probe import State
from tests.unit.phases import rack as racks

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bootstrap.engine.verdict import StepResult
    from bootstrap.host.objects import Object
    from kube.cluster import KindRef
    from kube.lightkube_cluster import LightkubeCluster
    from phases.proofs import Proving
    from phases.world import World


class Turns(FakeClock):
    """Time that passes at once; whenever somebody pauses, everybody else has a turn.

    Args:
        turn: the others'.
        pace: how many times longer a pause is than asked for, where a wait is to end soon.
    """

    def __init__(self, turn: Callable[[], None], pace: float) -> None:
        super().__init__()
        self._turn = turn
        self._pace = pace

    def pause(self, seconds: float, cancelled: threading.Event) -> bool:
        """See `FakeClock.pause`."""
        self._turn()
        return super().pause(seconds * self._pace, cancelled)


class Tree:
    """A tree with some HelmReleases."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def find(self, _group: str, _kind: str, name: Any) -> object | None:
        return name.name if name.name in self._names else None


@dataclass
class Ran:
    """What became of a run.

    Attributes:
        step: of the proof.
        seen: of every look that a wait told of.
    """

    step: StepResult
    seen: list[str]


@dataclass
class Bench:
    """A place for runs of one proof.

    Attributes:
        cluster: the API server.
        proving: makes the proof for a world.
        folder: for the state.
        turn: what happens at each pause.
        token: of 1Password Connect, as our own provider reads it.
        definitions: that the charts brought.
        stand_ins: releases that are.
        settings: fields of the world that differ.
        pace: see `Turns`.
    """

    cluster: LightkubeCluster
    proving: Callable[[World], Proving]
    folder: Path
    turn: Callable[[], None]
    token: str = "the token"
    definitions: tuple[Object, ...] = ()
    stand_ins: frozenset[str] = frozenset()
    settings: dict[str, Any] = field(default_factory=dict)
    pace: float = 1.0

    def run(self) -> Ran:
        """One run of it."""
        rack = racks.Rack(racks.cluster(1), State.OURS)
        world = replace(racks.world(rack, self.folder), stand_ins=self.stand_ins, **self.settings)
        proving = self.proving(world)
        after = {name.name: None for name in proving.releases}
        secrets = Credentials(cast("Any", None), Secret("", "talosconfig"), {TOKEN: Secret(self.token, "op://a/b/c")})
        recording = Recording()
        values = {
            FILES.name: Tree(*after), API.name: Access(self.cluster, self.folder), EXTRACT.name: self.definitions,
            SECRETS.name: secrets, **after,
        }  # fmt: skip
        phase = Phase(name="core", title="core", steps=(proving_step(world, proving),), target=5000.0)
        verdict = run_phases(
            (phase,), values=values, readers=[recording], clock=Turns(self.turn, self.pace), target=9000.0
        )
        seen = [event.seen for event in recording.events if hasattr(event, "seen")]
        return Ran(list(verdict.steps())[-1], seen)


def of_a_proof(cluster: LightkubeCluster, kind: KindRef, namespace: str = "") -> list[Object]:
    """What proofs made of a kind."""
    return cluster.list_objects(kind, namespace, labels=OURS)


def say(cluster: LightkubeCluster, item: Object, **condition: str) -> None:
    """Write a condition into an object's status, as its controller does."""
    now = "2026-01-01T00:00:00Z"
    status: Object = {"conditions": [{"type": "Ready", "lastTransitionTime": now, "reason": "x", **condition}]}
    name = reference(item)
    wanted: Object = {
        "apiVersion": name.api_version, "kind": name.kind,
        "metadata": {"name": name.name, "namespace": name.namespace}, "status": status,
    }  # fmt: skip
    path = f"{cluster.path_of(name, 'write')}/status"
    cluster._transport.json(
        "PATCH", path, {"fieldManager": "controller", "force": "true"}, what="write a status", body=wanted
    )


def bury(cluster: LightkubeCluster, kinds: Iterable[KindRef]) -> None:
    """Do with namespaces that are to go what the namespace controller does: they go when nothing is in them."""
    for namespace in of_a_proof(cluster, NAMESPACE):
        if not text(namespace, "metadata", "deletionTimestamp"):
            continue
        for kind in kinds:
            for item in cluster.list_objects(kind, name_of(namespace)):
                cluster.delete(reference(item))
        done: Object = {**namespace, "spec": {"finalizers": []}}
        path = f"{cluster.path_of(reference(namespace), 'end')}/finalize"
        cluster._transport.json("PUT", path, what="end a namespace", body=done, body_type="application/json")


def await_registered(look: Callable[[], str], words: str) -> None:
    """Wait in real time until the API server has taken a registration over."""
    deadline = time.monotonic() + 30
    while words not in (seen := look()):
        assert time.monotonic() < deadline, seen
        time.sleep(0.05)


def namespace(name: str, labels: Object | None = None) -> Object:
    return {"apiVersion": NAMESPACE[0], "kind": NAMESPACE[1], "metadata": {"name": name, "labels": labels or {}}}


def named(kind: KindRef, item: Object, name: str) -> ObjectRef:
    """Another object beside one."""
    return ObjectRef(*kind, text(mapping(item, "metadata"), "namespace"), name)
