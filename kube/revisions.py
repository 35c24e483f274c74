"""What one revision of a release is and what runs of it, so that it can be compared without its content."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import Object, mapping, name_of, namespace_of, number, text
from kube import helm
from kube.pods import container_statuses, last_end, pods_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.host.yaml_io import Yaml
    from kube.cluster import Cluster

# helm-controller adds them to every object.
ORIGIN_LABELS: Final = ("helm.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/namespace")
_WORKLOADS: Final = frozenset({"DaemonSet", "Deployment", "StatefulSet"})


@dataclass(frozen=True)
class Revision:
    """One stored revision, comparable without its content: secrets of a manifest stay out of the journal.

    Attributes:
        number: counts from 1.
        status: helm's word.
        deployed_by: the program that stored it.
        chart: name and version.
        chart_digest: keyed digest of the chart's files.
        values_digest: keyed digest of the values.
        objects: keyed digest of each object of the manifest, without the labels that Flux adds.
    """

    number: int
    status: str
    deployed_by: str
    chart: str
    chart_digest: str
    values_digest: str
    objects: Mapping[str, str]


@dataclass(frozen=True)
class Running:
    """What runs of a release.

    Attributes:
        generations: `metadata.generation` of each live object of the manifest that has one.
        pods: restarts of all containers of each pod, by `name (uid)`.
        ends: how containers of such a pod ended that were started again, as the kubelet tells it; not kept.
    """

    generations: Mapping[str, int] = field(default_factory=dict)
    pods: Mapping[str, int] = field(default_factory=dict)
    ends: Mapping[str, str] = field(default_factory=dict, compare=False)


def revision_of(release: helm.Release, key: bytes) -> Revision:
    """A stored revision as digests."""
    digests: dict[str, str] = {}
    for item in release.objects():
        digests[_label(item, release.namespace)] = helm.digest(_without_origin(item), key)
    return Revision(
        number=release.revision,
        status=release.status,
        deployed_by=release.deployed_by,
        chart=f"{release.chart}-{release.version}",
        chart_digest=release.chart_digest(key),
        values_digest=release.values_digest(key),
        objects=digests,
    )


def running_of(cluster: Cluster, release: helm.Release) -> Running:
    """What runs of a release.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    generations: dict[str, int] = {}
    pods: dict[str, int] = {}
    ends: dict[str, str] = {}
    for item in release.objects():
        kind = (text(item, "apiVersion"), text(item, "kind"))
        namespace = namespace_of(item) or release.namespace
        live = cluster.get(kind, name_of(item), namespace)
        if live is None:
            continue
        if number(live, "metadata", "generation"):
            generations[_label(item, release.namespace)] = number(live, "metadata", "generation")
        if kind[1] in _WORKLOADS:
            for pod in pods_of(cluster, live, namespace):
                if text(pod, "metadata", "deletionTimestamp"):
                    continue
                name, containers = f"{name_of(pod)} ({text(pod, 'metadata', 'uid')})", container_statuses(pod)
                pods[name] = sum(number(one, "restartCount") for one in containers)
                if told := ", ".join(filter(None, map(last_end, containers))):
                    ends[name] = told
    return Running(generations, pods, ends)


def _label(item: Object, namespace: str) -> str:
    place = namespace_of(item) or namespace
    return f"{text(item, 'apiVersion')} {text(item, 'kind')} {place}/{name_of(item)}"


def _without_origin(item: Object) -> Yaml:
    """Without the labels that Flux adds, and without what kustomize, which adds them, may leave out or put in."""
    metadata = dict(mapping(item, "metadata"))
    metadata["labels"] = {key: value for key, value in mapping(metadata, "labels").items() if key not in ORIGIN_LABELS}
    for name in ("labels", "annotations"):
        metadata[name] = mapping(metadata, name) or None
    return _without_nulls({**item, "metadata": metadata})


def _without_nulls(value: Yaml) -> Yaml:
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value
