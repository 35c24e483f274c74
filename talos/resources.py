"""What a node says of itself, as frozen records, and how they are read from what talosctl prints.

Names of fields are those of Talos' resources (v1.11.5, pkg/machinery/resources) and of talosctl's tables.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

# A time as Go prints it: `2026-11-21 09:21:08.775198651 +0000 UTC`; nanoseconds are more than datetime holds.
_GO_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)? \+0000 UTC")
# What the kernel says of a link whose speed it does not know, as unsigned 32 bits.
_SPEED_UNKNOWN: Final = 4294967295


@dataclass(frozen=True)
class Condition:
    """Something that a machine waits for before it is ready."""

    name: str
    reason: str


@dataclass(frozen=True)
class MachineStatus:
    """Where a machine stands.

    Attributes:
        stage: maintenance, installing, booting, running, rebooting, ...
        ready: whether nothing is unmet.
        unmet: what it waits for; with `cni: none` that is `nodeReady` to the end.
    """

    stage: str
    ready: bool
    unmet: tuple[Condition, ...]


@dataclass(frozen=True)
class ServiceState:
    """One service of a machine.

    Attributes:
        name: apid, cri, etcd, kubelet, ...
        state: Waiting, Preparing, Running, Finished, Failed, ...
        healthy: None while its health is not known.
        event: the last thing that happened to it.
    """

    name: str
    state: str
    healthy: bool | None
    event: str


@dataclass(frozen=True)
class EtcdMember:
    """One member of etcd, as the node's own etcd sees it."""

    id: str
    hostname: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool


@dataclass(frozen=True)
class Disk:
    """A block device that Talos could be installed to, or that only looks so.

    Attributes:
        path: for example /dev/vda.
        size: bytes.
        transport: virtio, nvme, sata, ...; empty for a loop device.
        model: as the device says; may be empty.
        serial: as the device says; may be empty.
        writable: neither read-only nor a CD drive.
        rotational: whether it has platters that turn.
        symlinks: further paths of it, below /dev/disk.
    """

    path: str
    size: int
    transport: str
    model: str
    serial: str
    writable: bool
    rotational: bool = False
    symlinks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Volume:
    """What Talos found on a block device or partition.

    Attributes:
        name: of the device, for example `vda6`.
        partition: whether it is a partition.
        content: what was recognised there: `gpt`, `xfs`, `squashfs`, ...; may be empty.
        disk: path of the disk that it is a part of; empty for a disk.
        label: the partition's label, `STATE` and `EPHEMERAL` are Talos' own; may be empty.
    """

    name: str
    partition: bool
    content: str
    disk: str
    label: str


@dataclass(frozen=True)
class Link:
    """A network link.

    Attributes:
        name: for example enp0s2.
        kind: bond, vlan, dummy, ...; empty for a port.
        driver: kernel driver.
        address: hardware address in use; a bond's member has the bond's.
        permanent_address: hardware address that the port was made with; empty for a virtual link.
        up: whether it has a carrier.
        mtu: bytes.
        speed: Mbit/s; 0 when the kernel does not know it.
    """

    name: str
    kind: str
    driver: str
    address: str
    permanent_address: str
    up: bool
    mtu: int
    speed: int = 0


@dataclass(frozen=True)
class Rings:
    """The ring buffers of a port, in descriptors; 0 where the driver does not say."""

    rx: int
    tx: int


@dataclass(frozen=True)
class Route:
    """A route of a node; an empty destination is the default."""

    destination: str
    gateway: str
    link: str


@dataclass(frozen=True)
class Times:
    """A node's clock beside that of the time server that it asked for this.

    Attributes:
        server: the time server.
        node: the node's own time.
        reference: the server's time.
    """

    server: str
    node: datetime
    reference: datetime


def machine_status(resources: list[dict[str, Any]]) -> MachineStatus:
    """Stage and readiness from the resource MachineStatus."""
    spec = resources[0].get("spec", {}) if resources else {}
    status = spec.get("status", {})
    unmet = tuple(Condition(each["name"], each["reason"]) for each in status.get("unmetConditions") or ())
    return MachineStatus(str(spec.get("stage", "unknown")), status.get("ready") is True, unmet)


