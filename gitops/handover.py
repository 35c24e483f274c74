"""Does Flux run this cluster? Looks at the live cluster for the gates of the hand-over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Never, Protocol, TypeAlias

from bootstrap.engine.proof import Proof, ProofKind
from bootstrap.engine.step import Observation
from bootstrap.host.objects import Object, mapping, text
from gitops import apart
from gitops.conditions import Trouble, masked, refused, trouble
from gitops.tree import FLUX_SYSTEM, HELM_GROUP, KUSTOMIZE_GROUP, SOURCE_GROUP, Name, dependencies, name_in

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from bootstrap.engine.step import Conflict

Look: TypeAlias = Observation[Never]
_KindRef: TypeAlias = tuple[str, str]

FLUX_INSTANCE: Final[_KindRef] = ("fluxcd.controlplane.io/v1", "FluxInstance")
GIT_REPOSITORY: Final[_KindRef] = (f"{SOURCE_GROUP}/v1", "GitRepository")
KUSTOMIZATION: Final[_KindRef] = (f"{KUSTOMIZE_GROUP}/v1", "Kustomization")
HELM_RELEASE: Final[_KindRef] = (f"{HELM_GROUP}/v2", "HelmRelease")
_SOURCE_VERSION: Final = f"{SOURCE_GROUP}/v1"

# Seconds for which a conflict must stand; what a restart or an order of events mends is over by then, and a person is
# told within half a minute.
GRACE_SECONDS: Final = 20.0
# The name that flux-operator demands of its one instance.
_INSTANCE: Final = "flux"


class LiveObjects(Protocol):
    """What is read of the live cluster."""

    def get(self, kind: _KindRef, name: str, namespace: str = "") -> Object | None:
        """One object; None when it or its kind is not there."""

    def list_objects(self, kind: _KindRef, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """All objects of a kind; empty when the kind is not served."""


@dataclass(frozen=True)
class Applied:
    """The Kustomizations of a cluster and what hangs on them, as read.

    Attributes:
        found: every Kustomization by its name.
        releases: every HelmRelease.
        is_source_there: whether the Git source has the commit; what a Kustomization refuses before is of another one.
    """

    found: Mapping[Name, Object]
    releases: Sequence[Object] = ()
    is_source_there: bool = True


def instance_ready(live: LiveObjects, version: str) -> Look:
    """Whether FluxInstance `flux` is Ready at a Flux version, such as `2.7.3`."""
    found = live.get(FLUX_INSTANCE, _INSTANCE, FLUX_SYSTEM)
    if found is None:
        return _no("FluxInstance flux-system/flux is not there")
    wrong = trouble(found)
    revision = text(found, "status", "lastAppliedRevision")
    if wrong:
        return _no(wrong.seen, wrong.conflict)
    if revision.partition("@")[0].removeprefix("v") != version.removeprefix("v"):
        return _no(f"FluxInstance flux-system/flux is Ready at {revision or 'no revision'}, {version} is wanted")
    return _yes(f"FluxInstance Ready at {revision}")


def source_at(live: LiveObjects, commit: str) -> Look:
    """Whether GitRepository `flux-system` is Ready with the artifact of a commit."""
    found = live.get(GIT_REPOSITORY, FLUX_SYSTEM, FLUX_SYSTEM)
    if found is None:
        return _no("GitRepository flux-system/flux-system is not there")
    revision = text(found, "status", "artifact", "revision")
    wrong = trouble(found)
    if wrong:
        return _no(wrong.seen, wrong.conflict)
    if not _is_at(revision, commit):
        return _no(f"GitRepository is at {revision or 'no revision'}, {commit[:12]} is wanted")
    return _yes(f"GitRepository Ready at {revision}")


def kustomizations_at(live: LiveObjects, commit: str, expected: Collection[Name]) -> Look:
    """Whether all expected Kustomizations, and all others there are, are Ready at a commit.

    What is seen names the one that others wait for, `dependsOn` followed to the cause, and what it says itself.
    Workloads and what needs the other cluster are not waited for; each is a proof of its own.

    Args:
        live: the cluster.
        commit: the full id.
        expected: those of the tree; one that is missing does not hold.
    """
    found = {name_in(item): item for item in live.list_objects(KUSTOMIZATION)}
    source = live.get(GIT_REPOSITORY, FLUX_SYSTEM, FLUX_SYSTEM) or {}
    is_there = _is_at(text(source, "status", "artifact", "revision"), commit)
    return judge_kustomizations(Applied(found, live.list_objects(HELM_RELEASE), is_there), commit, expected)


def judge_kustomizations(applied: Applied, commit: str, expected: Collection[Name]) -> Look:
    """As `kustomizations_at`, over what was read."""
    found = applied.found
    names = sorted({*found, *expected})
    troubles = {name: wrong for name in names if (wrong := _behind(found.get(name), name, commit))}
    separate = apart.reasons(found)
    initial = [name for name in names if name not in separate]
    waiting = {name: wrong for name, wrong in troubles.items() if name not in separate}
    proofs = tuple(_apart(name, why, troubles.get(name)) for name, why in sorted(separate.items()))
    done = f"{len(initial) - len(waiting)} of {len(initial)} Kustomizations Ready at {commit[:12]}"
    if not expected:
        return _no("no Kustomization is expected, so nothing can be proven")
    if not waiting:
        return Observation(holds=True, seen=done, proofs=proofs)
    cause = _first(waiting, found)
    loop = _loop(cause, found)
    wrong = _circular(loop) if loop else waiting[cause]
    below = [lower.seen for release in applied.releases if _applied_by(release, cause) and (lower := trouble(release))]
    return _no(masked("; ".join([done, wrong.seen, *below[:1]])), wrong.conflict if applied.is_source_there else None)


def releases_ready(live: LiveObjects, expected: Collection[Name]) -> Look:
    """Whether all expected HelmReleases, and all others there are, are Ready with their current generation.

    What is seen names the one that others wait for, and the source of its chart where that is what fails. Those of
    workloads, and of what needs the other cluster, are not waited for.
    """
    separate = apart.reasons({name_in(item): item for item in live.list_objects(KUSTOMIZATION)})
    every = {name_in(item): item for item in live.list_objects(HELM_RELEASE)}
    found = {name: item for name, item in every.items() if not any(_applied_by(item, other) for other in separate)}
    names = sorted({*found, *(name for name in expected if name not in every)})
    troubles = {
        name: wrong
        for name in names
        if (wrong := trouble(found[name]) if name in found else Trouble(f"HelmRelease {name} is not there"))
    }
    done = f"{len(names) - len(troubles)} of {len(names)} HelmReleases Ready"
    if not names:
        return _no("there is no HelmRelease")
    if not troubles:
        return _yes(done)
    cause = _first(troubles, found)
    source = _chart_trouble(live, found[cause]) if cause in found else None
    wrong = troubles[cause]
    conflict = (source.conflict if source else None) or wrong.conflict
    return _no(masked("; ".join([done, wrong.seen, *([source.seen] if source else [])])), conflict)


def _first(troubles: Mapping[Name, Trouble], found: Mapping[Name, Object]) -> Name:
    """The first that waits for nobody; of several, one that no waiting mends."""
    leaves = [_leaf(name, troubles, found) for name in troubles]
    return next((name for name in leaves if troubles[name].conflict or _loop(name, found)), leaves[0])


def _leaf(name: Name, troubles: Mapping[Name, Trouble], found: Mapping[Name, Object]) -> Name:
    """The one that waits for nobody, starting at one that may wait for others."""
    seen = {name}
    while True:
        others = dependencies(found.get(name, {}), name.namespace)
        waits_for = [other for other in others if other in troubles and other not in seen]
        if not waits_for:
            return name
        name = waits_for[0]
        seen.add(name)


def _loop(name: Name, found: Mapping[Name, Object]) -> tuple[Name, ...]:
    """The way on which a Kustomization waits for itself; empty when it does not."""
    ways: list[tuple[Name, ...]] = [(name,)]
    seen: set[Name] = set()
    while ways:
        way = ways.pop()
        for other in dependencies(found.get(way[-1], {}), way[-1].namespace):
            if other == name:
                return (*way, name)
            if other not in seen:
                seen.add(other)
                ways.append((*way, other))
    return ()


def _circular(loop: tuple[Name, ...]) -> Trouble:
    way = " -> ".join(str(name) for name in loop)
    return refused(
        f"Kustomization {loop[0]} waits for itself", cause=f"dependsOn: {way}", remedy="break the loop, commit, push"
    )


def _apart(name: Name, why: str, wrong: Trouble | None) -> Proof:
    criterion = f"Kustomization {name} is Ready ({why})"
    if wrong is None:
        return Proof(criterion, "Ready at the commit")
    return Proof(criterion, f"{why}: {wrong.seen}", ProofKind.UNPROVEN)


def _behind(item: Object | None, name: Name, commit: str) -> Trouble | None:
    if item is None:
        return Trouble(f"Kustomization {name} is not there")
    wrong = trouble(item)
    if wrong is None:
        revision = text(item, "status", "lastAppliedRevision")
        at = f"Kustomization {name} is Ready at {revision or 'no revision'}"
        return None if _is_at(revision, commit) else Trouble(at)
    attempted = text(item, "status", "lastAttemptedRevision")
    # What it says of another commit may be mended in this one.
    return wrong if not attempted or _is_at(attempted, commit) else Trouble(wrong.seen)


def _chart_trouble(live: LiveObjects, release: Object) -> Trouble | None:
    """Why the source of a release's chart is not Ready; None when it is, or is not there."""
    namespace = name_in(release).namespace
    reference = mapping(release, "spec", "chartRef")
    if reference:
        kind, name = text(reference, "kind"), text(reference, "name")
        source = live.get((_SOURCE_VERSION, kind), name, text(reference, "namespace") or namespace)
        return trouble(source) if source else None
    # helm-controller notes the HelmChart that it made as `namespace/name`.
    where, _, name = text(release, "status", "helmChart").partition("/")
    chart = live.get((_SOURCE_VERSION, "HelmChart"), name, where) if name else None
    return trouble(chart) if chart else None


def _is_at(revision: str, commit: str) -> bool:
    # Flux writes `refs/heads/main@sha1:<commit>`, or `main@sha1:<commit>`, or the bare commit.
    return bool(commit) and revision.rpartition(":")[2] == commit


def _applied_by(item: Object, name: Name) -> bool:
    labels = (f"{KUSTOMIZE_GROUP}/namespace", f"{KUSTOMIZE_GROUP}/name")
    return Name(*(text(item, "metadata", "labels", label) for label in labels)) == name


def _no(seen: str, conflict: Conflict | None = None) -> Look:
    return Observation(holds=False, seen=seen, conflict=conflict)


def _yes(seen: str) -> Look:
    return Observation(holds=True, seen=seen)
