"""What the phases know of the world: the cluster as the files describe it, and the programs and folders to use."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bootstrap.host.commands import CommandRunner
    from bootstrap.host.secret import Redactor, Secret
    from inventory.model import Cluster
    from kube.cluster import Cluster as KubernetesApi
    from kube.cluster import Connect
    from talos.bundle import Bundle
    from talos.client import Talosctl
    from talos.probe import Observe


def state_folder(root: Path, cluster: str, *, rehearsal: bool) -> Path:
    """The private folder of a cluster; a rehearsal's is not that of the cluster that it stands for.

    Args:
        root: the repository.
        cluster: its name.
        rehearsal: whether virtual machines stand for its own.
    """
    own = root / ".firstlight"
    return own / "rehearsal" / cluster if rehearsal else own / cluster


@dataclass(frozen=True)
class World:
    """Everything that a run's steps share; holds no secret.

    Attributes:
        root: the repository with the data.
        cluster: from the inventory.
        state: see `state_folder`.
        runner: starts programs.
        programs: absolute paths by name.
        talosctl: the client of the machines.
        observe: tells the state of a machine's API port.
        connect: opens the Kubernetes API.
        redactor: learns secrets as they are resolved.
        environment: our own environment, for secret providers.
        trust: CA file for our own TLS calls; None uses the system's.
        overlays: patches over the cluster's own machine configuration; the lab's, visible in the report.
        commit: the commit that Flux must reach; empty when it is still to be read from Git.
        stand_ins: releases whose charts the lab replaces, named in the verdict.
        forced: definitions whose fields may be taken from other managers.
        rotate: whether secrets of `bootstrap/resources.yaml` that hold other content are replaced.
        prove: whether proofs that must write are given again.
        run: tells what this run proved from what another one did.
        is_verdict: whether only the hand-over is judged, which then holds or does not: exit 0 or 1.
        cache: what is kept for all clusters and runs; None keeps nothing.
        charts: tells what a lab serves under the charts' names and versions; empty when nobody knows, and for the
            internet at large, where a version stays what it is.
    """

    root: Path
    cluster: Cluster
    state: Path
    runner: CommandRunner
    programs: Mapping[str, Path]
    talosctl: Talosctl
    observe: Observe
    connect: Connect
    redactor: Redactor
    environment: Mapping[str, str]
    trust: Path | None
    overlays: tuple[Path, ...]
    commit: str
    stand_ins: frozenset[str]
    forced: frozenset[str] = frozenset()
    rotate: bool = False
    prove: bool = False
    run: str = field(default_factory=partial(token_hex, 8))
    is_verdict: bool = False
    cache: Path | None = None
    charts: str = ""

    @property
    def kubeconfig(self) -> Path:
        """The private kubeconfig, mode 0600."""
        return self.state / "kubeconfig"

    @property
    def talosconfig(self) -> Path:
        """The private talosconfig, mode 0600."""
        return self.state / "talosconfig"


@dataclass(frozen=True)
class Credentials:
    """The secrets of a run.

    Attributes:
        bundle: Talos' secrets bundle.
        talosconfig: made from it; a new certificate every time.
        named: other secrets by the names that `bootstrap/resources.yaml` uses.
    """

    bundle: Bundle
    talosconfig: Secret
    named: Mapping[str, Secret]


@dataclass(frozen=True)
class Access:
    """A way into the cluster as our own identity.

    Attributes:
        api: the Kubernetes API.
        kubeconfig: the file that helm reads, mode 0600.
    """

    api: KubernetesApi
    kubeconfig: Path
