"""What is done about a release by the status that helm left it in, and how one whose helm was ended is freed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from bootstrap.host.objects import Object, mapping
from kube import helm
from kube.cluster import SECRET, KindRef

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kube.helm import Release


class Treatment(StrEnum):
    """What is done about a release that is to be installed."""

    GO_ON = "go on"
    """`helm upgrade --install` takes it from there."""
    UNLOCK = "unlock"
    """Its latest revision is called failed first, once no helm works on it."""
    REFUSE = "refuse"
    """A person decides."""


@dataclass(frozen=True)
class Rule:
    """What is done about a status, and why."""

    treatment: Treatment
    reason: str


_REFUSED_BY_HELM: Final = "helm holds it for an operation under way and refuses every other one"

# Every status of helm v3.19.0 (pkg/release/status.go); what its upgrade does about each stands in prepareUpgrade
# (pkg/action/upgrade.go) and, for `uninstalled`, in cmd/helm/upgrade.go.
RULES: Final[Mapping[str, Rule]] = {
    "deployed": Rule(Treatment.GO_ON, "helm upgrades from it"),
    "failed": Rule(Treatment.GO_ON, "helm upgrades from the last deployed revision, and from this one without any"),
    "superseded": Rule(Treatment.GO_ON, "no revision is deployed, so helm upgrades from this one"),
    "uninstalled": Rule(Treatment.GO_ON, "its history was kept, and helm installs it again"),
    "pending-install": Rule(Treatment.UNLOCK, _REFUSED_BY_HELM),
    "pending-upgrade": Rule(Treatment.UNLOCK, _REFUSED_BY_HELM),
    "pending-rollback": Rule(Treatment.UNLOCK, _REFUSED_BY_HELM),
    # No run uninstalls: neither lock nor Lease says that the helm which does is dead, nor that it was a mistake.
    "uninstalling": Rule(Treatment.REFUSE, "somebody began to uninstall it, and only they know whether that goes on"),
    "unknown": Rule(Treatment.REFUSE, "helm itself does not know what became of it"),
}
_UNHEARD_OF: Final = Rule(Treatment.REFUSE, "it is no status of helm 3")


def rule(status: str) -> Rule:
    """The rule for the status of a release's latest revision."""
    return RULES.get(status, _UNHEARD_OF)


class Storage(Protocol):
    """The part of `kube.cluster.Cluster` that freeing a release needs."""

    def get(self, kind: KindRef, name: str, namespace: str = "") -> Object | None:
        """One object; None when it is not there."""

    def swap(self, item: Object) -> Object | None:
        """Replace the version that it names; None when somebody was faster."""


def unlock(storage: Storage, release: Release) -> bool:
    """Call a pending revision failed, so that helm goes on from it; as helm-controller 1.4.3 unlocks a release.

    Args:
        storage: the cluster.
        release: as it was read when its helm was judged to be dead.

    Returns:
        Whether it was written: a helm that wrote after that reading lives, and is left alone.

    Raises:
        KubeError: the cluster cannot be asked, or refuses.
    """
    secret = storage.get(SECRET, helm.storage_name(release.name, release.revision), release.namespace)
    if secret is None or mapping(secret, "metadata").get("resourceVersion") != release.stored:
        return False
    content = helm.unpacked(secret)
    description = f"Release unlocked from stale '{release.status}' state"
    content["info"] = {**mapping(content, "info"), "status": "failed", "description": description}
    metadata = mapping(secret, "metadata")
    labels = {**mapping(metadata, "labels"), "status": "failed", "modifiedAt": str(int(time.time()))}
    return None is not storage.swap({
        **secret,
        "metadata": {**metadata, "labels": labels},
        "data": {**mapping(secret, "data"), "release": helm.packed(content)},
    })  # fmt: skip
