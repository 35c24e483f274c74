"""System packages that the lab and the builds need, by their Debian and Ubuntu names."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command, CommandError, CommandRunner
from bootstrap.host.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# An ordinary user's PATH leaves these out, and `ip`, `nft`, `dnsmasq` and `modprobe` live there.
SYSTEM_FOLDERS: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")
# QEMU brings 200 MB of packages; ten minutes suffice at 0.5 MB/s.
INSTALL_SECONDS: Final = 600.0
# Unattended upgrades of a fresh machine hold dpkg's lock for about a minute.
DPKG_LOCK_SECONDS: Final = 180


class Need(StrEnum):
    """What a person is about to do, as far as system packages care."""

    BUILD_C = "build C programs"  # runc
    IMAGE = "make the machine's image"
    MACHINE = "run a virtual machine"
    NETWORK = "make the lab's network"
    SWITCH = "make a switch that speaks LACP"
    GIT = "read the repository"
    LINT = "check the shell scripts"
    SHELLS = "complete words in every shell"


@dataclass(frozen=True)
class Package:
    """A system package and how its presence is recognised.

    Attributes:
        name: in Debian and Ubuntu.
        needs: what it is needed for.
        programs: all of these must be found.
        files: all of these must exist.
    """

    name: str
    needs: frozenset[Need]
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def _package(name: str, *needs: Need, programs: tuple[str, ...] = (), files: tuple[str, ...] = ()) -> Package:
    return Package(name, frozenset(needs), programs, files)


PACKAGES: Final = (
    _package("git", Need.GIT, Need.MACHINE, programs=("git",)),
    _package("gcc", Need.BUILD_C, programs=("gcc",)),
    _package("libc6-dev", Need.BUILD_C, files=("/usr/include/stdlib.h",)),
    _package("pkg-config", Need.BUILD_C, programs=("pkg-config",)),
    _package("libseccomp-dev", Need.BUILD_C, files=("/usr/include/seccomp.h",)),
    _package("squashfs-tools", Need.IMAGE, programs=("mksquashfs",)),
    _package("cpio", Need.IMAGE, programs=("cpio",)),
    _package("zstd", Need.IMAGE, programs=("zstd",)),
    _package("kmod", Need.IMAGE, programs=("depmod",)),
    # The image is made of Debian's packages, on Ubuntu as well, which does not bring Debian's keys.
    _package("debian-archive-keyring", Need.IMAGE, files=("/usr/share/keyrings/debian-archive-keyring.gpg",)),
    _package("qemu-utils", Need.IMAGE, Need.MACHINE, programs=("qemu-img",)),
    _package("coreutils", Need.MACHINE, programs=("nice",)),
    _package("qemu-system-x86", Need.MACHINE, programs=("qemu-system-x86_64",)),
    _package("dnsmasq-base", Need.NETWORK, programs=("dnsmasq",)),
    _package("iproute2", Need.NETWORK, programs=("ip", "tc")),
    _package("nftables", Need.NETWORK, programs=("nft",)),
    _package("bash", Need.SHELLS, programs=("bash",)),
    _package("zsh", Need.SHELLS, programs=("zsh",)),
    _package("fish", Need.SHELLS, programs=("fish",)),
    _package(
        "openvswitch-switch",
        Need.SWITCH,
        programs=("ovsdb-server", "ovsdb-tool", "ovs-vswitchd", "ovs-vsctl", "ovs-appctl"),
        files=("/usr/share/openvswitch/vswitch.ovsschema",),
    ),
    _package("shellcheck", Need.LINT, programs=("shellcheck",)),
    _package("util-linux", Need.NETWORK, programs=("unshare", "nsenter", "mount")),
)
"""Every system package that some command of ours may ask for."""


@dataclass(frozen=True)
class System:
    """The machine as far as installing packages goes.

    Attributes:
        user: effective user id; 0 may install.
        release: content of `/etc/os-release`.
        root: prefix of the files that are looked for.
        search_path: folders separated by colons.
        folders: searched after those.
    """

    user: int
    release: str
    root: Path
    search_path: str
    folders: tuple[str, ...] = SYSTEM_FOLDERS

    @property
    def has_apt(self) -> bool:
        """Whether this is Debian, Ubuntu or one of their children."""
        fields = dict(line.split("=", 1) for line in self.release.splitlines() if "=" in line)
        families = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
        return bool({"debian", "ubuntu"} & set(families)) and self.find("apt-get") is not None

    def find(self, program: str) -> Path | None:
        """Where a program is: on the search path, else in the system's own folders; None when it is nowhere."""
        found = shutil.which(program, path=os.pathsep.join([self.search_path, *self.folders]))
        return Path(found) if found else None

    def lacks(self, package: Package) -> tuple[str, ...]:
        """Programs and files of a package that are not there."""
        programs = tuple(name for name in package.programs if self.find(name) is None)
        return programs + tuple(name for name in package.files if not (self.root / name.lstrip("/")).exists())


