"""Which QEMU runs the machines: the one an operator names, the system's, or a newer one of Debian's backports."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bootstrap.host.commands import Command, CommandError
from bootstrap.host.errors import FirstlightError, InputError
from bootstrap.host.files import write_atomically
from rehearsal.debian import BACKPORTS, Archive
from rehearsal.settings import FAST_CIPHERS, Emulator
from rehearsal.storage import EMULATOR, workspace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rehearsal.preparation import Workshop

# Its value is the path of a qemu-system-x86_64, which is then taken whatever the choice would have been.
VARIABLE: Final = "FIRSTLIGHT_QEMU"
PROGRAM: Final = "qemu-system-x86_64"
# The binary, its own firmware and the BIOS; the libraries are those that the system's QEMU brought.
PACKAGES: Final = ("qemu-system-x86", "qemu-system-data", "seabios")
# QEMU looks for everything below a folder of this name beside itself, when there is one (get_relocated_path of its
# util/cutils.c); otherwise an unpacked one would load firmware and modules of the installed one.
BUNDLE: Final = "qemu-bundle"
# MiB of translated code, just below QEMU's own limit: with 512 everything is thrown away and translated again nine
# times until Flux runs.
TRANSLATIONS: Final = 2000
# Emulation with one thread per virtual processor.
EMULATION: Final = f"tcg,thread=multi,tb-size={TRANSLATIONS}"
# A kernel without a root panics and reboots within two seconds where acceleration works.
ACCELERATION_SECONDS: Final = 10.0
# It prints one line; a cold disk under load was seen to take five seconds.
VERSION_SECONDS: Final = 30.0
# A mirror that was not there is asked again on the next day, so that work without a network is not held up.
RETRY_SECONDS: Final = 86400.0


@dataclass(frozen=True)
class Host:
    """What of this machine decides, beside its programs.

    Attributes:
        release: content of `/etc/os-release`.
        boot: names the time since it was switched on; whether acceleration works may change with the next.
        may_accelerate: whether `/dev/kvm` can be opened.
        named: the value of `FIRSTLIGHT_QEMU`; empty leaves the choice to us.
    """

    release: str
    boot: str
    may_accelerate: bool
    named: str = ""

    @property
    def has_backports(self) -> bool:
        """Whether programs of the backports that we know were made for it."""
        fields = dict(line.split("=", 1) for line in self.release.splitlines() if "=" in line)
        return (fields.get("ID"), fields.get("VERSION_ID", "").strip('"')) == ("debian", "12")


def this_host(environment: Mapping[str, str]) -> Host:
    """The machine that we run on.

    Args:
        environment: usually `os.environ`.
    """
    release = Path("/etc/os-release")
    text = release.read_text() if release.exists() else ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Host(text, boot, os.access("/dev/kvm", os.R_OK | os.W_OK), environment.get(VARIABLE, ""))


class EmulatorChoice:
    """Decides which QEMU runs the machines, and remembers it until something changes that it depends on.

    Args:
        cache: the lab's cache; keeps the decision and a QEMU that was downloaded.
        workshop: the system's QEMU, and what to ask and download with.
    """

    def __init__(self, cache: Path, workshop: Workshop) -> None:
        self._cache = cache
        self._workshop = workshop
        self._host = workshop.host
        self._memory = cache / "emulator.json"
        named = self._host.named
        self._program = Path(named).expanduser().absolute() if named else workshop.programs[PROGRAM]

    def choose(self, kernel: Path, *, settled: bool) -> Emulator:
        """The QEMU for the machines, and how it runs them.

        Args:
            kernel: acceleration is believed when this one was seen to run under it.
            settled: a lab runs with what was chosen: nothing is tried again.

        Raises:
            InputError: `FIRSTLIGHT_QEMU` names no QEMU.
            CommandError: the system's QEMU does not start.
        """
        known = self._remembered(settled=settled)
        if known:
            return known
        chosen, retry = self._decide(kernel)
        content = {"for": self._circumstances(), "emulator": asdict(chosen), "retry": retry}
        write_atomically(self._memory, json.dumps(content, default=str).encode())
        return chosen

    def _decide(self, kernel: Path) -> tuple[Emulator, float]:
        """The choice, and the Unix time from which on a better one is looked for; 0 for never."""
        version = self._ask_version()
        if self._host.may_accelerate and self._boots_with_kvm(kernel):
            return Emulator(self._program, version, "kvm"), 0.0
        emulator = Emulator(self._program, version, EMULATION)
        if self._host.named or emulator.has_fast_ciphers:
            return emulator, 0.0
        slow = f"QEMU {emulator.number} runs the machines; it encrypts seven times slower than a newer one"
        if not self._host.has_backports:
            wanted = ".".join(str(number) for number in FAST_CIPHERS)
            self._workshop.report(f"{slow}: {VARIABLE} may name one of {wanted} or later")
            return emulator, 0.0
        try:
            return self._newer(), 0.0
        except CommandError as error:
            self._workshop.report(f"{slow}, which cannot be had: {error}")
            return emulator, time.time() + RETRY_SECONDS

    def _ask_version(self) -> str:
        try:
            return self._version(self._program)
        except CommandError as error:
            if not self._host.named:
                raise
            remedy = f"have {VARIABLE} name a {PROGRAM}, or unset it"
            raise InputError(f"{VARIABLE} names no QEMU: {self._program}", cause=error.cause, remedy=remedy) from None

    def _version(self, program: Path) -> str:
        said = self._workshop.runner.run(Command(program, ("--version",), timeout=VERSION_SECONDS)).text
        match = re.match(r"QEMU emulator version (\d.*)", said)
        if not match:
            raise CommandError(f"{program} is not QEMU", cause=f"it says {said.partition(chr(10))[0]!r}")
        return match.group(1).strip()

    def _newer(self) -> Emulator:
        """The backports' QEMU: the one that is cached, else downloaded."""
        cached = sorted(self._cache.glob(f"{EMULATOR}-*/{PROGRAM}"), key=lambda path: path.parent.stat().st_mtime)
        program = cached[-1] if cached else self._download()
        return Emulator(program, self._version(program), EMULATION)

    def _download(self) -> Path:
        workshop = self._workshop
        workshop.report("fetching a newer QEMU from Debian's backports")
        archive = Archive((BACKPORTS,), workshop.runner, workshop.environment)
        with workspace(self._cache, EMULATOR) as work:
            archive.download(PACKAGES, work / "debs")
            made = work / "made"
            (made / BUNDLE).mkdir(parents=True)
            for package in sorted((work / "debs").iterdir()):
                archive.unpack(package, made / BUNDLE)
            (made / BUNDLE / "usr" / "bin" / PROGRAM).rename(made / PROGRAM)
            shutil.rmtree(made / BUNDLE / "usr" / "bin")  # the same emulator for other machines
            self._version(made / PROGRAM)  # one that does not start is not kept
            (package,) = (work / "debs").glob(f"{PACKAGES[0]}_*")
            kept = self._cache / f"{EMULATOR}-{archive.version(package).rpartition(':')[2]}"
            shutil.rmtree(kept, ignore_errors=True)
            return made.replace(kept) / PROGRAM

    def _boots_with_kvm(self, kernel: Path) -> bool:
        arguments = (
            "-machine", "q35", "-accel", "kvm", "-cpu", "max", "-m", "256", "-nic", "none", "-kernel", str(kernel),
            "-append", "console=ttyS0 panic=-1", "-no-reboot", "-display", "none", "-serial", "stdio",
            "-monitor", "none",
        )  # fmt: skip
        try:
            result = self._workshop.runner.run(Command(self._program, arguments, timeout=ACCELERATION_SECONDS))
        except FirstlightError:
            return False
        return "Kernel panic" in result.text

    def _circumstances(self) -> list[str]:
        """What the choice depends on; a program that was replaced has another time."""
        changed = self._program.stat().st_mtime_ns if self._program.exists() else 0
        return [str(part) for part in (*asdict(self._host).values(), self._program, changed)]

    def _remembered(self, *, settled: bool) -> Emulator | None:
        if not self._memory.exists():
            return None
        known: dict[str, Any] = json.loads(self._memory.read_text())
        if known.get("for") != self._circumstances() or (0 < known["retry"] < time.time() and not settled):
            return None
        emulator = Emulator(**{**known["emulator"], "program": Path(known["emulator"]["program"])})
        return emulator if emulator.program.exists() else None
