"""Did Flux take a release over without touching what runs?

helm-controller 1.4.3 finds a release that it did not make (`Unmanaged` in internal/reconcile/state.go) and
upgrades it once, adding the labels `helm.toolkit.fluxcd.io/name` and `/namespace` to every object
(internal/postrender). Nothing else may differ, nothing may move, and nobody may be restarted. It is Ready only after
it has looked at the release once more and found nothing to do (internal/reconcile/atomic_release.go), so a HelmRelease
that is Ready at the one further revision has shown that the next reconciliation adds none.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.engine.step import Observation
from bootstrap.host.objects import Object, mapping, number, objects, text
from kube import helm
from kube.revisions import Revision, Running, revision_of, running_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.host.yaml_io import Yaml
    from kube.cluster import Cluster, Look

ADOPTER: Final = "helm-controller"
_HELM_RELEASE: Final = ("helm.toolkit.fluxcd.io/v2", "HelmRelease")


@dataclass(frozen=True)
class AdoptionBaseline:
    """A release before Flux knows of it; goes into the journal as JSON.

    Attributes:
        name: the release.
        namespace: where it is.
        revision: the last one that was ours.
        running: what ran then; None when Flux had the release already, so that it cannot be compared.
    """

    name: str
    namespace: str
    revision: Revision
    running: Running | None

    def to_json(self) -> Object:
        """As a JSON-like object without secrets."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Object) -> AdoptionBaseline:
        """The inverse of `to_json`."""
        revision, running = mapping(data, "revision"), data.get("running")
        return cls(
            name=text(data, "name"),
            namespace=text(data, "namespace"),
            revision=Revision(
                number=number(revision, "number"),
                status=text(revision, "status"),
                deployed_by=text(revision, "deployed_by"),
                chart=text(revision, "chart"),
                chart_digest=text(revision, "chart_digest"),
                values_digest=text(revision, "values_digest"),
                objects={key: str(value) for key, value in mapping(revision, "objects").items()},
            ),
            running=Running(_numbers(running, "generations"), _numbers(running, "pods")) if running else None,
        )


@dataclass(frozen=True)
class AdoptionState:
    """A release now.

    Attributes:
        revisions: oldest first.
        running: what runs.
        observed: revision that the HelmRelease says it made last; 0 when it says nothing.
        ready: the HelmRelease's Ready condition, `True` or why not.
    """

    revisions: Sequence[Revision]
    running: Running
    observed: int
    ready: str


@dataclass(frozen=True)
class Judgement:
    """Whether a release was adopted as it should be.

    Attributes:
        violations: what the adoption changed; empty when it changed nothing.
        unproven: what could not be compared.
        is_same: whether chart, values and manifest are what they were.
    """

    violations: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    is_same: bool = True


def collect_baseline(cluster: Cluster, name: str, namespace: str, key: bytes) -> AdoptionBaseline | None:
    """The baseline of a release; None when we have not installed it.

    Args:
        cluster: where it runs.
        name: helm's name of the release.
        namespace: where it is stored.
        key: of the digests; the same at judgement, so it must survive a resumed run, and never be stored.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    history = helm.history(cluster, name, namespace)
    ours = [release for release in history if release.deployed_by != ADOPTER]
    if not ours:
        return None
    running = running_of(cluster, ours[-1]) if ours[-1] is history[-1] else None
    return AdoptionBaseline(name, namespace, revision_of(ours[-1], key), running)


def collect_state(cluster: Cluster, name: str, namespace: str, key: bytes) -> AdoptionState:
    """The release as it is now; see `collect_baseline`.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    history = helm.history(cluster, name, namespace)
    item = _helm_release(cluster, name, namespace)
    conditions = {text(one, "type"): one for one in objects(item, "status", "conditions")}
    ready = conditions.get("Ready", {})
    return AdoptionState(
        revisions=[revision_of(release, key) for release in history],
        running=running_of(cluster, history[-1]) if history else Running(),
        observed=number(item, "status", "history", 0, "version"),
        ready=text(ready, "status") if text(ready, "status") == "True" else text(ready, "message") or "no condition",
    )


def adopted(baseline: AdoptionBaseline, now: AdoptionState) -> Look:
    """Whether helm-controller has taken the release over and is done; what a gate waits for."""
    name = f"{baseline.namespace}/{baseline.name}"
    latest = now.revisions[-1] if now.revisions else None
    if latest is None:
        return Observation(holds=False, seen=f"release {name} is gone")
    by = f"release {name} revision {latest.number} {latest.status} by {latest.deployed_by}"
    if latest.deployed_by != ADOPTER or latest.status != "deployed":
        return Observation(holds=False, seen=by)
    if now.observed != latest.number or now.ready != "True":
        return Observation(holds=False, seen=f"{by}; HelmRelease at {now.observed}: {now.ready}")
    return Observation(holds=True, seen=by)


def judge(baseline: AdoptionBaseline, now: AdoptionState) -> Judgement:
    """Hold a release against its baseline."""
    pending = adopted(baseline, now)
    if not pending.holds:
        return Judgement(violations=(f"not adopted: {pending.seen}",))
    before, after = baseline.revision, now.revisions[-1]
    others: list[str] = []
    if (before.chart, before.chart_digest) != (after.chart, after.chart_digest):
        others.append(f"the chart is another one: {before.chart} before, {after.chart} after")
    if before.values_digest != after.values_digest:
        others.append("the values differ between helmfile and Git")
    others += _changes("in the manifest", before.objects, after.objects)
    violations = list(others)
    if after.number != before.number + 1:
        violations.append(f"{after.number - before.number} further revisions, exactly 1 is allowed")
    if baseline.running is None:
        name = f"{baseline.namespace}/{baseline.name}"
        late = f"{name} was adopted before generations and pods could be noted"
        return Judgement(tuple(violations), (late,), is_same=not others)
    violations += _changes("generation", baseline.running.generations, now.running.generations)
    for pod, restarts in sorted(baseline.running.pods.items()):
        if pod not in now.running.pods:
            violations.append(f"pod {pod} was replaced")
        elif now.running.pods[pod] > restarts:
            violations.append(f"pod {pod} was restarted in place: {now.running.ends.get(pod, 'no end is known')}")
    return Judgement(tuple(violations), is_same=not others)


def _changes(what: str, before: Mapping[str, str | int], after: Mapping[str, str | int]) -> list[str]:
    gone = [f"{name} is gone ({what})" for name in sorted(before.keys() - after.keys())]
    new = [f"{name} is new ({what})" for name in sorted(after.keys() - before.keys())]
    moved = [
        f"{name} changed ({what}{f' {before[name]} to {after[name]}' if isinstance(before[name], int) else ''})"
        for name in sorted(before.keys() & after.keys())
        if before[name] != after[name]
    ]
    return [*gone, *new, *moved]


def _helm_release(cluster: Cluster, name: str, namespace: str) -> Object:
    """The HelmRelease of a release: by its name, else by the name of the release that it gives."""
    found = cluster.get(_HELM_RELEASE, name, namespace)
    if found is not None:
        return found
    every = cluster.list_objects(_HELM_RELEASE)
    return next((item for item in every if text(item, "spec", "releaseName") == name), {})


def _numbers(value: Yaml, name: str) -> dict[str, int]:
    return {key: int(part) for key, part in mapping(value, name).items() if isinstance(part, int)}
