"""The Kubernetes API over the model: what `kube.cluster.Cluster` promises."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bootstrap.engine.step import Observation
from bootstrap.host import yaml_io
from bootstrap.host.objects import Object, mapping, name_of, namespace_of, objects, text
from kube.cluster import (
    CUSTOM_RESOURCE_DEFINITION,
    FIELD_MANAGER,
    LEASE,
    NAMESPACE,
    POD,
    SUCCESSORS,
    ApplyResult,
    Comparison,
    EventType,
    KindRef,
    Look,
    ObjectRef,
    Outcome,
    Standing,
    WatchEvent,
    reference,
)
from kube.crds import served_kinds
from kube.errors import KubeError, KubeErrorKind
from kube.ownership import compare, prepared
from tests.scripted.accidents import Accidents, Moment

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from bootstrap.host.clock import Clock
    from bootstrap.host.secret import Secret
    from bootstrap.host.yaml_io import Yaml
    from tests.scripted.ring import Ring

# Seconds after which a watch says that it is still there.
_HEARTBEAT_SECONDS = 2.0


class ScriptedCluster:
    """One connection to the API server of one control plane.

    Args:
        ring: the world.
        clock: what a watch waits by.
        kubeconfig: whom it trusts.
        server: URL of the API server; empty takes the kubeconfig's.
    """

    def __init__(self, ring: Ring, clock: Clock, kubeconfig: Secret, server: str = "") -> None:
        self._model = ring.model
        self._machines = ring.machines
        self._pods = ring.pods
        self._clock = clock
        self._authority, named = _cluster_of(kubeconfig.reveal())
        self._address = urlsplit(server or named).hostname or ""

    def close(self) -> None:
        """Nothing is kept open."""

    def ready(self) -> Look:
        """See `Cluster.ready`."""
        try:
            with self._model.look():
                self._count("readyz")
                self._answers("ask whether the API is ready")
        except KubeError as error:
            return Observation(holds=False, seen=error.cause)
        return Observation(holds=True, seen="readyz: ok")

    def version(self) -> str:
        """See `Cluster.version`."""
        return "v1.34.1"

    def identity(self) -> str:
        """See `Cluster.identity`."""
        found = self.get(NAMESPACE, "kube-system")
        return text(found, "metadata", "uid")

    def discover(self) -> frozenset[KindRef]:
        """See `Cluster.discover`."""
        with self._model.look():
            self._answers("discover the API")
            stored = {(text(item, "apiVersion"), text(item, "kind")) for item in self._model.every()}
            definitions = self._model.select(CUSTOM_RESOURCE_DEFINITION)
        return frozenset(stored | served_kinds(item for item in definitions if item.get("status")))

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        """See `Cluster.get`."""
        with self._model.look():
            self._answers(f"read {kind[1]} {name}")
            # Callers give a namespace for cluster-wide kinds too; the API server ignores it.
            return self._model.find(kind, name, namespace) or self._model.find(kind, name)

    def list_objects(self, kind: KindRef, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """See `Cluster.list_objects`."""
        with self._model.look():
            self._answers(f"list {kind[1]} objects")
            found = self._model.select(kind, namespace)
        return [item for item in found if _selected(item, labels, fields)]

    def watch(
        self, kind: KindRef, namespace: str = "", *, labels: str = "", name: str = "", seconds: float
    ) -> Iterator[WatchEvent]:
        """See `Cluster.watch`; looks whenever something happens by itself, and at every heartbeat."""
        never = threading.Event()
        end = self._clock.monotonic() + seconds
        fields = f"metadata.name={name}" if name else ""
        known: dict[tuple[str, str], Object] = {}
        while self._clock.monotonic() < end:
            with self._model.look():
                every = self.list_objects(kind, namespace, labels=labels, fields=fields)
                quiet = min(self._model.quiet, _HEARTBEAT_SECONDS)
            found = {(namespace_of(item), name_of(item)): item for item in every}
            for key, item in found.items():
                if known.get(key) != item:
                    yield WatchEvent(EventType.MODIFIED if key in known else EventType.ADDED, item)
            for key in known.keys() - found.keys():
                yield WatchEvent(EventType.DELETED, known[key])
            known = found
            yield WatchEvent(EventType.IDLE, {})
            self._clock.pause(quiet, never)

    def compare(self, objects: Sequence[Object], *, field_manager: str = FIELD_MANAGER) -> list[Comparison]:
        """See `Cluster.compare`."""
        return [self._compare(prepared(item), field_manager) for item in objects]

    def dry_run(
        self, objects: Sequence[Object], *, field_manager: str = FIELD_MANAGER, force: bool = False
    ) -> list[Comparison]:
        """See `Cluster.dry_run`; the model takes whatever has no field that others set otherwise."""
        for item in [] if force else objects:
            name = reference(item)
            with self._model.look():
                self._answers(f"apply {name}")
                live = self._model.find((name.api_version, name.kind), name.name, name.namespace)
            _refuse_contested(live or {}, prepared(item), field_manager)
        return self.compare(objects, field_manager=field_manager)

    def apply(
        self, objects: Sequence[Object], *, field_manager: str = FIELD_MANAGER, force: bool = False
    ) -> list[ApplyResult]:
        """See `Cluster.apply`; one object after the other, so that a run can be ended between any two."""
        ordered = sorted(objects, key=lambda item: item.get("kind") != NAMESPACE[1])
        return [self._apply(prepared(item), field_manager, force=force) for item in ordered]

    def swap(self, item: Object, *, field_manager: str = FIELD_MANAGER) -> Object | None:
        """See `Cluster.swap`."""
        name = reference(item)
        with self._model.look():
            self._answers(f"write {name}")
            live = self._model.find((name.api_version, name.kind), name.name, name.namespace)
            if text(item, "metadata", "resourceVersion") != text(live, "metadata", "resourceVersion"):
                return None
            kind = "lease" if name.kind == LEASE[1] else "swap"
            effect = self._model.effect(kind, f"{name} by {field_manager} at {self._identity()}")
            stored = self._model.store(item)
        self._model.done(effect)
        return stored

    def approve(self, item: Object) -> bool:
        """See `Cluster.approve`."""
        name = reference(item)
        with self._model.look():
            self._answers(f"approve {name}")
            live = self._model.find((name.api_version, name.kind), name.name)
            if text(item, "metadata", "resourceVersion") != text(live, "metadata", "resourceVersion"):
                return False
            effect = self._model.effect("approve", f"{name.name} at {self._identity()}")
            self._model.store(item)
        self._model.done(effect)
        return True

    def delete(self, name: ObjectRef) -> None:
        """See `Cluster.delete`."""
        kind = (name.api_version, name.kind)
        with self._model.look():
            self._answers(f"delete {name}")
            if self._model.find(kind, name.name, name.namespace) is None:
                return
            effect = self._model.effect("delete", f"{name} at {self._identity()}")
            self._model.remove(kind, name.name, name.namespace)
        self._model.done(effect)

    def try_create(self, item: Object) -> None:
        """See `Cluster.try_create`; the model takes whatever it is given."""
        with self._model.look():
            self._answers(f"create {reference(item)}")

    def openapi(self, api_versions: Collection[str]) -> Object:  # noqa: ARG002
        """See `Cluster.openapi`; kubeconform is replayed, so nobody reads it."""
        return {}

    def _compare(self, wanted: Object, manager: str) -> Comparison:
        name = reference(wanted)
        live = self.get((name.api_version, name.kind), name.name, name.namespace)
        return compare(wanted, live, manager=manager, successors=SUCCESSORS)

    def _apply(self, wanted: Object, manager: str, *, force: bool) -> ApplyResult:
        name = reference(wanted)
        with self._model.look():
            found = self._compare(wanted, manager)
            before = text(found.live, "metadata", "resourceVersion")
            if found.standing in {Standing.EQUAL, Standing.CEDED}:
                outcome = Outcome.CEDED if found.standing is Standing.CEDED else Outcome.UNCHANGED
                return ApplyResult(name, outcome, before)
            place = self._model.find(NAMESPACE, name.namespace) if name.namespace else {}
            if place is None:
                cause = f'namespaces "{name.namespace}" not found'
                raise KubeError(KubeErrorKind.NOT_FOUND, f"cannot apply {name}", cause=cause)
            if text(place, "metadata", "deletionTimestamp"):
                cause = f"unable to create new content in namespace {name.namespace} because it is being terminated"
                raise KubeError(KubeErrorKind.FORBIDDEN, f"cannot apply {name}", cause=cause)
            if not force:
                _refuse_contested(found.live or {}, wanted, manager)
            effect = self._model.effect("write", f"{name} at {self._identity()}")
            stored = self._model.store(applied(found.live or {}, wanted, manager))
            if name.kind == CUSTOM_RESOURCE_DEFINITION[1]:
                self._model.after(self._machines.delays.crd, "established", name.name)
            if name.kind == POD[1]:
                self._pods.created(stored)
        self._model.done(effect)
        outcome = Outcome.CHANGED if before else Outcome.CREATED
        return ApplyResult(name, outcome, text(stored, "metadata", "resourceVersion"))

    def _identity(self) -> str:
        return str(self._model.get("api")["cluster"])

    def _count(self, call: str) -> None:
        """A call that accidents may happen at."""
        machine = self._machines.at(self._address)
        if machine and machine["api"]:
            self._model.ask(f"{machine['name']} {call}")
            Accidents(self._model).at(call, machine["name"], Moment.BEFORE)

    def _answers(self, what: str) -> None:
        """Whether this API server answers and is the kubeconfig's."""
        machine = self._machines.at(self._address)
        if machine is None or not machine["api"]:
            raise KubeError(KubeErrorKind.UNREACHABLE, f"cannot {what}", cause=f"{self._address}: connection refused")
        if machine["kubernetes"] != self._authority:
            raise KubeError(KubeErrorKind.FOREIGN, f"cannot {what}", cause="self-signed certificate in chain")


