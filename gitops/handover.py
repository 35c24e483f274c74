"""Does Flux run this cluster? Looks at the live cluster for the gates of the hand-over."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Never, Protocol, TypeAlias

from bootstrap.engine.step import Observation
from bootstrap.host.objects import Object, number, objects, text
from gitops.tree import FLUX_SYSTEM, HELM_GROUP, KUSTOMIZE_GROUP, SOURCE_GROUP, Name, name_in

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

Look: TypeAlias = Observation[Never]
_KindRef: TypeAlias = tuple[str, str]

FLUX_INSTANCE: Final[_KindRef] = ("fluxcd.controlplane.io/v1", "FluxInstance")
GIT_REPOSITORY: Final[_KindRef] = (f"{SOURCE_GROUP}/v1", "GitRepository")
KUSTOMIZATION: Final[_KindRef] = (f"{KUSTOMIZE_GROUP}/v1", "Kustomization")
HELM_RELEASE: Final[_KindRef] = (f"{HELM_GROUP}/v2", "HelmRelease")

# The name that flux-operator demands of its one instance.
_INSTANCE: Final = "flux"
# Credentials in a URL are all that Flux puts into a message that it should not.
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")
# A condition's message can hold a whole manifest; the beginning says what is wrong.
_LONGEST: Final = 400


class LiveObjects(Protocol):
    """What is read of the live cluster."""

    def get(self, kind: _KindRef, name: str, namespace: str = "") -> Object | None:
        """One object; None when it or its kind is not there."""

    def list_objects(self, kind: _KindRef, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """All objects of a kind; empty when the kind is not served."""


def instance_ready(live: LiveObjects, version: str) -> Look:
    """Whether FluxInstance `flux` is Ready at a Flux version, such as `2.7.3`."""
    found = live.get(FLUX_INSTANCE, _INSTANCE, FLUX_SYSTEM)
    if found is None:
        return _no("FluxInstance flux-system/flux is not there")
    trouble = _not_ready(found)
    revision = text(found, "status", "lastAppliedRevision")
    if trouble:
        return _no(trouble)
    if revision.partition("@")[0].removeprefix("v") != version.removeprefix("v"):
        return _no(f"FluxInstance flux-system/flux is Ready at {revision or 'no revision'}, {version} is wanted")
    return _yes(f"FluxInstance Ready at {revision}")


def source_at(live: LiveObjects, commit: str) -> Look:
    """Whether GitRepository `flux-system` is Ready with the artifact of a commit."""
    found = live.get(GIT_REPOSITORY, FLUX_SYSTEM, FLUX_SYSTEM)
    if found is None:
        return _no("GitRepository flux-system/flux-system is not there")
    revision = text(found, "status", "artifact", "revision")
    trouble = _not_ready(found)
    if trouble:
        return _no(trouble)
    if not _is_at(revision, commit):
        return _no(f"GitRepository is at {revision or 'no revision'}, {commit[:12]} is wanted")
    return _yes(f"GitRepository Ready at {revision}")


def kustomizations_at(live: LiveObjects, commit: str, expected: Collection[Name]) -> Look:
    """Whether all expected Kustomizations, and all others there are, are Ready at a commit.

    What is seen names the one that others wait for, `dependsOn` followed to the cause, and what it says itself.

    Args:
        live: the cluster.
        commit: the full id.
        expected: those of the tree; one that is missing does not hold.
    """
    found = {name_in(item): item for item in live.list_objects(KUSTOMIZATION)}
    releases = live.list_objects(HELM_RELEASE)
    return judge_kustomizations(found, releases, commit, expected)


def judge_kustomizations(
    found: Mapping[Name, Object], releases: Sequence[Object], commit: str, expected: Collection[Name]
) -> Look:
    """As `kustomizations_at`, over what was read."""
    names = sorted({*found, *expected})
    troubles = {name: trouble for name in names if (trouble := _behind(found.get(name), name, commit))}
    done = f"{len(names) - len(troubles)} of {len(names)} Kustomizations Ready at {commit[:12]}"
    if not expected:
        return _no("no Kustomization is expected, so nothing can be proven")
    if not troubles:
        return _yes(done)
    cause = _leaf(next(iter(troubles)), troubles, found)
    below = [trouble for release in releases if _applied_by(release, cause) and (trouble := _not_ready(release))]
    return _no(masked("; ".join([done, troubles[cause], *below[:1]])))


def releases_ready(live: LiveObjects, expected: Collection[Name]) -> Look:
    """Whether all expected HelmReleases, and all others there are, are Ready with their current generation."""
    found = {name_in(item): item for item in live.list_objects(HELM_RELEASE)}
    names = sorted({*found, *expected})
    troubles = [_not_ready(found[name]) if name in found else f"HelmRelease {name} is not there" for name in names]
    waiting = [trouble for trouble in troubles if trouble]
    done = f"{len(names) - len(waiting)} of {len(names)} HelmReleases Ready"
    if not names:
        return _no("there is no HelmRelease")
    return _no(masked(f"{done}; {waiting[0]}")) if waiting else _yes(done)


def masked(message: str) -> str:
    """A message without credentials, on one line, not longer than a person reads."""
    return _CREDENTIALS.sub("[redacted]@", " ".join(message.split()))[:_LONGEST]


def _leaf(name: Name, troubles: Mapping[Name, str], found: Mapping[Name, Object]) -> Name:
    """The one that waits for nobody, starting at one that may wait for others."""
    seen = {name}
    while True:
        item = found.get(name, {})
        waits_for = [
            other
            for dependency in objects(item, "spec", "dependsOn")
            if (other := Name(text(dependency, "namespace") or name.namespace, text(dependency, "name"))) in troubles
            and other not in seen
        ]
        if not waits_for:
            return name
        name = waits_for[0]
        seen.add(name)


def _behind(item: Object | None, name: Name, commit: str) -> str:
    if item is None:
        return f"Kustomization {name} is not there"
    trouble = _not_ready(item)
    revision = text(item, "status", "lastAppliedRevision")
    if not trouble and not _is_at(revision, commit):
        return f"Kustomization {name} is Ready at {revision or 'no revision'}"
    return trouble


def _not_ready(item: Object) -> str:
    """Why an object of Flux is not Ready; empty when it is."""
    what = f"{text(item, 'kind')} {name_in(item)}"
    conditions = {text(one, "type"): one for one in objects(item, "status", "conditions")}
    ready = conditions.get("Ready")
    if item.get("spec") and text(item, "spec", "suspend") == "true":
        return f"{what} is suspended"
    if ready is None:
        return f"{what} has no condition yet"
    # Flux's controllers note it in the status, flux-operator in the condition.
    observed = number(item, "status", "observedGeneration") or number(ready, "observedGeneration")
    current = observed == number(item, "metadata", "generation")
    behind = "" if current else f"generation {number(item, 'metadata', 'generation')} is not observed yet"
    if text(ready, "status") == "True":
        return f"{what}: {behind}" if behind else ""
    stalled = "stalled" if text(conditions.get("Stalled", {}), "status") == "True" else ""
    # An object that never got through says why, and never observes its generation.
    said = f"{text(ready, 'reason')}: {text(ready, 'message')}"
    return masked("; ".join([f"{what}: {said}", *filter(None, (stalled, behind))]))


def _is_at(revision: str, commit: str) -> bool:
    # Flux writes `refs/heads/main@sha1:<commit>`, or `main@sha1:<commit>`, or the bare commit.
    return bool(commit) and revision.rpartition(":")[2] == commit


def _applied_by(item: Object, name: Name) -> bool:
    labels = (f"{KUSTOMIZE_GROUP}/namespace", f"{KUSTOMIZE_GROUP}/name")
    return Name(*(text(item, "metadata", "labels", label) for label in labels)) == name


def _no(seen: str) -> Look:
    return Observation(holds=False, seen=seen)


def _yes(seen: str) -> Look:
    return Observation(holds=True, seen=seen)
