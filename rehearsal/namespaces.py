"""Private namespaces: made once by the lab, entered by every command for its cluster."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from bootstrap.host.commands import Command, CommandError
from bootstrap.host.errors import Problem
from rehearsal.escort import die_with_parent, escort

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.host.commands import CommandRunner

# Below the root of the file system.
TUN: Final = Path("dev/net/tun")
# Set for whoever runs inside, so that it does not enter twice.
INSIDE = "FIRSTLIGHT_INSIDE_LAB"
# Exit codes of the trial: which of its steps failed; unshare's own failure is 1.
NO_MOUNT, NO_BRIDGE, NO_TAP = 81, 82, 83
# Sysctls that take namespaces from ordinary users, the values that do so and the one that gives them back: of
# Ubuntu's AppArmor since 23.10, of Debian's and Ubuntu's kernels, and of every kernel (user_namespaces(7)).
SYSCTLS: Final = (
    ("kernel.apparmor_restrict_unprivileged_userns", ("1", "2"), "0"),
    ("kernel.unprivileged_userns_clone", ("0",), "1"),
    ("user.max_user_namespaces", ("0",), "15000"),
)


def unshare_arguments() -> tuple[str, ...]:
    """The arguments of unshare(1) that make the lab's namespaces, for root and for an ordinary user."""
    shared = ("--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc")
    return shared if os.geteuid() == 0 else ("--user", "--map-root-user", *shared)


def check(unshare: Path, ip: Path, runner: CommandRunner, *, machines: bool = True) -> list[Problem]:
    """What forbids a lab here, found by trying: namespaces, the mounts in them, and a tap.

    Args:
        unshare: the program of util-linux.
        ip: the program of iproute2.
        runner: runs them.
        machines: whether there will be any; without them no tap is wanted.
    """
    tries = [
        ("mount --bind /dev/null /etc/resolv.conf", NO_MOUNT),
        (f"{ip} link add check0 type bridge", NO_BRIDGE),
    ]
    if machines:
        tries.append((f"{ip} tuntap add dev check1 mode tap", NO_TAP))
    script = "; ".join(f"{line} || exit {code}" for line, code in tries)
    command = Command(
        unshare, (*unshare_arguments(), "/bin/sh", "-c", script), timeout=10
    )  # makes interfaces only: instant
    try:
        runner.run(command)
    except CommandError as error:
        return [explain(error, os.geteuid())]
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


def enter(pid: int, command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Run a command inside the namespaces of another process and end as it ends.

    Args:
        pid: a process of the lab.
        command: argv, the program by its absolute path.
        environment: all of it.
    """
    folder, program = Path.cwd(), command[0]

    def execute() -> NoReturn:
        # The folder is looked up inside: one that was opened outside belongs to another tree of mounts there.
        os.chdir(folder)
        os.execve(program, list(command), {**environment, INSIDE: str(pid)})  # noqa: S606 # argv is a list, no shell

    def join() -> NoReturn:
        _join(pid)
        # Once more: the kernel forgets it with the credentials that a user namespace brings (prctl(2)).
        die_with_parent()
        escort(execute)

    # Twice: setns(2) wants a process of one thread, and a namespace of processes is entered by children only.
    escort(join)


def _join(pid: int) -> None:
    """Enter the namespaces of a process.

    Raises:
        OSError: they are gone, or not ours to enter.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    own = Path("/proc/self/ns/user").readlink()
    names = ("user", "net", "uts", "ipc", "pid", "mnt")
    # All are opened before the first is entered, because /proc is another one afterwards.
    opened = {name: os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in names}
    if Path(f"/proc/{pid}/ns/user").readlink() == own:
        del opened["user"]
    for name, descriptor in opened.items():
        if libc.setns(descriptor, 0):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), name)


def begin(unshare: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Replace this process by a command that is the first of new namespaces; does not return.

    Args:
        unshare: the program of util-linux.
        command: argv.
        environment: all of it.
    """
    os.execve(unshare, [str(unshare), *unshare_arguments(), "--", *command], environment)  # noqa: S606 # argv is a list


def explain(error: CommandError, user: int, root: Path = Path("/")) -> Problem:
    """Which setting of this machine made the trial fail, and how to change it.

    Args:
        error: of the trial.
        user: effective user id; sysctls about user namespaces do not concern root.
        root: prefix of the files that are looked at.
    """
    text = error.stderr.strip() or error.cause
    if error.exit_code_seen == NO_TAP:
        return _explain_tap(text, root / TUN)
    if error.exit_code_seen == NO_BRIDGE:
        return Problem(f"no bridge can be made: {text}", remedy="sudo modprobe bridge")
    for name, forbidding, wanted in SYSCTLS if user else ():
        path = root / "proc/sys" / name.replace(".", "/")
        seen = path.read_text().strip() if path.exists() else "unknown"
        if seen in forbidding:
            return Problem(f"{name} is {seen}, no namespaces for you: {text}", remedy=f"sudo sysctl {name}={wanted}")
    if error.exit_code_seen == NO_MOUNT or "proc" in text or "mount" in text:
        remedy = "run outside of this container or sandbox"
        return Problem(f"mounts are forbidden inside new namespaces: {text}", remedy=remedy)
    remedy = "run as root, or where user namespaces are allowed"
    if not user:
        remedy = "start this container with more rights, for example `--privileged`, or run outside of it"
    return Problem(f"namespaces are forbidden: {text}", remedy=remedy)


def _explain_tap(text: str, device: Path) -> Problem:
    if not device.exists():
        return Problem(f"/{TUN} is missing, machines would have no network: {text}", remedy="sudo modprobe tun")
    mode = device.stat().st_mode & 0o777
    # Permission denied is the file's mode; not permitted, in spite of it, is a container's device rule.
    if "ermission denied" in text:
        return Problem(
            f"/{TUN} cannot be opened (mode {mode:04o}, wanted 0666): {text}", remedy=f"sudo chmod 666 /{TUN}"
        )
    remedy = f"allow the device where this container is started, for example `--device /{TUN}`"
    return Problem(f"/{TUN} cannot be used: {text}", remedy=remedy)
