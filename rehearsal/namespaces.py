"""Private namespaces: made once by the lab, entered by every command for its cluster."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.host.commands import Command, CommandError
from bootstrap.host.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.host.commands import CommandRunner

TUN = Path("/dev/net/tun")
# Set for whoever runs inside, so that it does not enter twice.
INSIDE = "FIRSTLIGHT_INSIDE_LAB"
# linux/prctl.h
PR_SET_PDEATHSIG = 1
_APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_CLONE = Path("/proc/sys/kernel/unprivileged_userns_clone")
_MAXIMUM = Path("/proc/sys/user/max_user_namespaces")


def unshare_arguments() -> tuple[str, ...]:
    """The arguments of unshare(1) that make the lab's namespaces, for root and for an ordinary user."""
    shared = ("--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc")
    return shared if os.geteuid() == 0 else ("--user", "--map-root-user", *shared)


def check(unshare: Path, ip: Path, runner: CommandRunner) -> list[Problem]:
    """What forbids a lab here, found by trying: namespaces, the mounts in them, and a tap.

    Args:
        unshare: the program of util-linux.
        ip: the program of iproute2.
        runner: runs them.
    """
    tries = ("mount --bind /dev/null /etc/resolv.conf", f"{ip} link add check0 type bridge")
    script = " && ".join([*tries, f"{ip} tuntap add dev check1 mode tap"])
    command = Command(
        unshare, (*unshare_arguments(), "/bin/sh", "-c", script), timeout=10
    )  # makes interfaces only: instant
    try:
        runner.run(command)
    except CommandError as error:
        return [_explain(error)]
    return []


def enter_arguments(pid: int) -> tuple[str, ...]:
    """The arguments of nsenter(1) that enter the namespaces of a process."""
    own = Path("/proc/self/ns/user").readlink()
    try:
        theirs = Path(f"/proc/{pid}/ns/user").readlink()
    except OSError:
        theirs = own
    user = () if theirs == own else ("--user", "--preserve-credentials")
    return ("--target", str(pid), *user, "--net", "--mount", "--pid", "--uts", "--ipc")


def enter(nsenter: Path, pid: int, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Replace this process by a command that runs inside the namespaces of another one; does not return.

    Args:
        nsenter: the program of util-linux.
        pid: a process of the lab.
        command: argv.
        environment: all of it.
    """
    folder = Path.cwd()
    arguments = [str(nsenter), *enter_arguments(pid), f"--wd={folder}", "--", *command]
    os.execve(nsenter, arguments, {**environment, INSIDE: str(pid)})  # noqa: S606 # argv is a list, no shell


def die_with_parent() -> None:
    """Have the kernel end us when nsenter is ended, so that `kill -9` of the command reaches the run."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _explain(error: CommandError) -> Problem:
    text = error.stderr.strip() or error.cause
    if "tun" in text or ("open: " in text and "ermission" in text) or "tuntap" in text:
        mode = oct(TUN.stat().st_mode & 0o777) if TUN.exists() else "missing"
        return Problem(f"{TUN} cannot be opened (mode {mode}, wanted 0o666): {text}", remedy=f"sudo chmod 666 {TUN}")
    for path, wanted in ((_APPARMOR, "0"), (_CLONE, "1")):
        if path.exists() and path.read_text().strip() != wanted:
            name = str(path.relative_to("/proc/sys")).replace("/", ".")
            return Problem(
                f"{name} forbids namespaces to ordinary users: {text}", remedy=f"sudo sysctl {name}={wanted}"
            )
    if _MAXIMUM.exists() and _MAXIMUM.read_text().strip() == "0":
        return Problem(f"user.max_user_namespaces is 0: {text}", remedy="sudo sysctl user.max_user_namespaces=15000")
    if "proc" in text or "mount" in text:
        return Problem(
            f"mounts are forbidden inside new namespaces: {text}",
            remedy="run outside of this container or sandbox",
        )
    return Problem(f"namespaces are forbidden: {text}", remedy="run as root, or where user namespaces are allowed")
