"""What two lives of one cluster have in common: its objects without ids, times and the traces of helms that died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.host.objects import Object, mapping, number, text
from kube.cluster import SECRET
from kube.helm import packed, storage_name
from tests.scripted.helm import json_of

if TYPE_CHECKING:
    from bootstrap.host.yaml_io import Yaml

_MASKED = ("uid", "resourceVersion")


def without_unlocked(every: list[Object]) -> list[Object]:
    """Without the revisions of helms that were killed, which were called failed; the others count on without them."""
    stored = [item for item in every if text(item, "type").startswith("helm")]
    failed = [item for item in stored if str(json_of(item)["info"].get("description")).startswith("Release unlocked")]
    left: dict[str, list[int]] = {}
    for item in failed:
        labels = mapping(item, "metadata", "labels")
        left.setdefault(text(labels, "name"), []).append(int(text(labels, "version")))
    found = []
    for item in every:
        if item in failed:
            continue
        gone = left.get(
            text(item, "metadata", "labels", "name") if item in stored else text(item, "spec", "releaseName")
        )
        found.append(_counted(item, gone) if gone else item)
    return found


def _counted(item: Object, gone: list[int]) -> Object:
    """One of helm's Secrets, or a HelmRelease, with the number that it has where those revisions never were."""

    def counted(version: int) -> int:
        return version - sum(one < version for one in gone)

    if item["kind"] != SECRET[1]:
        history: Yaml = [{"version": counted(number(item, "status", "history", 0, "version"))}]
        return {**item, "status": {**mapping(item, "status"), "history": history}}
    labels = mapping(item, "metadata", "labels")
    version = counted(int(text(labels, "version")))
    release = {**json_of(item), "version": version}
    metadata: Object = {
        **mapping(item, "metadata"),
        "name": storage_name(text(labels, "name"), version),
        "labels": {**labels, "version": str(version)},
    }
    return {**item, "metadata": metadata, "data": {"release": packed(release)}}


def normal(item: Object) -> Object:
    """An object without what is its own in every life of a cluster."""
    metadata = {key: value for key, value in mapping(item, "metadata").items() if key not in _MASKED}
    if item["kind"] == SECRET[1] and text(item, "type").startswith("helm"):
        release = json_of(item)
        release["info"].pop("last_deployed")
        return {**item, "metadata": metadata, "data": {"release": release}}
    return {**item, "metadata": metadata}
