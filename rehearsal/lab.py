"""The lab as commands see it: up, down, status, enter."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bootstrap.host import yaml_io
from bootstrap.host.commands import Command
from bootstrap.host.errors import FirstlightError, InputError, LockedError, Problem, WaitTimeoutError
from inventory.model import VirtualMachine
from rehearsal import control, namespaces
from rehearsal.certificates import ensure_authority
from rehearsal.charts import chart_needs
from rehearsal.image import ImageBuilder
from rehearsal.locks import is_held, kill_holder, try_lock
from rehearsal.machine import EMULATED_ARGUMENTS
from rehearsal.registry import images_to_json
from rehearsal.settings import (
    FAILURE_FILE,
    IMAGES_FILE,
    MODULES_FILE,
    OVERLAY_FILE,
    SETTINGS_FILE,
    SOCKET_FILE,
    LabSettings,
    MachineSettings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bootstrap.host.commands import Daemon, ShCommandRunner
    from bootstrap.host.yaml_io import Yaml
    from inventory.model import Cluster, Node

# Tells a command inside the lab where the lab's files are.
FOLDER: Final = "FIRSTLIGHT_LAB"
# Cold: images of 1.1 GB are written and pushed; four minutes of it are the machine's boot on a busy host.
UP_SECONDS: Final = 600.0
# Ending QEMU and the servers takes a second; their grace period is five.
DOWN_SECONDS: Final = 20.0
# Asked for its state, or to stop, the supervisor answers at once unless the machine swaps.
STATUS_SECONDS: Final = 15.0
# With fewer bytes even the supervisor's last words may have found no room.
FULL_DISK: Final = 1_000_000
# Three scripts of the recipe with ten minutes each; cached, it takes a second.
PREPARE_SECONDS: Final = 1800.0
# Bytes of a Unix socket's path, linux/un.h without the final zero.
LONGEST_SOCKET: Final = 107
# MiB that the lab's servers and ourselves need beside the machines.
SPARE_MEMORY: Final = 512
# GiB that one installed machine with its snapshots takes (measured: 0.9 installed, 1.5 a snapshot).
DISK_PER_MACHINE: Final = 6
# For a node whose inventory describes real hardware: what a control plane with Flux needs.
DEFAULT_MACHINE: Final = VirtualMachine(memory=4096, cpus=2, disk=10)
# MiB of translated code, just below QEMU's own limit: with 512 everything is thrown away and translated again nine
# times until Flux runs.
TRANSLATIONS: Final = 2000
# Emulation with one thread per virtual processor.
EMULATION: Final = f"tcg,thread=multi,tb-size={TRANSLATIONS}"
# A kernel without a root panics and reboots within two seconds where acceleration works.
ACCELERATION_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Status:
    """What is known about the lab of this user."""

    running: bool
    owner: Mapping[str, str]
    state: str
    doing: str
    machines: tuple[Mapping[str, Any], ...]
    snapshots: tuple[str, ...]


class Lab:
    """The one lab of this user and machine.

    Args:
        cache: the tool's cache folder.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache / "lab"
        self.folder = self.cache / "run"
        self._lock = self.cache / "lock"

    @property
    def socket(self) -> Path:
        """The supervisor's control socket."""
        return self.folder / SOCKET_FILE

    def owner(self) -> dict[str, str]:
        """Who runs it: root, cluster, since, inputs; empty when nobody does."""
        if not self._lock.exists():
            return {}
        with self._lock.open() as file:
            if not is_held(file):
                return {}
            held: dict[str, str] = json.loads(file.read() or "{}")
        return held or {"root": "unknown"}

    def status(self) -> Status:
        """Whether it runs and what it does."""
        owner = self.owner()
        if not owner:
            return Status(running=False, owner={}, state="down", doing="", machines=(), snapshots=())
        if control.supervisor_pid(self.socket) is None:
            return Status(running=True, owner=owner, state="starting", doing="", machines=(), snapshots=())
        answer = control.ask(self.socket, "status", patience=STATUS_SECONDS)
        machines, snapshots = tuple(answer["machines"]), tuple(answer["snapshots"])
        return Status(
            running=True,
            owner=owner,
            state=answer["state"],
            doing=answer["doing"],
            machines=machines,
            snapshots=snapshots,
        )

    def check_owner(self, root: Path, cluster: str) -> None:
        """Refuse a lab of another worktree or cluster.

        Raises:
            InputError: such a lab runs.
        """
        owner = self.owner()
        if owner and (owner.get("root"), owner.get("cluster")) != (str(root), cluster):
            text = f"it belongs to cluster {owner.get('cluster')} of {owner.get('root')}, since {owner.get('since')}"
            problem = Problem(text, remedy=f"{owner.get('root')}/invoke lab.down")
            raise InputError("a lab of another worktree is running", (problem,))

    def up(self, settings: LabSettings, runner: ShCommandRunner, report: Callable[[str], None]) -> bool:
        """Start the lab, or join the one that runs for the same worktree and inputs.

        Returns:
            Whether it had to be started.

        Raises:
            InputError: a lab of another worktree or with other inputs runs.
            FirstlightError: it did not come up.
        """
        self.check_owner(settings.root, settings.cluster)
        owner = self.owner()
        if owner:
            if owner.get("inputs") != settings.inputs:
                problem = Problem(
                    "machines, image or programs changed since it was started", remedy="./invoke lab.down"
                )
                raise InputError("the running lab is not what the files describe", (problem,))
            self._await_ready(report, lambda: bool(self.owner()))
            return False
        supervisor = self._start(settings, runner)
        self._await_ready(report, lambda: supervisor.running)
        return True

    @contextmanager
    def starting(self, report: Callable[[str], None]) -> Iterator[None]:
        """Be the only command that prepares and starts the lab; whoever comes second waits until it can join.

        Raises:
            WaitTimeoutError: another command neither starts the lab nor gives up.
        """
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / "starting").open("w") as file:
            deadline = time.monotonic() + PREPARE_SECONDS
            told = False
            while not try_lock(file) and not self.owner():
                if not told:
                    report("another command is preparing the lab: waiting for it")
                    told = True
                if time.monotonic() > deadline:
                    raise WaitTimeoutError("another command is preparing the lab and does not get done")
                time.sleep(0.2)  # a local lock: asking five times a second costs nothing
            yield

    def ask(self, request: str, **arguments: Any) -> object:
        """Ask the running lab for something.

        Raises:
            FirstlightError: no lab is running, or it refuses.
        """
        if not self.owner():
            raise FirstlightError("no lab is running", remedy="./invoke lab.up")
        return control.ask(self.socket, request, **arguments)

    def down(self) -> bool:
        """End the lab and remove everything it made at run time; whether there was one."""
        was_running = bool(self.owner())
        if not was_running:
            self._clean()
            return False
        began, insisted = time.monotonic(), False
        while self.owner():
            with suppress(FirstlightError):  # it may not listen yet, or end while it is asked
                control.ask(self.socket, "stop", patience=STATUS_SECONDS)
            waited = time.monotonic() - began
            if waited > DOWN_SECONDS and not insisted:
                kill_holder(self._lock)
                insisted = True
            if waited > 2 * DOWN_SECONDS:
                raise FirstlightError("the lab does not end", cause=f"{self._lock} is still held")
            time.sleep(0.05)  # a local lock: asking often costs nothing
        shutil.rmtree(self.folder, ignore_errors=True)
        return True

    def _clean(self) -> None:
        """Remove what a lab that was killed left, unless a command is about to start one there."""
        if not self.folder.exists():
            return
        with (self.cache / "starting").open("w") as file:
            if not try_lock(file):
                raise LockedError(
                    "another command is preparing the lab", remedy="end that command, then ./invoke lab.down"
                )
            shutil.rmtree(self.folder, ignore_errors=True)

    def enter(self, nsenter: Path, command: Sequence[str]) -> None:
        """Replace this process by a command inside the lab; does not return.

        Raises:
            FirstlightError: there is no lab.
        """
        pid = control.supervisor_pid(self.socket)
        if pid is None:
            raise FirstlightError("no lab is running", remedy="./invoke lab.up")
        trust = str(self.folder / "trust.crt")
        environment = {
            **os.environ, "SSL_CERT_FILE": trust, "GIT_SSL_CAINFO": trust, "OP_CONNECT_HOST": "http://opconnect.monosense.dev",
            "OP_CONNECT_TOKEN": str(control.ask(self.socket, "token")),
            FOLDER: str(self.folder),
        }  # fmt: skip
        environment.pop("SSL_CERT_DIR", None)
        namespaces.enter(nsenter, pid, command, environment)

    def _start(self, settings: LabSettings, runner: ShCommandRunner) -> Daemon:
        owner = {
            "root": str(settings.root), "cluster": settings.cluster, "inputs": settings.inputs,
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }  # fmt: skip
        self._lock.write_text(json.dumps(owner))
        (self.folder / SETTINGS_FILE).write_text(settings.to_json())
        supervisor = (
            sys.executable,
            "-m",
            "rehearsal.supervisor",
            str(self.folder / SETTINGS_FILE),
            str(self._lock),
        )
        arguments = (*namespaces.unshare_arguments(), *supervisor)
        code = str(Path(__file__).resolve().parent.parent)
        # Image layers pass through temporary files: beside the lab there is room, and they go when it goes.
        scratch = self.folder / "tmp"
        scratch.mkdir(exist_ok=True)
        environment = {"PYTHONPATH": code, "TMPDIR": str(scratch)}
        command = Command(settings.programs["unshare"], arguments, environment, folder=settings.root)
        return runner.start(command, log=self.folder / "supervisor.log")

    def _await_ready(self, report: Callable[[str], None], lives: Callable[[], bool]) -> None:
        deadline = time.monotonic() + UP_SECONDS
        last = ""
        while True:
            lived = lives()
            state, doing = self._ask_state(lived=lived)
            if state == "ready":
                return
            if doing != last:
                last = doing
                report(doing)
            if time.monotonic() > deadline:
                raise FirstlightError(
                    "the lab did not come up",
                    cause=f"still {last} after {UP_SECONDS:g} s",
                    remedy="./invoke lab.down",
                )
            time.sleep(0.1)  # a local socket: asking ten times a second costs nothing

    def _ask_state(self, *, lived: bool) -> tuple[str, str]:
        failure = self.folder / FAILURE_FILE
        if failure.exists():
            seen = json.loads(failure.read_text())
            remedy = seen["remedy"] or f"look at {self.folder}/supervisor.log"
            raise FirstlightError(seen["fact"], cause=seen["cause"], remedy=remedy)
        if not lived:
            raise self._ended()
        if control.supervisor_pid(self.socket) is None:
            return "starting", "starting the lab"
        try:
            answer = control.ask(self.socket, "status", patience=STATUS_SECONDS)
        except FirstlightError as error:  # it may be ending; whether it lives is asked again
            return "starting", str(error)
        return str(answer["state"]), str(answer["doing"])

    def _ended(self) -> FirstlightError:
        if shutil.disk_usage(self.cache).free < FULL_DISK:
            return FirstlightError("the lab's supervisor ended", cause=f"the disk is full at {self.cache}")
        log = self.folder / "supervisor.log"
        try:
            lines = log.read_text(errors="replace").splitlines() or ["it printed nothing"]
        except OSError:
            return FirstlightError("the lab was ended while it started", remedy="./invoke lab.up")
        return FirstlightError("the lab's supervisor ended", cause=lines[-1], remedy=f"look at {log}")


