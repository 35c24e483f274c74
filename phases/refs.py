"""References to the steps whose values other steps use, and the releases of the core phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.engine import StepRef

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
CHARTS: Final[StepRef[None]] = StepRef("releases-render")
# talos
RENDER: Final[StepRef[Mapping[str, Secret]]] = StepRef("render")
INSTALL: Final[StepRef[None]] = StepRef("install")
ETCD: Final[StepRef[None]] = StepRef("etcd")
API: Final[StepRef[Access]] = StepRef("api")
NODES: Final[StepRef[tuple[str, ...]]] = StepRef("nodes")
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
    """

    name: str
    namespace: str
    needs: tuple[str, ...] = ()

    @property
    def step(self) -> StepRef[None]:
        """The step that installs it."""
        return StepRef[None](self.name)


CORE_RELEASES: Final = (
    CoreRelease("cilium", "kube-system"),
    CoreRelease("coredns", "kube-system", ("cilium",)),
    CoreRelease("flux-operator", "flux-system", ("cilium",)),
    CoreRelease("flux-instance", "flux-system", ("coredns", "flux-operator")),
)
# Installing it is what starts the adoption of the others.
LAST: Final = CORE_RELEASES[-1]
