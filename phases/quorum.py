"""etcd as each control plane shows it, and what all of them together mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Final

from bootstrap.host.errors import InputError, Problem
from phases import machines
from talos import disks
from talos.errors import Kind, TalosError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inventory.model import Cluster, Node
    from phases.world import Credentials, World
    from talos.resources import EtcdMember, ServiceState

# etcd's data directory (Talos v1.11.5, constants.EtcdDataPath); its service makes it before it waits for a bootstrap.
DATA_FOLDER: Final = "/var/lib/etcd"


class Holding(StrEnum):
    """What a control plane holds of etcd."""

    UNKNOWN = "unknown"
    EMPTY = "empty"
    DATA = "data"
    RUNNING = "running"


@dataclass(frozen=True)
class View:
    """etcd as one control plane shows it.

    Attributes:
        holding: what it holds of etcd; unknown where it could not be asked.
        seen: what was seen, for a person.
        members: as its own etcd knows them; empty unless it runs.
    """

    holding: Holding
    seen: str
    members: tuple[EtcdMember, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it showed that it holds nothing."""
        return self.holding is Holding.EMPTY


def look_at_all(world: World, credentials: Credentials) -> dict[str, View]:
    """Ask every control plane that is there, at the same time."""
    return machines.at_once(machines.present_control_planes(world.cluster), partial(look, world, credentials))


def with_data(views: Mapping[str, View]) -> list[str]:
    """The names of those that hold something of etcd."""
    return [name for name, view in views.items() if view.holding in {Holding.DATA, Holding.RUNNING}]


def is_born(world: World, credentials: Credentials) -> bool:
    """Whether a control plane may hold something of etcd; one that cannot be asked may."""
    return not all(view.is_empty for view in look_at_all(world, credentials).values())


def look(world: World, credentials: Credentials, node: Node) -> View:
    """Ask a control plane; never raises for one that does not answer."""
    try:
        return _configured(world, credentials, node)
    except TalosError as error:
        unknown = View(Holding.UNKNOWN, str(error))
        # In maintenance mode a machine may have another address, so silence at its own says nothing yet.
        if error.kind is not Kind.UNKNOWN_AUTHORITY and node.maintenance_address == node.address:
            return unknown
    try:
        return _in_maintenance(world, node)
    except TalosError:
        return unknown


def _configured(world: World, credentials: Credentials, node: Node) -> View:
    address, talosconfig = str(node.address), credentials.talosconfig
    service = world.talosctl.services(address, talosconfig).get("etcd")
    # Before etcd runs the question for its members hangs.
    if service and service.healthy:
        members = world.talosctl.etcd_members(address, talosconfig)
        return View(Holding.RUNNING, f"healthy, members: {listed(members)}", members)
    entries = world.talosctl.entries(address, talosconfig, DATA_FOLDER)
    return View(Holding.DATA if entries else Holding.EMPTY, _service_text(service))


def _in_maintenance(world: World, node: Node) -> View:
    kept = disks.kept(world.talosctl.volumes(str(node.maintenance_address), None))
    if kept:
        names = ", ".join(f"{each.label} on {each.name}" for each in kept)
        return View(Holding.DATA, f"in maintenance mode, but its disk has {names}")
    return View(Holding.EMPTY, "in maintenance mode, without data")


def _service_text(service: ServiceState | None) -> str:
    if service is None:
        return "not known to the machine yet"
    return f"{service.state}: {service.event}" if service.event else service.state


def listed(members: tuple[EtcdMember, ...]) -> str:
    """Members as a person reads them; one that was added and has not started has no name yet."""
    return ", ".join(
        f"{member.hostname or member.peer_urls[0]}{' (learner)' if member.learner else ''}" for member in members
    )


def joined(cluster: Cluster, views: Mapping[str, View]) -> tuple[bool, str]:
    """Whether every control plane that is there is a healthy, voting member for all of them, and what was seen."""
    voters = [{member.hostname for member in view.members if not member.learner} for view in views.values()]
    wanted = {node.name for node in machines.present_control_planes(cluster)}
    is_done = all(view.holding is Holding.RUNNING for view in views.values()) and all(wanted <= each for each in voters)
    return is_done, machines.joined(f"etcd on {name}: {view.seen}" for name, view in views.items())


def refusal(cluster: Cluster, views: Mapping[str, View]) -> InputError | None:
    """Why nothing may be done here: two etcd clusters, or members that the inventory does not know."""
    running = {name: view for name, view in views.items() if view.holding is Holding.RUNNING}
    lists = tuple(Problem(f"etcd on {name} has the members {listed(view.members)}") for name, view in running.items())
    ids = [{member.id for member in view.members} for view in running.values()]
    if any(not one & other for one, other in combinations(ids, 2)):
        return InputError(
            "the control planes are members of different etcd clusters",
            lists,
            cause="a bootstrap was sent to more than one of them",
            remedy="keep the one with the data that counts; reset the others, then run again",
        )
    known = {node.name for node in cluster.control_planes}
    strangers = sorted({m.hostname for view in running.values() for m in view.members if m.hostname} - known)
    if strangers:
        return InputError(
            f"etcd has members that {cluster.source} does not know: {', '.join(strangers)}",
            lists,
            remedy="add them to the inventory, or remove them with `talosctl etcd remove-member`",
        )
    return None