def service(row: dict[str, str]) -> ServiceState:
    """A service from its row in the table of `talosctl service`."""
    healthy = {"OK": True, "Fail": False}.get(row["HEALTH"])
    return ServiceState(row["SERVICE"], row["STATE"], healthy, row["LAST EVENT"])


def member(row: dict[str, str]) -> EtcdMember:
    """A member from its row in the table of `talosctl etcd members`."""
    return EtcdMember(
        id=row["ID"],
        hostname=row["HOSTNAME"],
        peer_urls=tuple(row["PEER URLS"].split(",")),
        client_urls=tuple(row["CLIENT URLS"].split(",")),
        learner=row["LEARNER"] == "true",
    )


def disk(resource: dict[str, Any]) -> Disk:
    """A disk from the resource Disk."""
    spec = resource["spec"]
    return Disk(
        path=spec["dev_path"],
        size=int(spec.get("size", 0)),
        transport=spec.get("transport", ""),
        model=spec.get("model", ""),
        serial=spec.get("serial", ""),
        writable=not spec.get("readonly") and not spec.get("cdrom"),
        rotational=spec.get("rotational") is True,
        symlinks=tuple(spec.get("symlinks") or ()),
    )


def volume(resource: dict[str, Any]) -> Volume:
    """A volume from the resource DiscoveredVolume."""
    spec = resource["spec"]
    return Volume(
        name=resource["metadata"]["id"],
        partition=spec.get("type") == "partition",
        content=spec.get("name", ""),
        disk=spec.get("parent_dev_path", ""),
        label=spec.get("partition_label", ""),
    )


def link(resource: dict[str, Any]) -> Link:
    """A link from the resource LinkStatus."""
    spec = resource["spec"]
    speed = int(spec.get("speedMbit", 0))
    return Link(
        name=resource["metadata"]["id"],
        kind=spec.get("kind", ""),
        driver=spec.get("driver", ""),
        address=spec.get("hardwareAddr", ""),
        permanent_address=spec.get("permanentAddr", ""),
        up=spec.get("linkState") is True,
        mtu=int(spec.get("mtu", 0)),
        speed=0 if speed == _SPEED_UNKNOWN else speed,
    )


def rings(resource: dict[str, Any]) -> Rings:
    """Ring buffers from the resource EthernetStatus."""
    found = resource["spec"].get("rings") or {}
    return Rings(int(found.get("rx", 0)), int(found.get("tx", 0)))


def route(resource: dict[str, Any]) -> Route:
    """A route from the resource RouteStatus."""
    spec = resource["spec"]
    return Route(spec.get("dst") or "", spec.get("gateway") or "", spec.get("outLinkName", ""))


def times(row: dict[str, str]) -> Times:
    """Both times from the row in the table of `talosctl time`.

    Raises:
        ValueError: they have another form.
    """
    return Times(row["NTP-SERVER"], _time(row["NODE-TIME"]), _time(row["NTP-SERVER-TIME"]))


def _time(text: str) -> datetime:
    found = _GO_TIME.fullmatch(text)
    if not found:
        raise ValueError(text)
    seconds, fraction = found.groups("0")
    return datetime.strptime(seconds, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC, microsecond=int(fraction.ljust(6, "0")))


def rows(table: str) -> list[dict[str, str]]:
    """The rows of a table of talosctl, whose columns start where their titles start."""
    lines = table.splitlines()
    if not lines:
        return []
    # Titles are set apart by several spaces; a single one belongs to a title such as LAST EVENT.
    titles = [(found.start(), found.group()) for found in re.finditer(r"\S+(?: \S+)*", lines[0])]
    ends = [start for start, _ in titles[1:]] + [None]
    return [
        {title: line[start:end].strip() for (start, title), end in zip(titles, ends, strict=True)}
        for line in lines[1:]
        if line.strip()
    ]


def json_values(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that stand one after the other in a text.

    Raises:
        ValueError: something else stands there.
    """
    decoder = json.JSONDecoder()
    position = 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        value, position = decoder.raw_decode(text, position)
        yield value