@dataclass(frozen=True)
class Workshop:
    """What preparing a lab works with.

    Attributes:
        root: the repository.
        runner: runs the recipe.
        programs: every program by name: pinned ones and those of the host.
        report: told what is being done.
        environment: what `go` needs to find modules.
    """

    root: Path
    runner: ShCommandRunner
    programs: Mapping[str, Path]
    report: Callable[[str], None]
    environment: Mapping[str, str]


def check_resources(cluster: Cluster, cache: Path) -> list[Problem]:
    """Too little memory or disk for the machines of a cluster, as problems."""
    problems = []
    machines = [_machine(node) for node in cluster.nodes]
    wanted = sum(machine.memory + TRANSLATIONS for machine in machines) + SPARE_MEMORY
    available = _available_memory()
    if available < wanted:
        problems.append(Problem(f"the lab wants {wanted} MiB of memory, {available} MiB are available"))
    free = shutil.disk_usage(cache).free // 2**30
    needed = DISK_PER_MACHINE * len(machines)
    if free < needed:
        problems.append(Problem(f"the lab wants {needed} GiB of disk at {cache}, {free} GiB are free"))
    sockets = [str(cache / "lab" / "run" / "machines" / machine.name / "qmp.sock") for machine in machines]
    longest = max((len(os.fsencode(path)) for path in sockets), default=0)
    if longest > LONGEST_SOCKET:
        text = f"the path of the cache is {longest - LONGEST_SOCKET} bytes too long for the sockets in it: {cache}"
        problems.append(Problem(text, remedy="set XDG_CACHE_HOME to a shorter path"))
    return problems


