"""The files that steps follow from, relative to the repository; see `Step.inputs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from inventory.model import Cluster

HELMFILES: Final = ("bootstrap/helmfile.d",)
RESOURCES: Final = ("bootstrap/resources.yaml",)
PROBE: Final = ("bootstrap/probe.yaml",)
DEFINITIONS: Final = ("bootstrap/expected-crds.yaml",)


def inventory(cluster: Cluster) -> tuple[str, ...]:
    """The cluster's own description."""
    return (f"inventory/{cluster.name}.yaml",)


def machines(cluster: Cluster) -> tuple[str, ...]:
    """What machine configurations are made of."""
    return (*inventory(cluster), "talos/base.yaml", f"talos/{cluster.name}")


def tree(cluster: Cluster) -> tuple[str, ...]:
    """What releases are read from; workloads come after the hand-over, and other clusters are others' business."""
    return (cluster.git.path, "kubernetes/infrastructure", "kubernetes/components")
