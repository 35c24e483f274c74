"""What a machine is made of, and the resources in which Talos tells of it.

Resources that a real node was seen to give are told as `facts/real-talos` has them; the others carry the keys of
Talos' own types (siderolabs/talos v1.11.5, pkg/machinery/resources).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from inventory.model import Role
from tests.scripted import ports
from tests.scripted.ports import SWITCH, Machine, Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inventory.model import Node

# What `facts/real-talos` ran on; a disk that nobody describes is as large.
_GIB = 2**30
_SMALL = 10 * _GIB
_LARGE = 960 * 10**9
_PARTITIONS = ("EFI", "BIOS", "BOOT", "META", "STATE", "EPHEMERAL")
_FILESYSTEMS = {"EFI": "vfat", "BOOT": "xfs", "META": "talosmeta", "STATE": "xfs", "EPHEMERAL": "xfs"}
_TYPES = {
    "links": ("LinkStatuses.net.talos.dev", "network"),
    "routes": ("RouteStatuses.net.talos.dev", "network"),
    "ethernetstatus": ("EthernetStatuses.net.talos.dev", "network"),
    "disks": ("Disks.block.talos.dev", "runtime"),
    "discoveredvolumes": ("DiscoveredVolumes.block.talos.dev", "runtime"),
    "machinestatus": ("MachineStatuses.runtime.talos.dev", "runtime"),
    "timestatus": ("TimeStatuses.v1alpha1.talos.dev", "runtime"),
    "version": ("Versions.runtime.talos.dev", "runtime"),
    "machineconfig": ("MachineConfigs.config.talos.dev", "config"),
    "memorymodules": ("MemoryModules.hardware.talos.dev", "hardware"),
    "processors": ("Processors.hardware.talos.dev", "hardware"),
}


def of(node: Node) -> Machine:
    """The machine that the inventory describes."""
    names = node.links or tuple(f"enp0s{number}" for number in range(2, 2 + len(node.macs)))
    links = [
        {"name": name, "mac": mac, "driver": node.driver, "up": True, "speed": 25000, "rx": 512, "tx": 512}
        for name, mac in zip(names, node.macs, strict=True)
    ]
    is_nvme = node.disk_selector is not None
    disk = {
        "path": "/dev/nvme0n1" if is_nvme else node.disk, "size": _LARGE if is_nvme else _SMALL,
        "transport": "nvme" if is_nvme else "virtio", "rotational": not is_nvme,
        "model": (node.disk_selector.model if node.disk_selector else "").replace("*", "X"),
        "serial": (node.disk_selector.serial if node.disk_selector else "") or ("S64FNE0R" if is_nvme else ""),
    }  # fmt: skip
    return {
        "links": links,
        "disks": [disk],
        "volumes": [],
        "partner": SWITCH,
        "memory": max(4, node.hardware.memory),
        "cpus": max(2, node.hardware.cpus),
    }


def partitions(disk: str) -> list[Spec]:
    """The partitions that Talos' installer makes."""
    return [{"disk": disk, "number": number, "label": label} for number, label in enumerate(_PARTITIONS, start=1)]


def get(machine: Machine, kind: str) -> str:
    """What `talosctl get KIND --output=json` prints about a machine.

    Raises:
        KeyError: nobody wrote an answer for this kind.
    """
    type_name, namespace = _TYPES[kind]
    secured = "" if machine["stage"] == "maintenance" else machine["address"]
    found = []
    for name, spec in _SPECS[kind](machine):
        metadata = {
            "created": "2026-11-21T09:05:23Z", "id": name, "namespace": namespace, "owner": "a controller",
            "phase": "running", "type": type_name, "updated": "2026-11-21T09:05:28Z", "version": 2,
        }  # fmt: skip
        found.append(json.dumps({"metadata": metadata, "node": secured, "spec": spec}, indent=4))
    return "".join(f"{one}\n" for one in found)


