"""A virtual machine: one QEMU process, its disks and its memory."""

from __future__ import annotations

import hashlib
import shutil
import sys
from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command
from rehearsal.monitor import COMMANDS_SOCKET, EVENTS_SOCKET, Monitor, State, Watch
from rehearsal.network import tap_name
from rehearsal.processors import guard
from rehearsal.sharing import give_way
from rehearsal.storage import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bootstrap.host.commands import CommandRunner, Daemon, ShCommandRunner
    from rehearsal.settings import LabSettings, MachineSettings

# What Talos' own images pass to their kernel (Talos, hack/ and pkg/machinery/kernel), plus a serial console;
# the dashboard only costs processor time under emulation.
KERNEL_ARGUMENTS = (
    "console=ttyS0 slab_nomerge= pti=on printk.devkmsg=on consoleblank=0 nvme_core.io_timeout=4294967295"
    " talos.platform=metal talos.shutdown=halt talos.dashboard.disabled=1 reboot=k panic=1"
)
# Every system call of a kernel with page table isolation flushes the emulated TLB twice. Talos insists on `pti=on`
# and looks at the first of several; the kernel obeys the last. Every switch to another process empties the TLB and the
# table of translated code as well, and most switches are timers of Go's runtimes, 900 a second on each processor: the
# image's init lets timers be 10 ms late, which is less than two ticks more, and gives slices of 20 ms.
EMULATED_ARGUMENTS = ("nopti", "mitigations=off", "init_on_alloc=0", "lab.timerslack=10000000", "lab.slice=20000000")
# A fifth level of page tables only lengthens every walk of an emulated TLB miss. Repeated string instructions are
# emulated element by element, and without these flags the kernel clears and copies by eight bytes instead of by one.
PROCESSOR = "max,la57=off,erms=off,fsrm=off"
# The state in which a machine waits for its first configuration.
MAINTENANCE = "maintenance"
# Of what QEMU printed, its last words are shown.
SHOWN_CHARACTERS = 300
# What QEMU calls a disk on each bus.
DISKS: Final = {"virtio": "virtio-blk-pci", "sata": "ide-hd"}
# Mbit/s that a card tells, as those of the specification's machines have.
SPEED: Final = 10_000
# Bytes of a disk's first sector, and the two that end it when there is a boot loader in it.
SECTOR, BOOTABLE = 512, b"\x55\xaa"


def template_of(machines: Iterable[Machine], cache: Path) -> Path:
    """Where disks and memory of machines like these are kept in maintenance mode, for the next lab; no secret in it.

    Args:
        machines: all of a lab.
        cache: the lab's.
    """
    key = hashlib.sha256(repr([machine.layout for machine in machines]).encode()).hexdigest()[:16]
    return cache / f"{TEMPLATE}-{key}"


