"""What is made ready before a lab starts: room, image, QEMU, settings, and the patch over the configuration."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bootstrap.host.errors import InputError, Problem
from bootstrap.host.programs import Use
from inventory.model import VirtualMachine
from rehearsal.certificates import ensure_authority
from rehearsal.charts import chart_needs, choice
from rehearsal.emulator import TRANSLATIONS, EmulatorChoice
from rehearsal.image import ImageBuilder
from rehearsal.machine import Machine, template_of
from rehearsal.monitor import COMMANDS_SOCKET, EVENTS_SOCKET
from rehearsal.overlay import lab_documents, rehearsal_documents, write
from rehearsal.registry import images_to_json
from rehearsal.settings import IMAGES_FILE, MODULES_FILE, OVERLAY_FILE, LabSettings, MachineSettings
from rehearsal.storage import REGISTRY, keep
from rehearsal.wiring import read_wiring
from talos.schematic import install_image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bootstrap.host.commands import CommandRunner
    from inventory.model import Cluster, Node
    from rehearsal.charts import ChartNeeds
    from rehearsal.emulator import Host
    from rehearsal.lab import Lab

# Bytes of a Unix socket's path, linux/un.h without the final zero.
LONGEST_SOCKET: Final = 107
# MiB that the lab's servers and ourselves need beside the machines.
SPARE_MEMORY: Final = 512
# An emulated machine keeps its host's processors busy for minutes, and what a run itself has to do takes moments: Linux
# gives those nine tenths of a processor beside such a process.
NICENESS: Final = 10
# Linux gives a sixth of the processor time to such a machine beside the first: enough for its kernel to keep its clock
# and for its services to answer.
NICENESS_OF_OTHERS: Final = NICENESS + 8
# GiB that one installed machine with its snapshots takes (measured: 0.9 installed, 1.5 a snapshot).
DISK_PER_MACHINE: Final = 6
# For a node whose inventory describes real hardware: what a control plane with Flux needs.
DEFAULT_MACHINE: Final = VirtualMachine(memory=4096, cpus=2, disk=10)


@dataclass(frozen=True)
class Workshop:
    """What preparing a lab works with.

    Attributes:
        root: the repository.
        runner: runs the recipe.
        programs: every program by name: pinned ones and those of the host.
        report: told what is being done.
        environment: what `go` needs to find modules, proxies among it.
        host: what of this machine decides which QEMU runs the machines.
        processors: of the host, those that we may use.
        charts: folder of charts in place of the lab's own; None for none.
    """

    root: Path
    runner: CommandRunner
    programs: Mapping[str, Path]
    report: Callable[[str], None]
    environment: Mapping[str, str]
    host: Host
    processors: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    charts: Path | None = None

    def choose_charts(self) -> ChartNeeds:
        """What publishing the charts takes; says which were given and which are the lab's own.

        Raises:
            InputError: a chart cannot be published; all of them at once.
        """
        folder = self.root / "lab" / "charts"
        if self.charts:
            self.report(choice(folder, self.charts).told(self.charts))
        return chart_needs(folder)


def check_resources(cluster: Cluster, cache: Path) -> list[Problem]:
    """Too little memory or disk for the machines of a cluster, as problems."""
    problems = []
    machines = _machines(cluster, None)
    wanted = sum(machine.memory + TRANSLATIONS for machine in machines) + SPARE_MEMORY
    available = _available_memory()
    if available < wanted:
        remedy = "rehearse with fewer machines: --nodes" if cluster.rehearsal and len(machines) > 1 else ""
        text = f"the lab wants {wanted} MiB of memory, {available} MiB are available"
        problems.append(Problem(text, remedy=remedy))
    free = shutil.disk_usage(cache).free // 2**30
    needed = DISK_PER_MACHINE * len(machines)
    if free < needed:
        problems.append(Problem(f"the lab wants {needed} GiB of disk at {cache}, {free} GiB are free"))
    folders = [cache / "lab" / "run" / "machines" / machine.name for machine in machines]
    sockets = [folder / name for folder in folders for name in (COMMANDS_SOCKET, EVENTS_SOCKET)]
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

    Raises:
        InputError: something that it is made of is not to be had, or an earlier lab's files cannot be removed.
        FirstlightError: the image could not be built.
    """
    lab.cache.mkdir(parents=True, exist_ok=True)
    needs = workshop.choose_charts()
    authority = ensure_authority(lab.cache / "ca")
    builder = ImageBuilder(lab.cache, workshop)
    assets = builder.ensure(authority.certificate)
    images = builder.images(assets, installer=install_image(workshop.root, cluster), uses=uses_of(cluster))
    images_key = builder.images_key(images)
    emulator = EmulatorChoice(lab.cache, workshop).choose(assets.kernel, settled=bool(lab.owner()))
    processors = workshop.processors if emulator.emulates else None
    host, _, path = cluster.git.url.removeprefix("https://").partition("/")
    wiring = read_wiring(workshop.root, cluster)
    settings = LabSettings(
        cluster=cluster.name, root=workshop.root, folder=lab.folder, network=str(cluster.networks.nodes),
        gateway=str(cluster.networks.gateway), endpoint=endpoint(cluster),
        time_names=cluster.networks.time_servers, chart_hosts=needs.hosts, git_host=host,
        git_path=path.removesuffix(".git"), git_ref=cluster.git.ref, vault=cluster.name,
        kernel=assets.kernel, initramfs=assets.initramfs, registry_base=lab.cache / f"{REGISTRY}-{images_key}",
        images_key=images_key, authority_certificate=authority.certificate, authority_key=authority.key,
        emulator=emulator, programs=workshop.programs,
        machines=_machines(cluster, processors), inputs="",
        rehearsal=cluster.rehearsal, lacp=wiring.lacp, mtu=wiring.mtu, charts=workshop.charts,
    )  # fmt: skip
    # Charts may be given when it is started; whoever joins it takes them as they are.
    recognised = replace(settings, charts=None).to_json()
    settings = replace(settings, inputs=hashlib.sha256(recognised.encode()).hexdigest()[:16])
    if not lab.owner():
        keep(lab.cache, _used(settings))
        _renew(lab.folder)
        (lab.folder / IMAGES_FILE).write_text(images_to_json(images))
        folders = {module: str(builder.module_folder(module)) for module in needs.modules}
        (lab.folder / MODULES_FILE).write_text(json.dumps(folders))
        over = rehearsal_documents(workshop.root, cluster, wiring) if cluster.rehearsal else []
        certificate = authority.certificate.read_text()
        crowded = _is_crowded(len(settings.machines), processors)
        over += lab_documents(certificate, emulated=emulator.emulates, crowded=crowded)
        write(lab.folder / OVERLAY_FILE, over)
    return settings


