"""What forbids a lab is named with the setting that forbids it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootstrap.host.commands import CommandError, Result
from rehearsal.namespaces import NO_BRIDGE, NO_MOUNT, NO_TAP, check, enter_arguments, explain, unshare_arguments
from tests.unit.rehearsal.bench import Script, runner, system

APPARMOR = "kernel/apparmor_restrict_unprivileged_userns"
CLONE = "kernel/unprivileged_userns_clone"
MAXIMUM = "user/max_user_namespaces"
NO_BIND = "mount: /etc/resolv.conf: permission denied."
UBUNTU = "kernel.apparmor_restrict_unprivileged_userns"
NOT_PERMITTED = "unshare: unshare failed: Operation not permitted"
FINE = {CLONE: "1", MAXIMUM: "15000"}


def failure(code: int, stderr: str) -> CommandError:
    return CommandError("`unshare` failed", cause=stderr, stderr=stderr, exit_code_seen=code)


@pytest.mark.parametrize(
    ("user", "code", "stderr", "sysctls", "told"),
    [
        (1000, 1, "write failed /proc/self/uid_map: Operation not permitted", {APPARMOR: "1", **FINE},
         (f"{UBUNTU} is 1", f"sudo sysctl {UBUNTU}=0")),
        (1000, NO_MOUNT, NO_BIND, {APPARMOR: "1", **FINE},
         (f"{UBUNTU} is 1", f"sudo sysctl {UBUNTU}=0")),
        (1000, 1, NOT_PERMITTED, {CLONE: "0", MAXIMUM: "15000"},
         ("kernel.unprivileged_userns_clone is 0", "sudo sysctl kernel.unprivileged_userns_clone=1")),
        (1000, 1, "unshare: unshare failed: No space left on device", {APPARMOR: "0", CLONE: "1", MAXIMUM: "0"},
         ("user.max_user_namespaces is 0", "sudo sysctl user.max_user_namespaces=15000")),
        (1000, 1, NOT_PERMITTED, FINE, ("namespaces are forbidden", "run as root, or where")),
        (0, 1, NOT_PERMITTED, {APPARMOR: "1", CLONE: "0", MAXIMUM: "0"}, ("namespaces are forbidden", "--privileged")),
        (1000, 1, "unshare: mount /proc failed: Operation not permitted", FINE,
         ("mounts are forbidden", "outside of this container")),
        (0, NO_MOUNT, NO_BIND, {}, ("mounts are forbidden", "outside of this container")),
        (0, NO_BRIDGE, "Error: Unknown device type.", {}, ("no bridge can be made", "sudo modprobe bridge")),
    ],
)  # fmt: skip
def test_the_setting_is_named(  # noqa: PLR0917 # a table's columns
    tmp_path: Path, user: int, code: int, stderr: str, sysctls: dict[str, str], told: tuple[str, str]
) -> None:
    for name, value in sysctls.items():
        path = tmp_path / "proc/sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    problem = explain(failure(code, stderr), user, tmp_path)
    assert told[0] in problem.text
    assert stderr in problem.text
    assert told[1] in problem.remedy


@pytest.mark.parametrize(
    ("mode", "stderr", "named", "remedy"),
    [
        (None, "open: No such file or directory", "/dev/net/tun is missing", "sudo modprobe tun"),
        (0o600, "open: Permission denied", "/dev/net/tun cannot be opened (mode 0600, wanted 0666)",
         "sudo chmod 666 /dev/net/tun"),
        (0o666, "open: Operation not permitted", "/dev/net/tun cannot be used", "--device /dev/net/tun"),
        (0o666, "ioctl(TUNSETIFF): Operation not permitted", "/dev/net/tun cannot be used", "--device /dev/net/tun"),
    ],
)  # fmt: skip
def test_the_device_of_taps_is_named(tmp_path: Path, mode: int | None, stderr: str, named: str, remedy: str) -> None:
    if mode is not None:
        device = tmp_path / "dev/net/tun"
        device.parent.mkdir(parents=True)
        device.touch()
        device.chmod(mode)
    problem = explain(failure(NO_TAP, stderr), 1000, tmp_path)
    assert named in problem.text
    assert remedy in problem.remedy


def test_a_trial_that_passes_has_no_problem() -> None:
    script = Script(Result(0, b"", b"", 0.1))
    assert check(Path("/usr/bin/unshare"), Path("/sbin/ip"), script) == []
    (command,) = script.asked
    assert command.arguments[: len(unshare_arguments())] == unshare_arguments()
    assert "/sbin/ip tuntap add dev check1 mode tap" in str(command)


def test_this_machine_may_have_a_lab_or_its_taps_are_closed_to_us() -> None:
    problems = check(system("unshare"), system("ip"), runner())
    open_to_us = os.access("/dev/net/tun", os.R_OK | os.W_OK)
    assert [problem.text[:12] for problem in problems] == ([] if open_to_us else ["/dev/net/tun"])


def test_who_enters_the_own_user_namespace_does_not_ask_for_it() -> None:
    assert enter_arguments(1) == ("--target", "1", "--net", "--mount", "--pid", "--uts", "--ipc")