@cache
def _cluster_of(kubeconfig: bytes) -> tuple[str, str]:
    """The authority and the server of a kubeconfig."""
    (cluster,) = objects(yaml_io.load(kubeconfig, source="kubeconfig"), "clusters")
    return text(cluster, "cluster", "certificate-authority-data"), text(cluster, "cluster", "server")


def applied(live: Object, wanted: Object, manager: str) -> Object:
    """An object after server-side apply; lists are one field."""
    merged = _merged(live, wanted)
    others = [entry for entry in objects(live, "metadata", "managedFields") if entry.get("manager") != manager]
    owned = _fields({key: value for key, value in wanted.items() if key not in {"apiVersion", "kind"}})
    metadata = mapping(owned, "f:metadata")
    for name in ("f:name", "f:namespace"):
        metadata.pop(name, None)
    if not metadata:
        owned.pop("f:metadata", None)
    entry: Object = {
        "manager": manager, "operation": "Apply", "apiVersion": text(wanted, "apiVersion"), "fieldsV1": owned,
    }  # fmt: skip
    entries: list[Yaml] = [*others, entry]
    return {**merged, "metadata": {**mapping(merged, "metadata"), "managedFields": entries}}


def _refuse_contested(live: Object, wanted: Object, manager: str) -> None:
    """Refuse an object of which others set a field otherwise, as the API server does."""
    found = [
        f'conflict with "{entry.get("manager")}": {place}'
        for entry in objects(live, "metadata", "managedFields")
        if entry.get("manager") != manager
        for place in _contested(mapping(entry, "fieldsV1"), live, wanted)
    ]
    if found:
        cause = f"Apply failed with {len(found)} conflict{'s' * (len(found) > 1)}: {'; '.join(found)}"
        raise KubeError(KubeErrorKind.CONFLICT, f"cannot apply {reference(wanted)}", cause=cause)


def _contested(owned: Object, live: Object, wanted: Object, place: str = "") -> Iterator[str]:
    for key, below in owned.items():
        name = key.removeprefix("f:")
        if name not in wanted or not isinstance(below, dict):
            continue
        ours, theirs = wanted[name], live.get(name)
        if below and isinstance(ours, dict) and isinstance(theirs, dict):
            yield from _contested(below, theirs, ours, f"{place}.{name}")
        elif ours != theirs:
            yield f"{place}.{name}"


def _fields(value: Object) -> Object:
    return {f"f:{key}": _fields(part) if isinstance(part, dict) else {} for key, part in value.items()}


def _merged(under: Object, over: Object) -> Object:
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        result[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _selected(item: Object, labels: str, fields: str) -> bool:
    has = mapping(item, "metadata", "labels")
    wanted = [pair.split("=", 1) for pair in labels.split(",") if pair]
    if any(has.get(key) != value for key, value in wanted):
        return False
    places = [pair.split("=", 1) for pair in fields.split(",") if pair]
    return all(text(item, *place.split(".")) == value for place, value in places)
