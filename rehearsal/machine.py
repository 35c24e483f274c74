"""A virtual machine: one QEMU process, its disk and its memory."""

from __future__ import annotations

import hashlib
import shutil
import sys
from typing import TYPE_CHECKING

from bootstrap.host.commands import Command
from rehearsal.monitor import COMMANDS_SOCKET, EVENTS_SOCKET, Monitor, State, Watch
from rehearsal.network import tap_name
from rehearsal.processors import guard
from rehearsal.storage import TEMPLATE

if TYPE_CHECKING:
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
# and looks at the first of several; the kernel obeys the last.
EMULATED_ARGUMENTS = ("nopti", "mitigations=off", "init_on_alloc=0")
# A fifth level of page tables only lengthens every walk of an emulated TLB miss.
PROCESSOR = "max,la57=off"
# The state in which a machine waits for its first configuration.
MAINTENANCE = "maintenance"
# Of what QEMU printed, its last words are shown.
SHOWN_CHARACTERS = 300


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
        self._watch = Watch(self.folder / EVENTS_SOCKET, self.resume, self._log)
        self._daemon: Daemon | None = None
        self._restored = False

    @property
    def running(self) -> bool:
        """Whether its QEMU process lives."""
        return self._daemon is not None and self._daemon.running

    @property
    def state(self) -> State:
        """Whether it runs, is paused, was stopped by a full disk, or ended."""
        return self._watch.state if self.running else State.ENDED

    @property
    def trouble(self) -> str:
        """Why it does not run and will not by itself; empty when it does, or is paused on purpose."""
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
    def template(self) -> Path:
        """Disk and memory of a machine like this one in maintenance mode, kept for the next lab; holds no secret."""
        like = (self._lab.kernel, self._lab.initramfs, self._lab.emulator, PROCESSOR, *self._kernel_arguments())
        key = hashlib.sha256(repr((like, self.settings)).encode()).hexdigest()[:16]
        return self._lab.registry_base.parent / f"{TEMPLATE}-{key}" / f"{self.settings.name}.qcow2"

    @property
    def restored(self) -> bool:
        """Whether it began in maintenance mode, out of the template."""
        return self._restored

    def create(self, runner: CommandRunner) -> None:
        """Make its disk: empty, or the template's copy with maintenance mode in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.template.exists():
            shutil.copyfile(self.template, self.folder / "disk.qcow2")
            self._restored = True
            return
        arguments = ("create", "-q", "-f", "qcow2", str(self.folder / "disk.qcow2"), f"{self.settings.disk}G")
        runner.run(Command(self._lab.programs["qemu-img"], arguments, timeout=30))  # metadata only: instant

    def keep(self) -> None:
        """Keep disk and memory, saved under `MAINTENANCE` before, as the template of the next lab."""
        template = self.template
        template.parent.mkdir(parents=True, exist_ok=True)
        self.pause()
        try:
            made = shutil.copyfile(self.folder / "disk.qcow2", template.with_suffix(".new"))
        finally:
            self.resume()
        made.rename(template)

    def start(self, runner: ShCommandRunner) -> None:
        """Switch it on, or go on from the template."""
        restore = ("-loadvm", MAINTENANCE) if self._restored else ()
        command = Command(self._lab.emulator.program, (*self._arguments(), *restore))
        self._daemon = runner.start(command, log=self.folder / "qemu.log")
        self._watch.start(lambda: self.running)
        if self._lab.emulator.emulates:
            self._guard_processors()

    def end(self) -> None:
        """Switch it off without asking."""
        if self._daemon:
            self._daemon.end()

    def reset(self) -> None:
        """Press the reset button."""
        self._monitor.execute("system_reset")

    def pause(self) -> None:
        """Stop its processors."""
        self._monitor.execute("stop")

    def resume(self) -> None:
        """Let its processors go on."""
        self._monitor.execute("cont")

    def set_link(self, card: int, *, up: bool) -> None:
        """Pull or plug the cable of a network card, so that the machine itself sees the carrier go."""
        self._monitor.execute("set_link", name=f"net{card}", up=up)

    def save(self, name: str) -> None:
        """Keep disk and memory under a name."""
        self._monitor.human(f"savevm {name}")

    def load(self, name: str) -> None:
        """Go back to a name."""
        self._monitor.human(f"loadvm {name}")

    def snapshots(self) -> list[str]:
        """The names that can be gone back to."""
        lines = self._monitor.human("info snapshots").splitlines()
        return [line.split()[1] for line in lines if line.startswith("--") or line[:1].isdigit()]

    def _kernel_arguments(self) -> tuple[str, ...]:
        return (KERNEL_ARGUMENTS, *EMULATED_ARGUMENTS) if self._lab.emulator.emulates else (KERNEL_ARGUMENTS,)

    def _arguments(self) -> list[str]:
        cards = [
            argument
            for card, mac in enumerate(self.settings.macs)
            for argument in (
                "-netdev", f"tap,id=net{card},ifname={tap_name(self.number, card)},script=no,downscript=no",
                # No firmware to boot from it: kernel and initramfs are given.
                "-device", f"virtio-net-pci,netdev=net{card},mac={mac},romfile=",
            )
        ]  # fmt: skip
        return [
            "-name", self.settings.name, "-machine", "q35", "-accel", self._lab.emulator.accelerator,
            "-cpu", PROCESSOR,
            "-smp", str(self.settings.cpus), "-m", str(self.settings.memory),
            "-kernel", str(self._lab.kernel), "-initrd", str(self._lab.initramfs),
            "-append", " ".join(self._kernel_arguments()),
            # The disk is thrown away with the lab, so the host's cache may hold it back.
            "-drive", f"file={self.folder / 'disk.qcow2'},format=qcow2,if=virtio,cache=unsafe,discard=unmap",
            *cards,
            "-device", "virtio-rng-pci", "-display", "none", "-serial", f"file:{self.console}",
            "-qmp", f"unix:{self.folder / COMMANDS_SOCKET},server=on,wait=off",
            "-qmp", f"unix:{self.folder / EVENTS_SOCKET},server=on,wait=off", "-monitor", "none",
        ]  # fmt: skip

    def _guard_processors(self) -> None:
        daemon, watch = self._daemon, self._watch

        def reset(processor: int) -> None:
            self._log(f"processor {processor} hangs in an interrupt that the emulator lost: reset")
            self.reset()

        guard(
            self.settings.cpus,
            lives=lambda: daemon is not None and daemon.running,
            runs=lambda: watch.state is State.RUNNING,
            ask=lambda processor: self._monitor.human(f"info lapic {processor}"),
            reset=reset,
        )

    def _log(self, text: str) -> None:
        """Tell it in the supervisor's log."""
        sys.stderr.write(f"{self.settings.name}: {text}\n")
        sys.stderr.flush()
