"""Whether a machine in maintenance mode is the one that the inventory means, and free to be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bootstrap.host.errors import Problem
from talos import disks
from talos.probe import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from inventory.model import Node
    from phases.world import World
    from talos.probe import Observation as Seen
    from talos.resources import Disk, Link

# The kernel and the firmware keep a part of what is built in for themselves.
USABLE_PART: Final = 0.9
_MIB: Final = 1024


def judge(world: World, seen: Mapping[str, Seen], node: Node) -> tuple[Problem, ...]:
    """Everything that speaks against configuring a machine; nothing where it is not in maintenance mode.

    Raises:
        TalosError: no answer.
    """
    if seen[node.name].state is not State.MAINTENANCE:
        return ()
    source = world.cluster.source
    found = (*_ports(world, node), *_disk(world, node), *_capacity(world, node), *_release(world, node))
    return tuple(Problem(f"{node.name}: {text}", source) for text in found)


def _ports(world: World, node: Node) -> Iterator[str]:
    ports = [link for link in world.talosctl.links(_address(node), None) if link.permanent_address]
    by_mac = {link.permanent_address: link for link in ports}
    if not by_mac.keys() & set(node.macs):
        yield f"another machine answers at {_address(node)}: wanted the ports {', '.join(node.macs)}; {_found(ports)}"
        return
    for number, mac in enumerate(node.macs):
        link = by_mac.get(mac)
        if link is None:
            yield f"wanted a port with the permanent address {mac}; {_found(ports)}"
            continue
        if link.driver != node.driver:
            yield f"wanted the driver {node.driver} at the port {mac}; found {link.driver or 'none'}"
        if number < len(node.links) and link.name != node.links[number]:
            yield f"wanted the name {node.links[number]} for the port {mac}; found {link.name}"


def _found(ports: Sequence[Link]) -> str:
    return f"found {', '.join(f'{link.permanent_address} ({link.name}, {link.driver})' for link in ports) or 'none'}"


def _disk(world: World, node: Node) -> Iterator[str]:
    every = world.talosctl.disks(_address(node), None)
    matching = disks.candidates(every, node.disk, node.disk_selector)
    if len(matching) != 1:
        wanted = node.disk or "one disk that its selector matches"
        yield f"wanted {wanted}; found {_listed(matching) or 'none'} among {_listed(every)}"
        return
    disk = matching[0]
    volumes = world.talosctl.volumes(_address(node), None)
    there = {each.name: each for each in (*disks.kept(volumes, disk.path), *disks.kept(volumes))}
    if there:
        contents = ", ".join(f"{each.name} ({each.label or each.content or 'unknown'})" for each in there.values())
        name = disk.path.removeprefix("/dev/")
        yield (
            f"{disk.path} holds data that an install would destroy: {contents}; look at it first, then "
            f"`talosctl wipe disk {name} --insecure --nodes {_address(node)}` empties it"
        )


def _listed(every: Sequence[Disk]) -> str:
    return ", ".join(f"{disk.path} ({disk.model or disk.transport or 'virtual'}, {disk.size} B)" for disk in every)


def _capacity(world: World, node: Node) -> Iterator[str]:
    wanted = node.hardware
    if wanted.memory:
        found = world.talosctl.memory(_address(node), None)
        if found < wanted.memory * _MIB * USABLE_PART:
            yield f"wanted {wanted.memory} GiB of memory; found {found} MiB"
    if wanted.cpus:
        threads = world.talosctl.threads(_address(node), None)
        if threads < wanted.cpus:
            yield f"wanted {wanted.cpus} logical processors; found {threads}"


def _release(world: World, node: Node) -> Iterator[str]:
    found = world.talosctl.release(_address(node), None)
    if _minor(found) != _minor(world.cluster.talos_version):
        yield f"wanted Talos {world.cluster.talos_version}; it was booted with {found}, of another minor version"


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def _address(node: Node) -> str:
    return str(node.maintenance_address)
