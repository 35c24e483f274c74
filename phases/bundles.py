"""Makes a cluster's secrets bundle, once in the cluster's life, and stores it with its secret provider."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.packages import this_system
from bootstrap.host.secret import Redactor, Secret
from bootstrap.host.toolbox import Toolbox
from inventory import storing
from inventory.secrets import providers
from phases.session import print_line
from talos import bundle, machineconfig
from talos.client import Talosctl

if TYPE_CHECKING:
    from pathlib import Path

    from inventory.model import Cluster


def create(root: Path, cache: Path, cluster: Cluster, *, trust: Path | None = None) -> None:
    """Make a bundle in memory, store it under the inventory's `talosBundle` and say on standard error that it is there.

    Args:
        root: the repository.
        cache: the tool's cache folder.
        cluster: of the inventory.
        trust: CA file for 1Password Connect; None uses the system's.

    Raises:
        InputError: a bundle is there already, or its provider cannot store; nothing was made.
        StoreError: the store did not take it.
    """
    redactor = Redactor()
    runner = ShCommandRunner(redactor)
    reference = cluster.secrets.talos_bundle
    op = this_system(os.environ).find("op")
    answering = providers(cluster.secrets, environment=os.environ, runner=runner, op=op, ca_file=trust)
    keeper = storing.require_free(reference, answering[reference.scheme])
    programs = Toolbox(root, cache, runner, print_line, os.environ.get("PATH", "")).ensure(["talosctl"])
    talosctl = Talosctl(programs["talosctl"], runner)
    machineconfig.require_minor(talosctl, cluster)
    made = bundle.read(Secret(bundle.generate(talosctl).reveal(), reference.text))
    for secret in made.sensitive:
        redactor.add(secret)
    storing.store(reference, made.secret, keeper)
    print_line(f"a secrets bundle for {cluster.name} is stored as {reference}; Talos cluster id {made.identity}")