def _disks(machine: Machine) -> Iterator[tuple[str, Spec]]:
    yield "loop0", {
        "bus_path": "/virtual", "cdrom": False, "dev_path": "/dev/loop0", "io_size": 512, "pretty_size": "114 MB",
        "readonly": True, "sector_size": 512, "size": 114393088, "sub_system": "/sys/class/block",
    }  # fmt: skip
    for disk in machine["disks"]:
        size = disk["size"]
        spec: Spec = {
            "bus_path": "/pci0000:00/0000:00:04.0", "cdrom": False, "dev_path": disk["path"], "io_size": 512,
            "model": disk["model"], "serial": disk["serial"], "pretty_size": f"{size // 10**9} GB", "readonly": False,
            "rotational": disk["rotational"], "sector_size": 512, "size": size, "sub_system": "/sys/class/block",
            "transport": disk["transport"],
        }  # fmt: skip
        # What is empty is not printed.
        yield disk["path"].removeprefix("/dev/"), {key: one for key, one in spec.items() if one not in {"", None}}


def _volumes(machine: Machine) -> Iterator[tuple[str, Spec]]:
    held = {one["disk"] for one in machine["volumes"]}
    for disk in machine["disks"]:
        path = disk["path"]
        yield path.removeprefix("/dev/"), {
            "dev_path": path, "device_path": "", "type": "disk", "size": disk["size"],
            "pretty_size": f"{int(str(disk['size'])) // 10**9} GB", "name": "gpt" if path in held else "",
        }  # fmt: skip
    for one in machine["volumes"]:
        path = f"{one['disk']}{'p' if str(one['disk'])[-1].isdigit() else ''}{one['number']}"
        yield path.removeprefix("/dev/"), {
            "dev_path": path, "device_path": "", "type": "partition", "parent": one["disk"].removeprefix("/dev/"),
            "parent_dev_path": one["disk"], "size": 104857600, "pretty_size": "105 MB", "label": one["label"],
            "name": _FILESYSTEMS.get(one["label"], ""), "partition_label": one["label"],
            "partition_index": one["number"],
        }  # fmt: skip


def _status(machine: Machine) -> Iterator[tuple[str, Spec]]:
    name = machine["name"]
    if machine["stage"] == "maintenance":
        yield "machine", {"stage": "maintenance", "status": {"ready": True, "unmetConditions": []}}
        return
    unmet: list[Any] = [{"name": "nodeReady", "reason": f'node "{name}" is not ready'}]
    is_up = machine["role"] == Role.WORKER.value or machine["etcd"] == "running"
    if not is_up:
        unmet.insert(0, {"name": "services", "reason": "etcd not running"})
    yield "machine", {"stage": "running" if is_up else "booting", "status": {"ready": False, "unmetConditions": unmet}}


def _time(machine: Machine) -> Iterator[tuple[str, Spec]]:
    yield "node", {"synced": machine["synced"], "epoch": 0, "syncDisabled": False}


def _version(machine: Machine) -> Iterator[tuple[str, Spec]]:
    yield "version", {"version": f"v{machine['version']}"}


def _config(machine: Machine) -> Iterator[tuple[str, Any]]:
    yield "v1alpha1", machine["config"]


def _memory(machine: Machine) -> Iterator[tuple[str, Spec]]:
    yield "DIMM-0", {"sizeMiB": machine["memory"] * 1024, "manufacturer": "QEMU"}


def _processors(machine: Machine) -> Iterator[tuple[str, Spec]]:
    yield "CPU-0", {"socket": "CPU 0", "manufacturer": "QEMU", "threadCount": machine["cpus"]}


_SPECS: dict[str, Callable[[Machine], Iterator[tuple[str, Any]]]] = {
    "links": ports.links,
    "routes": ports.routes,
    "ethernetstatus": ports.ethernet,
    "disks": _disks,
    "discoveredvolumes": _volumes,
    "machinestatus": _status,
    "timestatus": _time,
    "version": _version,
    "machineconfig": _config,
    "memorymodules": _memory,
    "processors": _processors,
}