def this_system(environment: Mapping[str, str]) -> System:
    """The machine that we run on.

    Args:
        environment: usually `os.environ`.
    """
    release = Path("/etc/os-release")
    text = release.read_text() if release.exists() else ""
    return System(os.geteuid(), text, Path("/"), environment.get("PATH", ""))


class SystemPackages:
    """Finds system programs and installs what is missing where that is allowed.

    Args:
        system: the machine.
        runner: starts apt-get.
        report: receives progress lines.
        environment: proxies for apt-get are taken from here.
        packages: the table.
    """

    def __init__(
        self, system: System, runner: CommandRunner, report: Callable[[str], None],
        environment: Mapping[str, str], packages: tuple[Package, ...] = PACKAGES,
    ) -> None:  # fmt: skip
        self._system = system
        self._runner = runner
        self._report = report
        self._environment = environment
        self._packages = packages

    def missing(self, needs: Iterable[Need]) -> dict[Package, tuple[str, ...]]:
        """Packages that are needed and not there, each with the programs and files that were looked for."""
        lacking = {package: self._system.lacks(package) for package in self._needed(needs)}
        return {package: names for package, names in lacking.items() if names}

    def ensure(self, needs: Iterable[Need]) -> dict[str, Path]:
        """Have the packages for some needs; root on Debian or Ubuntu gets them installed.

        Args:
            needs: what is about to be done.

        Returns:
            The path of every program in the needed packages.

        Raises:
            InputError: packages are missing and we cannot install them; all at once, with the command to type.
        """
        wanted = frozenset(needs)
        missing = self.missing(wanted)
        if missing:
            self._install(missing)
            still = self.missing(wanted)
            if still:
                raise _refusal(still, self._system, cause="apt-get installed them, yet they are not found")
        programs = [name for package in self._needed(wanted) for name in package.programs]
        return {name: path for name in programs if (path := self._system.find(name))}

    def _needed(self, needs: Iterable[Need]) -> list[Package]:
        wanted = frozenset(needs)
        return [package for package in self._packages if package.needs & wanted]

    def _install(self, missing: Mapping[Package, tuple[str, ...]]) -> None:
        apt = self._system.find("apt-get")
        if self._system.user != 0 or not self._system.has_apt or apt is None:
            raise _refusal(missing, self._system)
        names = tuple(package.name for package in missing)
        self._report(f"installing system packages: {' '.join(names)}")
        try:
            # 100: some list could not be fetched; the installation decides whether that matters.
            self._apt(apt, ("update",), allowed=frozenset({0, 100}))
            self._apt(apt, ("install", "--no-install-recommends", "-y", *names), allowed=frozenset({0}))
        except CommandError as error:
            raise _refusal(missing, self._system, cause=f"{error.fact}: {error.cause}") from None

    def _apt(self, apt: Path, arguments: tuple[str, ...], *, allowed: frozenset[int]) -> None:
        proxies = {name: value for name, value in self._environment.items() if name.lower().endswith("_proxy")}
        options = ("-q", "-o", f"DPkg::Lock::Timeout={DPKG_LOCK_SECONDS}")
        environment = {**proxies, "DEBIAN_FRONTEND": "noninteractive"}
        command = Command(apt, (*options, *arguments), environment, timeout=INSTALL_SECONDS, allowed=allowed)
        self._runner.run(command)


def _refusal(missing: Mapping[Package, tuple[str, ...]], system: System, *, cause: str = "") -> InputError:
    names = " ".join(package.name for package in missing)
    problems = tuple(Problem(f"{package.name}: {', '.join(lacking)} not found") for package, lacking in missing.items())
    if system.has_apt:
        sudo = "" if system.user == 0 else "sudo "
        remedy = f"{sudo}apt-get update && {sudo}apt-get install --no-install-recommends -y {names}"
    else:
        remedy = f"install what Debian calls {names}"
    return InputError("system packages are missing", problems, cause=cause, remedy=remedy)
