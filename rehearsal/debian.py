"""Debian packages, downloaded by apt's own client with a configuration of its own and unpacked; nothing is installed.

It works for an ordinary user, and on Ubuntu as well: sources, lists and caches lie in a folder that is given.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bootstrap.host.commands import CommandRunner

APT: Final = Path("/usr/bin/apt-get")
DPKG_DEB: Final = Path("/usr/bin/dpkg-deb")
# Installed by the package debian-archive-keyring, on Ubuntu too.
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEFAULT_MIRROR: Final = "http://deb.debian.org/debian"
# The release that the lab's machine is made of, and where newer packages for it are.
RELEASE, BACKPORTS = "bookworm", "bookworm-backports"
# Lists of both suites are 10 MB; three minutes are 60 kB/s, or a mirror that does not answer asked twice.
LISTS_SECONDS: Final = 180.0
# The image's packages are 40 MB and take 7 s; ten minutes are a slow mirror.
DOWNLOAD_SECONDS: Final = 600.0
# The largest package unpacks to 120 MB within two seconds; a minute is a busy disk.
UNPACK_SECONDS: Final = 60.0
# Laid over the system's own configuration, of which proxies are kept and what happens after an update is not: it
# would renew caches of the system's.
CONFIGURATION: Final = """\
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
APT::Architecture "amd64";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Retries "1";
Acquire::http::Timeout "30";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


@dataclass(frozen=True)
class Archive:
    """Suites of the Debian archive.

    Attributes:
        suites: for example `bookworm`.
        runner: runs apt-get and dpkg-deb.
        environment: proxies are taken from here.
    """

    suites: tuple[str, ...]
    runner: CommandRunner
    environment: Mapping[str, str]

    def download(self, names: Iterable[str], folder: Path) -> None:
        """Download packages, verified by apt against Debian's keys.

        Args:
            names: of packages, without those that they depend on.
            folder: gets the files; it is made.

        Raises:
            CommandError: the mirror does not answer or has no such package.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="apt.") as made:
            configuration = self._configure(Path(made))
            self._apt(configuration, ("update",), folder, LISTS_SECONDS)
            self._apt(configuration, ("download", *names), folder, DOWNLOAD_SECONDS)

    def unpack(self, package: Path, folder: Path) -> None:
        """Unpack a downloaded package.

        Raises:
            CommandError: it cannot be unpacked.
        """
        self.runner.run(Command(DPKG_DEB, ("-x", str(package), str(folder)), timeout=UNPACK_SECONDS))

    def version(self, package: Path) -> str:
        """The version of a downloaded package, with its epoch.

        Raises:
            CommandError: it is no package.
        """
        # Reads the head of a file.
        return self.runner.run(Command(DPKG_DEB, ("-f", str(package), "Version"), timeout=10)).text.strip()

    def _configure(self, folder: Path) -> Path:
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        # Only packages of this architecture: no translations, icons or contents.
        options = f"[arch=amd64 lang=none target=Packages signed-by={KEYRING}]"
        mirror = self._mirror()
        lines = [f"deb {options} {mirror} {suite} main\n" for suite in self.suites]
        (folder / "sources.list").write_text("".join(lines))
        configuration = folder / "apt.conf"
        configuration.write_text(CONFIGURATION.format(folder=folder))
        return configuration

    def _apt(self, configuration: Path, arguments: tuple[str, ...], folder: Path, seconds: float) -> None:
        proxies = {name: value for name, value in self.environment.items() if name.lower().endswith("_proxy")}
        options = ("-qq", "-c", str(configuration))
        command = Command(APT, (*options, *arguments), proxies, timeout=seconds, folder=folder)
        try:
            self.runner.run(command)
        except CommandError as error:
            raise CommandError(
                f"`apt-get {' '.join(arguments[:2])}` failed", cause=_reason(error), stderr=error.stderr,
                exit_code_seen=error.exit_code_seen, timed_out=error.timed_out,
            ) from None  # fmt: skip

    def _mirror(self) -> str:
        """The Debian mirror that this machine uses; the default one elsewhere."""
        command = Command(APT, ("indextargets", "--format", "$(ORIGIN) $(REPO_URI)"), timeout=30)  # reads local lists
        try:
            lines = self.runner.run(command).text.splitlines()
        except CommandError:
            return DEFAULT_MIRROR
        for line in lines:
            origin, _, address = line.partition(" ")
            if origin == "Debian" and "security" not in address:
                return address.rstrip("/")
        return DEFAULT_MIRROR


def _reason(error: CommandError) -> str:
    """What apt says first: its last line is only that something failed."""
    first = re.search(r"^[EW]: (.+)", error.stderr, re.MULTILINE)
    return first.group(1).strip() if first else str(error)
