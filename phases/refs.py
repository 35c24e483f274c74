"""References to the steps whose values other steps use, and the releases of the core phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.engine import StepRef
from gitops.tree import HELM_GROUP, Name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bootstrap.host.objects import Object
    from bootstrap.host.secret import Secret
    from gitops.tree import Tree
    from kube.adoption import AdoptionBaseline
    from phases.world import Access, Credentials
    from talos.probe import Observation

# preflight
FILES: Final[StepRef[Tree]] = StepRef("files")
SECRETS: Final[StepRef[Credentials]] = StepRef("secrets")
MACHINES: Final[StepRef[Mapping[str, Observation]]] = StepRef("machines")
COMMIT: Final[StepRef[str]] = StepRef("commit")
CHARTS: Final[StepRef[bytes]] = StepRef("releases-render")
GUARDS: Final[StepRef[None]] = StepRef("guards")
# talos
RENDER: Final[StepRef[Mapping[str, Secret]]] = StepRef("render")
INSTALL: Final[StepRef[None]] = StepRef("install")
MACHINE_NETWORK: Final[StepRef[None]] = StepRef("network")
ETCD: Final[StepRef[None]] = StepRef("etcd")
API: Final[StepRef[Access]] = StepRef("api")
NODES: Final[StepRef[tuple[str, ...]]] = StepRef("nodes")
SERVING: Final[StepRef[None]] = StepRef("serving-certificates")
# prerequisites
RESOURCES: Final[StepRef[None]] = StepRef("resources")
# crds
EXTRACT: Final[StepRef[tuple[Object, ...]]] = StepRef("extract")
DEFINITIONS: Final[StepRef[None]] = StepRef("definitions")
# core
CORE_FOLDER: Final[StepRef[Path]] = StepRef("charts")
BASELINE: Final[StepRef[tuple[AdoptionBaseline, ...]]] = StepRef("baseline")


@dataclass(frozen=True)
class CoreRelease:
    """A release that must run before Flux can.

    Attributes:
        name: of the release and its HelmRelease.
        namespace: where both live.
        needs: releases that must be ready before; the same as in `01-core.yaml.gotmpl`.
        deployments: those that it must bring up.
        daemon_sets: those that it must bring up.
        optional: whether a cluster's tree may do without.
    """

    name: str
    namespace: str
    needs: tuple[str, ...] = ()
    deployments: tuple[str, ...] = ()
    daemon_sets: tuple[str, ...] = ()
    optional: bool = False

    @property
    def step(self) -> StepRef[None]:
        """The step that installs it."""
        return StepRef[None](self.name)


CORE_RELEASES: Final = (
    CoreRelease("cilium", "kube-system", deployments=("cilium-operator",), daemon_sets=("cilium",)),
    CoreRelease("coredns", "kube-system", ("cilium",), deployments=("coredns",)),
    CoreRelease("spegel", "kube-system", ("coredns",), daemon_sets=("spegel",), optional=True),
    CoreRelease(
        "cert-manager", "cert-manager", ("coredns",), optional=True,
        deployments=("cert-manager", "cert-manager-cainjector", "cert-manager-webhook"),
    ),
    CoreRelease(
        "external-secrets", "external-secrets", ("spegel", "cert-manager"), optional=True,
        deployments=("external-secrets", "external-secrets-cert-controller", "external-secrets-webhook"),
    ),
    CoreRelease("flux-operator", "flux-system", ("cilium",), deployments=("flux-operator",)),
    CoreRelease("flux-instance", "flux-system", ("coredns", "external-secrets", "flux-operator")),
)  # fmt: skip
# Nodes are ready only with it.
NETWORK: Final = CORE_RELEASES[0]
# Installing it is what starts the adoption of the others.
LAST: Final = CORE_RELEASES[-1]


def core_releases(tree: Tree) -> tuple[CoreRelease, ...]:
    """Those of the core releases that a cluster's tree has, in their order."""
    return tuple(
        one for one in CORE_RELEASES if tree.find(HELM_GROUP, "HelmRelease", Name(one.namespace, one.name)) is not None
    )
