"""A node's network as its configuration declares it, held against what the node shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from talos.bonding import LACP, NO_PARTNER
from talos.resources import Rings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from inventory.model import Node
    from talos.bonding import Bond, Member
    from talos.documents import Configuration
    from talos.resources import Link, Route

# How a configuration writes the destination of the default route.
_EVERYWHERE: Final = "0.0.0.0/0"


@dataclass(frozen=True)
class Declared:
    """What a configuration says about the network.

    Attributes:
        mtus: bytes by link; links whose MTU is left to the kernel have 0.
        bonds: mode by bond.
        gateways: addresses of the default routes.
        rings: ring buffers by port.
    """

    mtus: Mapping[str, int]
    bonds: Mapping[str, str]
    gateways: tuple[str, ...]
    rings: Mapping[str, Rings]


@dataclass(frozen=True)
class Shown:
    """What a node shows of its network.

    Attributes:
        links: by name.
        bonds: by name.
        routes: all of them.
        rings: by port; empty where the configuration does not declare any.
    """

    links: Mapping[str, Link]
    bonds: Mapping[str, Bond]
    routes: tuple[Route, ...]
    rings: Mapping[str, Rings]


def declared(config: Configuration) -> Declared:
    """What a node's configuration says about its network."""
    interfaces = [each for each in config.interfaces if isinstance(each.get("interface"), str)]
    vlans = [
        (f"{each['interface']}.{vlan.get('vlanId')}", vlan) for each in interfaces for vlan in each.get("vlans") or ()
    ]
    routes = [route for each in (*interfaces, *(vlan for _, vlan in vlans)) for route in each.get("routes") or ()]
    return Declared(
        mtus={name: int(each.get("mtu") or 0) for name, each in (*((i["interface"], i) for i in interfaces), *vlans)},
        bonds={each["interface"]: each["bond"].get("mode", "") for each in interfaces if each.get("bond")},
        gateways=tuple(route["gateway"] for route in routes if route.get("network", _EVERYWHERE) == _EVERYWHERE),
        rings={each["name"]: _rings(each["rings"]) for each in config.kind("EthernetConfig") if each.get("rings")},
    )


def _rings(value: Mapping[str, Any]) -> Rings:
    return Rings(int(value.get("rx") or 0), int(value.get("tx") or 0))


def differences(wanted: Declared, shown: Shown, node: Node) -> Iterator[str]:
    """Everything that is not as declared, what lies lowest first: ports, group, links, routes."""
    for name, mode in wanted.bonds.items():
        bond = shown.bonds.get(name)
        if bond is None:
            yield f"there is no bond {name}"
            continue
        yield from _ports(name, bond, node)
        if mode == LACP:
            yield from _group(name, bond)
    yield from _rings_differ(wanted, shown)
    yield from _links_differ(wanted, shown)
    default = {route.gateway for route in shown.routes if not route.destination}
    for gateway in wanted.gateways:
        if gateway not in default:
            yield f"wanted a default route by {gateway}; found {', '.join(sorted(default)) or 'none'}"


def _ports(name: str, bond: Bond, node: Node) -> Iterator[str]:
    members = {member.permanent_address: member for member in bond.members}
    for mac in node.macs:
        member = members.get(mac)
        if member is None:
            yield f"{name} has no member with the permanent address {mac}"
        elif not member.up:
            yield f"{member.name} of {name} is down: check its cable and its switch port"


def _group(name: str, bond: Bond) -> Iterator[str]:
    up = [member for member in bond.members if member.up]
    alone = [member.name for member in up if member.partner == NO_PARTNER]
    if not bond.speaks_lacp:
        yield f"{name} runs as {bond.mode or 'an unknown mode'}, not as {LACP}"
    elif alone:
        yield f"{', '.join(alone)} of {name} has no LACP partner at the switch: configure LACP (active) on its port"
    elif len({member.partner for member in up}) > 1:
        yield f"the members of {name} have different LACP partners: {_each(up, 'partner')}"
    elif len({member.aggregator for member in up}) > 1:
        groups, speeds = _each(up, "aggregator"), _each(up, "speed")
        yield f"the members of {name} are in different aggregators: {groups}; their speeds: {speeds}"


def _each(members: Iterable[Member], attribute: str) -> str:
    return ", ".join(f"{member.name} {getattr(member, attribute) or 'unknown'}" for member in members)


def _rings_differ(wanted: Declared, shown: Shown) -> Iterator[str]:
    for port, rings in wanted.rings.items():
        found = shown.rings.get(port, Rings(0, 0))
        pairs = (("rx", rings.rx, found.rx), ("tx", rings.tx, found.tx))
        yield from (
            f"wanted {want} {kind} descriptors at {port}; found {have}"
            for kind, want, have in pairs
            if want and want != have
        )


def _links_differ(wanted: Declared, shown: Shown) -> Iterator[str]:
    for name, mtu in wanted.mtus.items():
        link = shown.links.get(name)
        if link is None:
            yield f"there is no link {name}"
        elif not link.up:
            yield f"{name} is down"
        elif mtu and link.mtu != mtu:
            yield f"wanted MTU {mtu} at {name}; found {link.mtu}"


def summary(shown: Shown) -> str:
    """What a person wants to know of a network that is as declared: its bonds."""
    return ", ".join(
        f"{name} with {' and '.join(member.name for member in bond.members)}"
        + (f" at the LACP partner {bond.members[0].partner}" if bond.speaks_lacp and bond.members else "")
        for name, bond in shown.bonds.items()
    )
