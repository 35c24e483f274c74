"""System packages: found by their programs and files, installed by root on Debian only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import Command, CommandError, Result
from bootstrap.host.errors import ExitCode, InputError
from bootstrap.host.packages import PACKAGES, Need, System, SystemPackages

if TYPE_CHECKING:
    from pathlib import Path

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n'
UBUNTU = 'ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n'
MINT = 'ID=linuxmint\nID_LIKE="ubuntu debian"\n'
FEDORA = "ID=fedora\n"


class Apt:
    """Installs by making the files that the table looks for."""

    def __init__(self, root: Path, *, works: bool = True) -> None:
        self.root = root
        self.works = works
        self.commands: list[Command] = []

    def run(self, command: Command) -> Result:
        self.commands.append(command)
        if "install" in command.arguments:
            if not self.works:
                raise CommandError("`apt-get install` failed with exit code 100", cause="E: Unable to locate package")
            for package in PACKAGES:
                if package.name in command.arguments:
                    put(self.root, *(f"bin/{name}" for name in package.programs), *package.files)
        return Result(0, b"", b"", 0.0)


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)


def system(root: Path, release: str = DEBIAN, user: int = 0) -> System:
    if release != FEDORA:
        put(root, "bin/apt-get")
    return System(user, release, root, str(root / "bin"), folders=())


def packages(machine: System, apt: Apt) -> tuple[SystemPackages, list[str]]:
    lines: list[str] = []
    environment = {"https_proxy": "http://proxy.example.test", "TOKEN": "planted"}
    return SystemPackages(machine, apt, lines.append, environment), lines


@pytest.mark.parametrize("release", [DEBIAN, UBUNTU, MINT])
def test_root_gets_what_is_missing_and_nothing_else(tmp_path: Path, release: str) -> None:
    put(tmp_path, "bin/ip", "bin/tc", "bin/unshare", "bin/nsenter", "bin/mount")
    apt = Apt(tmp_path)
    ours, lines = packages(system(tmp_path, release), apt)
    paths = ours.ensure({Need.NETWORK})
    assert [command.arguments[3] for command in apt.commands] == ["update", "install"]
    assert apt.commands[1].arguments[-4:] == ("--no-install-recommends", "-y", "dnsmasq-base", "nftables")
    assert apt.commands[1].environment == {
        "https_proxy": "http://proxy.example.test", "DEBIAN_FRONTEND": "noninteractive",
    }  # fmt: skip
    assert lines == ["installing system packages: dnsmasq-base nftables"]
    assert paths["nft"] == tmp_path / "bin" / "nft"
    assert ours.ensure({Need.NETWORK}) == paths
    assert len(apt.commands) == 2


@pytest.mark.parametrize(
    ("release", "user", "remedy"),
    [
        (
            DEBIAN, 1000,
            "sudo apt-get update && sudo apt-get install --no-install-recommends -y git qemu-utils qemu-system-x86",
        ),
        (FEDORA, 1000, "install what Debian calls git qemu-utils qemu-system-x86"),
        (FEDORA, 0, "install what Debian calls git qemu-utils qemu-system-x86"),
    ],
)  # fmt: skip
def test_others_get_one_command_to_copy(tmp_path: Path, release: str, user: int, remedy: str) -> None:
    put(tmp_path, "bin/nice")
    apt = Apt(tmp_path)
    with pytest.raises(InputError) as caught:
        packages(system(tmp_path, release, user), apt)[0].ensure({Need.MACHINE})
    assert caught.value.remedy == remedy
    assert caught.value.exit_code is ExitCode.INVALID
    assert [problem.text for problem in caught.value.problems] == [
        "git: git not found", "qemu-utils: qemu-img not found", "qemu-system-x86: qemu-system-x86_64 not found",
    ]  # fmt: skip
    assert apt.commands == []


def test_headers_are_looked_for_by_file(tmp_path: Path) -> None:
    put(tmp_path, "bin/gcc", "bin/pkg-config", "/usr/include/stdlib.h")
    missing = packages(system(tmp_path), Apt(tmp_path))[0].missing({Need.BUILD_C})
    assert {package.name: names for package, names in missing.items()} == {
        "libseccomp-dev": ("/usr/include/seccomp.h",)
    }


def test_an_installation_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        packages(system(tmp_path), Apt(tmp_path, works=False))[0].ensure({Need.IMAGE})
    assert "Unable to locate package" in caught.value.cause
    assert caught.value.remedy.startswith("apt-get update && apt-get install")


def test_nothing_needed_is_nothing_done(tmp_path: Path) -> None:
    apt = Apt(tmp_path)
    assert packages(system(tmp_path), apt)[0].ensure(()) == {}
    assert apt.commands == []


@pytest.mark.parametrize("need", Need)
def test_every_need_has_packages(need: Need) -> None:
    assert any(need in package.needs for package in PACKAGES)
