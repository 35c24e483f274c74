"""How a command gets to its lab: packages, programs, image, machines, and then inside."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.errors import InputError
from bootstrap.host.packages import Need, SystemPackages, this_system
from bootstrap.host.programs import names_for
from bootstrap.host.secret import Redactor
from bootstrap.host.toolbox import Toolbox
from bootstrap.host.toolchain import build_environment, find_go
from phases.world import state_folder
from rehearsal import control, namespaces
from rehearsal.emulator import this_host
from rehearsal.lab import FOLDER, Lab
from rehearsal.preparation import Workshop, check_resources, prepare, uses_of
from rehearsal.repository import commit_worktree
from rehearsal.settings import OVERLAY_FILE, SETTINGS_FILE, SOCKET_FILE, from_json
from rehearsal.wiring import read_wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inventory.model import Cluster
    from rehearsal.settings import LabSettings


def bring_up(
    root: Path, cache: Path, cluster: Cluster, runner: ShCommandRunner, report: Callable[[str], None],
    *, charts: Path | None = None,
) -> tuple[Lab, LabSettings]:  # fmt: skip
    """Have the lab of a cluster running, whatever that takes: packages, programs, image, machines.

    Args:
        root: the repository.
        cache: the tool's cache folder.
        cluster: a cluster of the inventory.
        runner: runs programs.
        report: told what is being done.
        charts: folder of charts in place of the lab's own; None for none.

    Raises:
        InputError: something is missing or forbidden, all of it at once; nothing was started.
        FirstlightError: the lab did not come up.
    """
    lab = Lab(cache)
    lab.check_owner(root, cluster.name)
    cache.mkdir(parents=True, exist_ok=True)
    needs = {Need.BUILD_C, Need.IMAGE, Need.MACHINE, Need.NETWORK, Need.GIT}
    if read_wiring(root, cluster).lacp:
        needs.add(Need.SWITCH)
    host = SystemPackages(this_system(os.environ), runner, report, os.environ).ensure(needs)
    if not lab.owner():
        problems = [*namespaces.check(host["unshare"], host["ip"], runner), *check_resources(cluster, cache)]
        if problems:
            raise InputError("a lab cannot run here", tuple(problems))
    environment = build_environment(os.environ)
    search_path = os.environ.get("PATH", "")
    pinned = Toolbox(root, cache, runner, report, search_path).ensure(names_for(*uses_of(cluster)))
    go = find_go(runner, environment, search_path, cache)
    programs = {**host, **pinned, **({"go": go.program} if go else {})}
    workshop = Workshop(root, runner, programs, report, environment, this_host(os.environ), charts=charts)
    with lab.starting(report):
        settings = prepare(lab, cluster, workshop)
        lab.up(settings, runner, report)
    return lab, settings


@dataclass(frozen=True)
class Inside:
    """What a command that runs inside the lab is told.

    Attributes:
        trust: CA file of the lab's internet.
        overlay: the patch over the machine configuration.
        commit: the worktree's synthetic commit, just published.
        stand_ins: charts that the lab made itself.
        charts: tells what is served under the charts' names and versions; empty when nobody knows.
    """

    trust: Path
    overlay: Path
    commit: str
    stand_ins: frozenset[str]
    charts: str = ""


def is_inside() -> bool:
    """Whether this process runs inside a lab."""
    return namespaces.INSIDE in os.environ


def look_around() -> Inside:
    """Publish the worktree's charts and commit and say what is here; only inside a lab.

    Raises:
        FirstlightError: the supervisor does not answer.
    """
    folder = Path(os.environ[FOLDER])
    published = control.ask(folder / SOCKET_FILE, "publish")
    stand_ins = frozenset(str(chart).partition(" ")[0] for chart in published["charts"])
    return Inside(
        folder / "trust.crt",
        folder / OVERLAY_FILE,
        str(published["commit"]),
        stand_ins,
        charts=str(published["sources"]),
    )


def join(root: Path, cache: Path, cluster: Cluster, command: Sequence[str]) -> NoReturn:
    """Run a command inside the lab that runs for a cluster, and end as it ends.

    Args:
        root: the repository.
        cache: the tool's cache folder.
        cluster: a cluster of the inventory.
        command: argv.

    Raises:
        InputError: no lab is running, or another worktree's.
    """
    lab = Lab(cache)
    lab.check_owner(root, cluster.name)
    if not lab.owner():
        raise InputError("no lab is running", cause="its machines are what is looked at", remedy="./invoke lab.up")
    lab.enter(command)


def look_on() -> Inside:
    """Say what is here without changing it: charts and commit stay those that were published last.

    Returns:
        The commit is the one that the worktree would be published as.

    Raises:
        InputError: the worktree is none.
    """
    folder = Path(os.environ[FOLDER])
    settings = from_json((folder / SETTINGS_FILE).read_text())
    with tempfile.TemporaryDirectory(prefix="firstlight-") as scratch:
        runner, git = ShCommandRunner(Redactor()), settings.programs["git"]
        commit = commit_worktree(settings.root, Path(scratch) / "commit.git", settings.git_ref, git, runner)
    return Inside(settings.trust, folder / OVERLAY_FILE, commit, frozenset())


def open_shell(root: Path, cache: Path, command: str) -> NoReturn:
    """Run a shell, or a command of it, inside the running lab, and end as it ends.

    Args:
        root: the repository; the cluster's kubeconfig and talosconfig are taken from its state folder.
        cache: the tool's cache folder.
        command: a shell command; empty opens an interactive shell.

    Raises:
        FirstlightError: no lab is running.
    """
    lab = Lab(cache)
    owner = lab.owner()
    state = state_folder(root, owner.get("cluster", "lab"), rehearsal="rehearsal" in owner)
    # The shell is the operator's: kubectl and talosctl find the cluster without flags.
    os.environ |= {"KUBECONFIG": str(state / "kubeconfig"), "TALOSCONFIG": str(state / "talosconfig")}
    found = Toolbox(root, cache, ShCommandRunner(Redactor()), _silent, os.environ.get("PATH", "")).look(names_for())
    folders = {str(finding.path.parent): None for finding in found if finding.path}
    os.environ["PATH"] = os.pathsep.join([*folders, os.environ.get("PATH", "")])
    shell = os.environ.get("SHELL", "/bin/sh")
    lab.enter([shell, "-c", command] if command else [shell])


def _silent(_: str) -> None:
    """Nothing is built for a shell, so there is no progress to tell."""
