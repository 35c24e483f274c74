"""Server-side apply of what is not yet as it should be, and the same as a dry run."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from bootstrap.host.objects import Object, name_of, text
from kube.cluster import (
    NAMESPACE,
    SUCCESSORS,
    ApplyResult,
    Comparison,
    KindRef,
    ObjectRef,
    Outcome,
    Standing,
    reference,
)
from kube.errors import KubeError, KubeErrorKind, merged
from kube.helm import differing
from kube.ownership import compare, prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kube.transport import Transport

# What the server makes new in every answer, or says by itself of an object that it took.
_SERVERS_OWN: Final = tuple(
    f"metadata.{name}" for name in ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
)
_WHOLE: Final = "application/json"
# Of an object that was written only the version is read, and a definition has 400 kB.
_METADATA: Final = f"{_WHOLE};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{_WHOLE}"
# Enough to see what is going on.
_SHOWN: Final = 5

# From so many on, one list is quicker than a question for each object, though it may bring others as well.
MANY: Final = 8

_Item = TypeVar("_Item")
_Made = TypeVar("_Made")


class Places(Protocol):
    """Where objects are."""

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        """One object or None; see `Cluster.get`."""

    def list_objects(self, kind: KindRef, namespace: str = "") -> list[Object]:
        """All objects of a kind; see `Cluster.list_objects`."""

    def path_of(self, name: ObjectRef, verb: str) -> str:
        """Where an object is served.

        Raises:
            KubeError: its kind is not served; `verb` says what cannot be done.
        """


class Applier:
    """Writes objects over several connections.

    Args:
        transport: to the API server.
        places: where objects are.
        connections: how many objects at the same time.
    """

    def __init__(self, transport: Transport, places: Places, connections: int) -> None:
        self._transport = transport
        self._places = places
        self._connections = connections

    def compare(self, objects: Sequence[Object], manager: str) -> list[Comparison]:
        """How each object stands; see `Cluster.compare`."""
        wanted = [prepared(item) for item in objects]
        listed = self._listed(wanted)

        def look(item: Object) -> Comparison:
            name = reference(item)
            place = (name.api_version, name.kind), name.namespace
            if place in listed:
                live = listed[place].get(name.name)
            else:
                live = self._places.get(place[0], name.name, name.namespace)
            return compare(item, live, manager=manager, successors=SUCCESSORS)

        return self._each(look, wanted)

    def dry_run(self, objects: Sequence[Object], manager: str, *, force: bool) -> list[Comparison]:
        """How each object would stand, by the server's own judgement; see `Cluster.dry_run`."""
        parameters = {**_parameters(manager, force=force), "dryRun": "All"}
        coming = {name_of(item) for item in objects if item.get("kind") == NAMESPACE[1]}
        pairs = list(zip(objects, self.compare(objects, manager), strict=True))
        return self._each(lambda pair: self._try(*pair, parameters, coming), pairs)

    def apply(self, objects: Sequence[Object], manager: str, *, force: bool) -> list[ApplyResult]:
        """Server-side apply, namespaces first; see `Cluster.apply`."""
        parameters = _parameters(manager, force=force)
        ordered = sorted(objects, key=_wave)
        pairs = list(zip(ordered, self.compare(ordered, manager), strict=True))
        return [
            result
            for _, wave in groupby(pairs, key=lambda pair: _wave(pair[0]))
            for result in self._each(lambda pair: self._apply(*pair, parameters), list(wave))
        ]

    def _listed(self, wanted: Sequence[Object]) -> dict[tuple[KindRef, str], dict[str, Object]]:
        """The live objects of every kind and namespace of which many are wanted, by name."""
        names = map(reference, wanted)
        counts = Counter(((name.api_version, name.kind), name.namespace) for name in names)
        return {
            place: {name_of(item): item for item in self._places.list_objects(*place)}
            for place, count in counts.items()
            if count >= MANY
        }

    def _each(self, work: Callable[[_Item], _Made], items: Sequence[_Item]) -> list[_Made]:
        """Work on all items, so many at a time as there are connections; what failed is told of all at once.

        Raises:
            KubeError: of the items that failed; the others are done.
        """
        if len(items) <= 1:
            return [work(item) for item in items]
        failed: list[KubeError] = []
        made: list[_Made] = []
        with ThreadPoolExecutor(min(self._connections, len(items)), "kube") as pool:
            for future in [pool.submit(work, item) for item in items]:
                try:
                    made.append(future.result())
                except KubeError as error:
                    failed.append(error)
        if failed:
            raise merged(failed)
        return made

    def _apply(self, item: Object, found: Comparison, parameters: Mapping[str, str]) -> ApplyResult:
        name = found.reference
        before = text(found.live, "metadata", "resourceVersion")
        if found.standing is Standing.CEDED:
            return ApplyResult(name, Outcome.CEDED, before)
        if found.standing is Standing.EQUAL:
            return ApplyResult(name, Outcome.UNCHANGED, before)
        written = self._send(name, item, parameters, accept=_METADATA)
        after = text(written, "metadata", "resourceVersion")
        changed = Outcome.UNCHANGED if after == before else Outcome.CHANGED
        return ApplyResult(name, changed if before else Outcome.CREATED, after)

    def _try(self, item: Object, found: Comparison, parameters: Mapping[str, str], coming: set[str]) -> Comparison:
        if found.standing in {Standing.CEDED, Standing.EQUAL}:
            return found
        try:
            answer = self._send(found.reference, item, parameters)
        except KubeError as error:
            # Nothing can be tried in a namespace that the same objects bring.
            if error.kind is KubeErrorKind.NOT_FOUND and found.reference.namespace in coming:
                return found
            raise
        if found.live is None:
            return found
        changed = [place for place in differing(found.live, answer) if not place.startswith(_SERVERS_OWN)]
        return replace(found, differences=tuple(changed[:_SHOWN]) or found.differences)

    def _send(self, name: ObjectRef, item: Object, parameters: Mapping[str, str], *, accept: str = _WHOLE) -> Object:
        path, what = self._places.path_of(name, "apply"), f"apply {name}"
        return self._transport.json("PATCH", path, parameters, body=prepared(item), what=what, accept=accept)


def _wave(item: Object) -> int:
    """What is applied first, because the rest is in it."""
    return 0 if item.get("kind") == NAMESPACE[1] else 1


def _parameters(manager: str, *, force: bool) -> dict[str, str]:
    return {"fieldManager": manager, "fieldValidation": "Strict", "force": str(force).lower()}