def prepare(lab: Lab, cluster: Cluster, workshop: Workshop) -> LabSettings:
    """Build what the lab of a cluster needs and describe it.

    Args:
        lab: where it will live.
        cluster: its machines and network come from the inventory.
        workshop: what to build with.

    Returns:
        The settings; files beside them are written when the lab is not running.
    """
    lab.cache.mkdir(parents=True, exist_ok=True)
    authority = ensure_authority(lab.cache / "ca")
    builder = ImageBuilder(lab.cache, workshop)
    assets = builder.ensure(authority.certificate)
    images = builder.images(assets)
    images_key = builder.images_key(assets)
    accelerator = _accelerator(lab.cache, workshop.programs["qemu-system-x86_64"], assets.kernel, workshop.runner)
    needs = chart_needs(workshop.root / "lab" / "charts")
    host, _, path = cluster.git.url.removeprefix("https://").partition("/")
    settings = LabSettings(
        cluster=cluster.name, root=workshop.root, folder=lab.folder, network=str(cluster.networks.nodes),
        gateway=str(cluster.networks.gateway), endpoint=(cluster.endpoint_host, str(cluster.bootstrap.address)),
        time_names=cluster.networks.time_servers, chart_hosts=needs.hosts, git_host=host,
        git_path=path.removesuffix(".git"), git_ref=cluster.git.ref, vault=cluster.name,
        kernel=assets.kernel, initramfs=assets.initramfs, registry_base=lab.cache / f"registry-{images_key}",
        images_key=images_key, authority_certificate=authority.certificate, authority_key=authority.key,
        accelerator=accelerator, programs=workshop.programs,
        machines=tuple(_machine(node) for node in cluster.nodes), inputs="",
    )  # fmt: skip
    settings = replace(settings, inputs=hashlib.sha256(settings.to_json().encode()).hexdigest()[:16])
    if not lab.owner():
        shutil.rmtree(lab.folder, ignore_errors=True)
        if lab.folder.exists():
            problem = Problem(f"{lab.folder} holds files of somebody else", remedy=f"sudo rm -rf {lab.folder}")
            raise InputError("an earlier lab's files cannot be removed", (problem,))
        lab.folder.mkdir(parents=True, mode=0o700)
        (lab.folder / IMAGES_FILE).write_text(images_to_json(images))
        folders = {module: str(builder.module_folder(module)) for module in needs.modules}
        (lab.folder / MODULES_FILE).write_text(json.dumps(folders))
        overlay = _overlay(authority.certificate.read_text(), emulated=accelerator == EMULATION)
        (lab.folder / OVERLAY_FILE).write_text(overlay)
    return settings


