"""How a command gets to its lab: packages, programs, image, machines, and then inside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bootstrap.host.errors import InputError
from bootstrap.host.packages import Need, SystemPackages, this_system
from bootstrap.host.programs import Use, names_for
from bootstrap.host.toolbox import Toolbox
from bootstrap.host.toolchain import build_environment, find_go
from rehearsal import namespaces
from rehearsal.lab import Lab, Workshop, check_resources, prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bootstrap.host.commands import ShCommandRunner
    from inventory.model import Cluster
    from rehearsal.settings import LabSettings


def bring_up(
    root: Path, cache: Path, cluster: Cluster, runner: ShCommandRunner, report: Callable[[str], None]
) -> tuple[Lab, LabSettings]:
    """Have the lab of a cluster running, whatever that takes: packages, programs, image, machines.

    Args:
        root: the repository.
        cache: the tool's cache folder.
        cluster: a cluster of the inventory.
        runner: runs programs.
        report: told what is being done.

    Raises:
        InputError: something is missing or forbidden, all of it at once; nothing was started.
        FirstlightError: the lab did not come up.
    """
    lab = Lab(cache)
    lab.check_owner(root, cluster.name)
    cache.mkdir(parents=True, exist_ok=True)
    host = SystemPackages(this_system(os.environ), runner, report, os.environ).ensure(
        {Need.BUILD_C, Need.IMAGE, Need.MACHINE, Need.NETWORK, Need.GIT}
    )
    if not lab.owner():
        problems = [*namespaces.check(host["unshare"], host["ip"], runner), *check_resources(cluster, cache)]
        if problems:
            raise InputError("a lab cannot run here", tuple(problems))
    environment = build_environment(os.environ)
    search_path = os.environ.get("PATH", "")
    pinned = Toolbox(root, cache, runner, report, search_path).ensure(names_for(*Use))
    go = find_go(runner, environment, search_path, cache)
    programs = {**host, **pinned, **({"go": go.program} if go else {})}
    workshop = Workshop(root, runner, programs, report, environment)
    settings = prepare(lab, cluster, workshop)
    lab.up(settings, runner, report)
    return lab, settings