class Machine:
    """One machine of the lab.

    Args:
        number: its place among the machines, from 0.
        settings: what it is made of.
        lab: the lab it belongs to.
    """

    def __init__(self, number: int, settings: MachineSettings, lab: LabSettings) -> None:
        self.number = number
        self.settings = settings
        self._lab = lab
        self.folder = lab.folder / "machines" / settings.name
        self._monitor = Monitor(self.folder / COMMANDS_SOCKET)
        self._watch = self._make_watch()
        self._daemon: Daemon | None = None
        self._is_off = False
        self._is_usual = True

    @property
    def running(self) -> bool:
        """Whether its QEMU process lives."""
        return self._daemon is not None and self._daemon.running

    @property
    def state(self) -> State:
        """Whether it runs, is paused, was stopped by a full disk, is switched off, or ended."""
        if self._is_off:
            return State.OFF
        return self._watch.state if self.running else State.ENDED

    @property
    def trouble(self) -> str:
        """Why it does not run and will not by itself; empty when it does, or is paused or off on purpose."""
        match self.state:
            case State.ENDED:
                log = self.folder / "qemu.log"
                said = log.read_text(errors="replace")[-SHOWN_CHARACTERS:].strip() if log.exists() else ""
                return f"its QEMU ended and printed {said.splitlines()[-1] if said else 'nothing'}"
            case State.DISK_FULL:
                free = shutil.disk_usage(self.folder).free // 2**20
                return f"QEMU could not write its disk and stopped it: {free} MiB are free at {self.folder}"
        return ""

    @property
    def console(self) -> Path:
        """What the machine wrote to its serial port."""
        return self.folder / "console.log"

    @property
    def layout(self) -> tuple[object, ...]:
        """Everything of its hardware that memory saved by QEMU belongs to."""
        return (self.settings, self._lab.emulator, *self._hardware(self.settings), *self._kernel())

    def create(self, runner: CommandRunner, template: Path | None) -> None:
        """Make its disks: empty, or the copies of a template with maintenance mode in it.

        Args:
            runner: makes the images.
            template: a folder that `keep` filled; None for empty disks.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, size in self._images(self.settings).items():
            if template:
                shutil.copyfile(template / f"{self.settings.name}-{name}", self.folder / name)
            else:
                self._make_image(runner, name, size)

    def keep(self, template: Path) -> None:
        """Keep the disks, with the memory that was saved under `MAINTENANCE`, for the next lab.

        Args:
            template: a folder.
        """
        for name in self._images(self.settings):
            shutil.copyfile(self.folder / name, template / f"{self.settings.name}-{name}")

    def start(self, runner: ShCommandRunner) -> None:
        """Switch it on with kernel and initramfs given, as from a medium of installation."""
        self._launch(runner, self.settings, *self._kernel())

    def restore(self, runner: ShCommandRunner) -> None:
        """Go on where the template was kept."""
        self._launch(runner, self.settings, *self._kernel(), "-loadvm", MAINTENANCE)

    def end(self) -> None:
        """Switch it off without asking, for good."""
        if self._daemon:
            self._daemon.end()

    def switch_off(self) -> None:
        """Take its power away."""
        self._is_off, self._is_usual = True, False
        self.end()

    def switch_on(self, runner: ShCommandRunner) -> None:
        """Give it power: it boots what was installed to its disk, else as the first time."""
        self.end()
        self._is_usual = not self._has_boot_loader(runner)
        self._launch(runner, self.settings, *(self._kernel() if self._is_usual else ()))

    def stand_in(self, runner: ShCommandRunner, settings: MachineSettings, content: bytes = b"") -> None:
        """Have another machine in its place, in maintenance mode; `switch_on` brings it back.

        Args:
            runner: starts it.
            settings: of the other; its name is not looked at.
            content: what its disks begin with; nothing for empty ones.
        """
        self.end()
        self._is_usual = False
        beginning = self.folder / "beginning"
        beginning.write_bytes(content)
        for name, size in self._images(settings, prefix="other").items():
            (self.folder / name).unlink(missing_ok=True)
            self._make_image(runner, name, size, *(("-b", str(beginning), "-F", "raw") if content else ()))
        self._launch(runner, settings, *self._kernel(), prefix="other")

    def reset(self) -> None:
        """Press the reset button."""
        self._monitor.execute("system_reset")

    def pause(self) -> None:
        """Stop its processors, if it is on."""
        if not self._is_off:
            self._monitor.execute("stop")

    def resume(self) -> None:
        """Let its processors go on, if it is on."""
        if not self._is_off:
            self._monitor.execute("cont")

    def set_link(self, card: int, *, up: bool) -> None:
        """Pull or plug the cable of a network card, so that the machine itself sees the carrier go."""
        self._monitor.execute("set_link", name=f"net{card}", up=up)

    def save(self, name: str) -> None:
        """Keep disk and memory under a name."""
        self._monitor.human(f"savevm {name}")

    def load(self, name: str, runner: ShCommandRunner) -> None:
        """Go back to a name; one that is off, or in whose place another stands, is switched on with it."""
        if self._is_usual:
            self._monitor.human(f"loadvm {name}")
            return
        self.end()
        self._launch(runner, self.settings, *self._kernel(), "-loadvm", name)
        self._is_usual = True

    def snapshots(self) -> list[str]:
        """The names that can be gone back to."""
        lines = self._monitor.human("info snapshots").splitlines()
        return [line.split()[1] for line in lines if line.startswith("--") or line[:1].isdigit()]

    def _kernel(self) -> tuple[str, ...]:
        arguments = (KERNEL_ARGUMENTS, *EMULATED_ARGUMENTS) if self._lab.emulator.emulates else (KERNEL_ARGUMENTS,)
        return ("-kernel", str(self._lab.kernel), "-initrd", str(self._lab.initramfs), "-append", " ".join(arguments))

    def _launch(
        self, runner: ShCommandRunner, settings: MachineSettings, *arguments: str, prefix: str = "disk"
    ) -> None:
        for name in (COMMANDS_SOCKET, EVENTS_SOCKET):
            (self.folder / name).unlink(missing_ok=True)
        words = (*self._hardware(settings, prefix=prefix), *arguments)
        program = self._lab.emulator.program
        if settings.niceness:
            words = (f"--adjustment={settings.niceness}", str(program), *words)
            program = self._lab.programs["nice"]
        self._daemon = runner.start(Command(program, words), log=self.folder / "qemu.log")
        give_way(self._daemon.pid, settings.niceness)
        self._is_off = False
        self._watch = self._make_watch()
        daemon = self._daemon
        self._watch.start(lambda: daemon.running)
        if self._lab.emulator.emulates:
            self._guard_processors(daemon)

    def _guard_processors(self, daemon: Daemon) -> None:
        watch = self._watch

        def reset(processor: int) -> None:
            self._log(f"processor {processor} hangs in an interrupt that the emulator lost: reset")
            self.reset()

        guard(
            self.settings.cpus,
            lives=lambda: daemon.running,
            runs=lambda: watch.state is State.RUNNING,
            ask=lambda processor: self._monitor.human(f"info lapic {processor}"),
            reset=reset,
        )

    def _make_watch(self) -> Watch:
        return Watch(self.folder / EVENTS_SOCKET, self.resume, self._log)

    def _images(self, settings: MachineSettings, *, prefix: str = "disk") -> dict[str, int]:
        """GiB of every disk by the name of its file."""
        return {f"{prefix}{number or ''}.qcow2": size for number, size in enumerate(settings.disks)}

    def _make_image(self, runner: CommandRunner, name: str, size: int, *backing: str) -> None:
        arguments = ("create", "-q", "-f", "qcow2", *backing, str(self.folder / name), f"{size}G")
        runner.run(Command(self._lab.programs["qemu-img"], arguments, timeout=30))  # metadata only: instant

    def _has_boot_loader(self, runner: CommandRunner) -> bool:
        """Whether the first disk boots by itself; only while the machine is off."""
        first = self.folder / "sector"
        disk = self.folder / next(iter(self._images(self.settings)))
        arguments = ("dd", "-O", "raw", f"bs={SECTOR}", "count=1", f"if={disk}", f"of={first}")
        runner.run(Command(self._lab.programs["qemu-img"], arguments, timeout=30))  # half a kilobyte
        sector = first.read_bytes()
        # The protective table of GPT alone has no code before it.
        return sector[-2:] == BOOTABLE and sector[0] != 0

    def _hardware(self, settings: MachineSettings, *, prefix: str = "disk") -> list[str]:
        tap, speed = "script=no,downscript=no", ""
        if self._lab.lacp:
            # The switch reads packets as they are on the wire: without checksums left to do, and none too large.
            tap += ",vnet_hdr=off"
            # Linux aggregates links of a known speed only.
            speed = f",speed={SPEED},duplex=full"
        cards = [
            argument
            for card, mac in enumerate(settings.macs)
            for argument in (
                "-netdev", f"tap,id=net{card},ifname={tap_name(self.number, card)},{tap}",
                # No firmware to boot from it: kernel and initramfs are given.
                "-device", f"virtio-net-pci,netdev=net{card},mac={mac},romfile={speed}",
            )
        ]  # fmt: skip
        disks = [
            argument
            for number, name in enumerate(self._images(settings, prefix=prefix))
            for argument in (
                # The disk is thrown away with the lab, so the host's cache may hold it back.
                "-drive", f"id=disk{number},file={self.folder / name},format=qcow2,if=none,cache=unsafe,discard=unmap",
                "-device", f"{DISKS[settings.bus]},drive=disk{number}",
            )
        ]  # fmt: skip
        return [
            "-name", self.settings.name, "-machine", "q35", "-accel", self._lab.emulator.accelerator,
            "-cpu", PROCESSOR,
            "-smp", str(settings.cpus), "-m", str(settings.memory),
            *cards, *disks,
            "-device", "virtio-rng-pci", "-display", "none",
            "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
            "-qmp", f"unix:{self.folder / COMMANDS_SOCKET},server=on,wait=off",
            "-qmp", f"unix:{self.folder / EVENTS_SOCKET},server=on,wait=off", "-monitor", "none",
        ]  # fmt: skip

    def _log(self, text: str) -> None:
        """Tell it in the supervisor's log."""
        sys.stderr.write(f"{self.settings.name}: {text}\n")
        sys.stderr.flush()