def _overlay(certificate: str, *, emulated: bool) -> str:
    """The patches over a cluster's own machine configuration: what the lab's machines need and hardware does not."""
    documents: list[Yaml] = [
        {
            "apiVersion": "v1alpha1",
            "kind": "TrustedRootsConfig",
            "name": "firstlight-lab",
            "certificates": certificate,
        }
    ]
    if emulated:
        # The first processor quota makes the kernel patch its own code, which QEMU's emulation with several
        # threads does not survive (an int3 oops in update_curr). The arguments are those of the first boot.
        machine: dict[str, Yaml] = {
            "kubelet": {"extraConfig": {"cpuCFSQuota": False}},
            "install": {"extraKernelArgs": [*EMULATED_ARGUMENTS]},
        }
        documents.insert(0, {"machine": machine})
    return yaml_io.dump_all(documents)


def _machine(node: Node) -> MachineSettings:
    machine = node.machine or DEFAULT_MACHINE
    address = str(node.maintenance_address)
    return MachineSettings(node.name, node.macs, address, machine.memory, machine.cpus, machine.disk)


def _available_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) // 1024
    return 0


def _accelerator(cache: Path, qemu: Path, kernel: Path, runner: ShCommandRunner) -> str:
    """QEMU's accelerator: KVM when a kernel really boots with it, else emulation; remembered until the next boot."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    memory = cache / "accelerator.json"
    known = json.loads(memory.read_text()) if memory.exists() else {}
    if known.get("boot") != boot:
        usable = os.access("/dev/kvm", os.R_OK | os.W_OK) and _boots_with_kvm(qemu, kernel, runner)
        known = {"boot": boot, "kvm": usable}
        memory.write_text(json.dumps(known))
    return "kvm" if known["kvm"] else EMULATION


def _boots_with_kvm(qemu: Path, kernel: Path, runner: ShCommandRunner) -> bool:
    arguments = (
        "-machine", "q35", "-accel", "kvm", "-cpu", "max", "-m", "256", "-kernel", str(kernel), "-append",
        "console=ttyS0 panic=-1", "-no-reboot", "-display", "none", "-serial", "stdio", "-monitor", "none",
    )  # fmt: skip
    try:
        result = runner.run(Command(qemu, arguments, timeout=ACCELERATION_SECONDS))
    except FirstlightError:
        return False
    return "Kernel panic" in result.text
