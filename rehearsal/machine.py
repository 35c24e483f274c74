"""A virtual machine: one QEMU process and its control protocol (QMP)."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import threading
from typing import TYPE_CHECKING, Any

from bootstrap.host.commands import Command
from bootstrap.host.errors import FirstlightError
from rehearsal.network import tap_name

if TYPE_CHECKING:
    from collections.abc import Mapping
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
TEMPLATES = "maintenance-"
# savevm writes about 1.5 GiB; five minutes are a slow disk.
SNAPSHOT_SECONDS = 300.0
# QEMU answers QMP at once unless the machine swaps.
QMP_SECONDS = 30.0


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
        self._daemon: Daemon | None = None
        self._restored = False

    @property
    def running(self) -> bool:
        """Whether its QEMU process lives."""
        return self._daemon is not None and self._daemon.running

    @property
    def console(self) -> Path:
        """What the machine wrote to its serial port."""
        return self.folder / "console.log"

    @property
    def template(self) -> Path:
        """Disk and memory of a machine like this one in maintenance mode, kept for the next lab; holds no secret."""
        like = (self._lab.kernel, self._lab.initramfs, self._lab.accelerator, PROCESSOR, *self._kernel_arguments())
        key = hashlib.sha256(repr((like, self.settings)).encode()).hexdigest()[:16]
        return self._lab.registry_base.parent / f"{TEMPLATES}{key}" / f"{self.settings.name}.qcow2"

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
        for old in template.parent.parent.glob(f"{TEMPLATES}*"):
            if old != template.parent:
                shutil.rmtree(old, ignore_errors=True)
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
        command = Command(self._lab.programs["qemu-system-x86_64"], (*self._arguments(), *restore))
        self._daemon = runner.start(command, log=self.folder / "qemu.log")

    def end(self) -> None:
        """Switch it off without asking."""
        if self._daemon:
            self._daemon.end()

    def reset(self) -> None:
        """Press the reset button."""
        Monitor(self.folder / "qmp.sock").execute("system_reset")

    def pause(self) -> None:
        """Stop its processors."""
        Monitor(self.folder / "qmp.sock").execute("stop")

    def resume(self) -> None:
        """Let its processors go on."""
        Monitor(self.folder / "qmp.sock").execute("cont")

    def set_link(self, card: int, *, up: bool) -> None:
        """Pull or plug the cable of a network card, so that the machine itself sees the carrier go."""
        Monitor(self.folder / "qmp.sock").execute("set_link", name=f"net{card}", up=up)

    def save(self, name: str) -> None:
        """Keep disk and memory under a name."""
        Monitor(self.folder / "qmp.sock").human(f"savevm {name}")

    def load(self, name: str) -> None:
        """Go back to a name."""
        Monitor(self.folder / "qmp.sock").human(f"loadvm {name}")

    def snapshots(self) -> list[str]:
        """The names that can be gone back to."""
        lines = Monitor(self.folder / "qmp.sock").human("info snapshots").splitlines()
        return [line.split()[1] for line in lines if line.startswith("--") or line[:1].isdigit()]

    def _kernel_arguments(self) -> tuple[str, ...]:
        emulated = self._lab.accelerator.startswith("tcg")
        return (KERNEL_ARGUMENTS, *EMULATED_ARGUMENTS) if emulated else (KERNEL_ARGUMENTS,)

    def _arguments(self) -> list[str]:
        cards = [
            argument
            for card, mac in enumerate(self.settings.macs)
            for argument in (
                "-netdev", f"tap,id=net{card},ifname={tap_name(self.number, card)},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=net{card},mac={mac}",
            )
        ]  # fmt: skip
        return [
            "-name", self.settings.name, "-machine", "q35", "-accel", self._lab.accelerator,
            "-cpu", PROCESSOR,
            "-smp", str(self.settings.cpus), "-m", str(self.settings.memory),
            "-kernel", str(self._lab.kernel), "-initrd", str(self._lab.initramfs),
            "-append", " ".join(self._kernel_arguments()),
            # The disk is thrown away with the lab, so the host's cache may hold it back.
            "-drive", f"file={self.folder / 'disk.qcow2'},format=qcow2,if=virtio,cache=unsafe,discard=unmap",
            *cards,
            "-device", "virtio-rng-pci", "-display", "none", "-serial", f"file:{self.console}",
            "-qmp", f"unix:{self.folder / 'qmp.sock'},server=on,wait=off", "-monitor", "none",
        ]  # fmt: skip


class Monitor:
    """One conversation with QEMU over QMP.

    Args:
        path: the machine's QMP socket.
    """

    _lock = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._path = path

    def execute(self, command: str, **arguments: object) -> Any:
        """Run one QMP command and give what it returns.

        Raises:
            FirstlightError: QEMU does not answer or refuses.
        """
        request = {
            "execute": command,
            **({"arguments": {_dashed(k): v for k, v in arguments.items()}} if arguments else {}),
        }
        try:
            with self._lock, socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(SNAPSHOT_SECONDS if command == "human-monitor-command" else QMP_SECONDS)
                connection.connect(str(self._path))
                with connection.makefile("rw") as stream:
                    stream.readline()  # the greeting
                    _ask(stream, {"execute": "qmp_capabilities"})
                    return _ask(stream, request)
        except OSError as error:
            raise FirstlightError(f"the machine does not answer {command}", cause=str(error)) from None

    def human(self, line: str) -> str:
        """Run a command of QEMU's human monitor, where QMP has none as simple.

        Raises:
            FirstlightError: QEMU reports an error.
        """
        answer = str(self.execute("human-monitor-command", command_line=line))
        if answer.lower().startswith("error"):
            raise FirstlightError(f"`{line}` failed", cause=answer.strip())
        return answer


def _ask(stream: Any, request: Mapping[str, object]) -> object:
    stream.write(json.dumps(request) + "\n")
    stream.flush()
    for line in stream:
        answer = json.loads(line)
        if "return" in answer:
            returned: object = answer["return"]
            return returned
        if "error" in answer:
            raise FirstlightError(f"the machine refused {request['execute']}", cause=answer["error"].get("desc", ""))
    raise FirstlightError("the machine ended the conversation")


def _dashed(name: str) -> str:
    return name.replace("_", "-")