def uses_of(cluster: Cluster) -> tuple[Use, ...]:
    """What of the pinned programs the lab of a cluster is made with."""
    return tuple(use for use in Use if cluster.rehearsal or use is not Use.REHEARSAL)


def _used(settings: LabSettings) -> list[Path]:
    """The folders of the cache that a lab uses."""
    machines = [Machine(number, one, settings) for number, one in enumerate(settings.machines)]
    template = template_of(machines, settings.registry_base.parent)
    return [settings.kernel.parent, settings.registry_base, settings.emulator.program.parent, template]


def _renew(folder: Path) -> None:
    """Have the lab's folder empty."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        problem = Problem(f"{folder} holds files of somebody else", remedy=f"sudo rm -rf {folder}")
        raise InputError("an earlier lab's files cannot be removed", (problem,))
    folder.mkdir(parents=True, mode=0o700)


def _machines(cluster: Cluster, processors: int | None) -> tuple[MachineSettings, ...]:
    """What stands for the nodes that are there.

    Args:
        cluster: theirs.
        processors: of the host that emulates them all; None where it has a thread of its own for each of theirs.
    """
    present = [node for node in cluster.nodes if not node.absent]
    # Two emulated processors of a machine wait for each other, in locks and for flushed page tables, and where the
    # host runs only one of them that wait is busy.
    most = None if processors is None else max(1, processors // len(present))
    machines = tuple(_machine(node, most) for node in present)
    if processors is None:
        return machines
    # Where not all can run at once, the others wait for the API server of the first, and would take its time.
    others = NICENESS_OF_OTHERS if _is_crowded(len(present), processors) else NICENESS
    return tuple(replace(one, niceness=NICENESS if one.name == cluster.bootstrap_node else others) for one in machines)


def _is_crowded(machines: int, processors: int | None) -> bool:
    """Whether more machines are emulated than the host has processors; arguments as in `_machines`."""
    return processors is not None and processors < machines


def _machine(node: Node, most: int | None) -> MachineSettings:
    machine = node.machine or DEFAULT_MACHINE
    cpus = machine.cpus if most is None else min(machine.cpus, most)
    return MachineSettings(
        node.name, node.macs, str(node.maintenance_address), machine.memory, cpus, machine.disk,
        address=str(node.address),
    )  # fmt: skip


def endpoint(cluster: Cluster) -> tuple[str, str]:
    """The name of a cluster's Kubernetes API and the address that the lab's DNS gives for it."""
    return cluster.endpoint_host, str(cluster.virtual_ip or cluster.bootstrap.address)


def _available_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) // 1024
    return 0
