"""What the lab's tests stand on: settings, a worktree with one chart, real programs, free ports, certificates."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.host.commands import Command, CommandError, ShCommandRunner
from bootstrap.host.packages import this_system
from bootstrap.host.secret import Redactor
from rehearsal.certificates import ensure_authority, issue_server
from rehearsal.settings import Emulator, LabSettings, MachineSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bootstrap.host.commands import Result

MACHINE = MachineSettings("lab-01", ("52:54:00:13:00:11", "52:54:00:13:01:11"), "10.25.13.111", 4096, 2, 10)
ISOLATED = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
# What Debian 12's own QEMU says.
OLD_QEMU = "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)"
CHART = "apiVersion: v2\nname: demo\nversion: 1.2.3\n"


def system(name: str) -> Path:
    """A program of this machine."""
    path = this_system(os.environ).find(name)
    assert path, f"{name} is not installed"
    return path


def runner() -> ShCommandRunner:
    return ShCommandRunner(Redactor())


def git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What the real Git prints."""
    identity = ("-c", "user.name=someone", "-c", "user.email=someone@localhost")
    added = {**ISOLATED, **(environment or {})}
    return runner().run(Command(system("git"), (*identity, *arguments), added, folder=folder)).text


def make_worktree(folder: Path, files: Mapping[str, str]) -> Path:
    """A Git worktree in which every file is committed."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


def make_settings(
    folder: Path, root: Path, programs: Mapping[str, Path], *, machines: tuple[MachineSettings, ...] = (MACHINE,)
) -> LabSettings:
    """The settings of the lab `lab`, all of its files below a folder."""
    authority = ensure_authority(folder / "ca")
    return LabSettings(
        cluster="lab", root=root, folder=folder / "lab" / "run", network="10.25.13.0/24", gateway="10.25.13.1",
        endpoint=("lab-k8s.monosense.io", "10.25.13.11"), time_names=("time.cloudflare.com",),
        chart_hosts=("helm.cilium.io",), git_host="github.com", git_path="monosense-io/k8s-gitops",
        git_ref="refs/heads/main", vault="lab", kernel=folder / "vmlinuz", initramfs=folder / "initramfs.img",
        registry_base=folder / "lab" / "registry-0", images_key="0", authority_certificate=authority.certificate,
        authority_key=authority.key,
        emulator=Emulator(folder / "qemu-system-x86_64", OLD_QEMU, "tcg"), programs=programs, machines=machines,
        inputs="0",
    )  # fmt: skip


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Trust:
    """A CA and a server's certificate for `localhost` and `github.com`."""

    authority: Path
    pair: tuple[Path, Path]


def make_trust(folder: Path) -> Trust:
    authority = ensure_authority(folder / "ca")
    pair = (folder / "tls.crt", folder / "tls.key")
    issue_server(authority, ("localhost", "github.com"), *pair)
    return Trust(authority.certificate, pair)


class Script:
    """A runner whose programs fail, or print, as told; keeps what was asked."""

    def __init__(self, *answers: Result | CommandError) -> None:
        self.asked: list[Command] = []
        self._answers = list(answers)
        self._lock = threading.Lock()

    def run(self, command: Command) -> Result:
        with self._lock:
            self.asked.append(command)
            answer = self._answers.pop(0)
        if isinstance(answer, CommandError):
            raise answer
        return answer
