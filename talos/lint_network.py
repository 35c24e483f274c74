"""What is wrong with a node's network although it is valid: bonds, selectors, MTU, VLANs, rings, virtual IP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from talos.documents import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inventory.model import Cluster, Node
    from talos.documents import Configuration, Where

# Entries of a ring at the most: i40e from X710 on and virtio by their drivers (Linux 6.12, I40E_MAX_NUM_DESCRIPTORS,
# IGB_MAX_TXD; QEMU 10, VIRTQUEUE_MAX_SIZE).
MOST_ENTRIES: Final = {"i40e": 8160, "igb": 4096, "virtio_net": 1024}
# What a link has unless it is told otherwise.
ETHERNET_MTU: Final = 1500
LACP: Final = "802.3ad"
# Modes that do not ask which link a packet belongs to (Linux, Documentation/networking/bonding.rst).
UNHASHED: Final = frozenset({"active-backup", "balance-rr", "broadcast"})
INTERFACES: Final = ("machine", "network", "interfaces")
# What an interface says about itself and a bond's member loses.
CARRIED: Final = ("addresses", "vlans", "vip", "dhcp", "routes", "mtu")


@dataclass(frozen=True)
class Port:
    """A port of the node, as the inventory says it.

    Attributes:
        address: permanent hardware address.
        driver: kernel driver.
        link: its name; empty when the inventory does not say it.
    """

    address: str
    driver: str
    link: str

    def __str__(self) -> str:
        """The address, with the name where it is known."""
        return f"{self.address} ({self.link})" if self.link else self.address


def findings(config: Configuration, cluster: Cluster, node: Node) -> Iterator[Finding]:
    """Everything that is wrong with the network of a node's configuration although it is valid."""
    links = node.links or ("",) * len(node.macs)
    ports = tuple(Port(mac, node.driver, link) for mac, link in zip(node.macs, links, strict=True))
    members: dict[Port, str] = {}
    for index, interface in enumerate(config.interfaces):
        where: Where = (*INTERFACES, index)
        if bond := interface.get("bond"):
            yield from _bond(bond, (*where, "bond"))
            chosen = list(_members(bond, (*where, "bond"), ports, cluster, node))
            yield from (each for each in chosen if isinstance(each, Finding))
            members |= {each: str(interface.get("interface")) for each in chosen if isinstance(each, Port)}
        yield from _vlans(interface, where)
        yield from _virtual_ips(interface, where, cluster)
    yield from _links(config, ports, members)
    yield from _ethernet(config, node)


def _bond(bond: dict[str, Any], where: Where) -> Iterator[Finding]:
    mode = bond.get("mode")
    if not bond.get("miimon"):
        text = "`miimon` is missing or 0: a member that lost its link stays in use"
        yield Finding(text, (*where, "miimon"), "miimon: 100")
    if mode == LACP and not bond.get("lacpRate"):
        text = "`lacpRate` is missing: a partner that fell silent is noticed after 90 s"
        yield Finding(text, (*where, "lacpRate"), "lacpRate: fast")
    if mode == LACP and not bond.get("xmitHashPolicy"):
        text = "`xmitHashPolicy` is missing: all that goes through the gateway uses one link"
        yield Finding(text, (*where, "xmitHashPolicy"), "xmitHashPolicy: layer3+4")
    if mode in UNHASHED and bond.get("xmitHashPolicy"):
        yield Finding(f"`xmitHashPolicy` means nothing in mode {mode}", (*where, "xmitHashPolicy"), f"mode: {LACP}")


def _members(
    bond: dict[str, Any], where: Where, ports: tuple[Port, ...], cluster: Cluster, node: Node
) -> Iterator[Port | Finding]:
    """The ports that a bond takes, and what is wrong with how it chooses them."""
    chosen: list[Port] = [port for port in ports if port.link and port.link in (bond.get("interfaces") or ())]
    for index, selector in enumerate(bond.get("deviceSelectors") or ()):
        place: Where = (*where, "deviceSelectors", index)
        matched = [port for port in ports if _matches(selector, port)]
        yield from _selector(selector, place, matched, cluster, node)
        for port in matched:
            if port in chosen:
                yield Finding(f"the port {port} is chosen by another selector already", place)
            else:
                chosen.append(port)
    if chosen and (left := [port for port in ports if port not in chosen]):
        text = f"the bond takes {len(chosen)} of {len(ports)} ports of {node.name}; left out: {_listed(left)}"
        yield Finding(text, (*where, "deviceSelectors"))
    yield from chosen


def _selector(
    selector: dict[str, Any], where: Where, matched: list[Port], cluster: Cluster, node: Node
) -> Iterator[Finding]:
    shown = ", ".join(f"{name}: {value}" for name, value in selector.items())
    if "hardwareAddr" in selector:
        text = (
            "`hardwareAddr` of a member becomes the bond's as soon as it is one; the selector then matches both or none"
        )
        yield Finding(text, (*where, "hardwareAddr"), f"permanentAddr: {selector['hardwareAddr']}")
    elif "permanentAddr" not in selector and not cluster.virtual:
        # A virtual machine has the ports of the inventory and no others.
        text = f"`{shown}` matches too much: every such port of the machine, also those that the inventory lacks"
        yield Finding(text, where, "a selector with permanentAddr for each port")
    # A rehearsal adds selectors for virtual machines beside the cluster's own.
    if not matched and not cluster.rehearsal:
        yield Finding(f"`{shown}` matches no port of {node.name}; it has {_ports(node)}", where)


def _matches(selector: dict[str, Any], port: Port) -> bool:
    """Whether a port is chosen, as far as the inventory can say; Talos' patterns know `*` alone."""
    facts = {"hardwareAddr": port.address, "permanentAddr": port.address, "driver": port.driver}
    return all(_like(str(selector[name]), fact) for name, fact in facts.items() if name in selector)


def _like(pattern: str, value: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), value) is not None


def _vlans(interface: dict[str, Any], where: Where) -> Iterator[Finding]:
    parent_mtu = interface.get("mtu") or ETHERNET_MTU
    seen: set[int] = set()
    for index, vlan in enumerate(interface.get("vlans") or ()):
        place: Where = (*where, "vlans", index)
        number = vlan.get("vlanId")
        if number in seen:
            yield Finding(f"VLAN {number} stands twice on {interface.get('interface')}", (*place, "vlanId"))
        seen.add(number)
        if (vlan.get("mtu") or 0) > parent_mtu:
            text = f"VLAN {number} has MTU {vlan['mtu']}, more than the {parent_mtu} of what carries it"
            yield Finding(text, (*place, "mtu"), f"mtu: {parent_mtu} or less")


def _virtual_ips(interface: dict[str, Any], where: Where, cluster: Cluster) -> Iterator[Finding]:
    vlans = enumerate(interface.get("vlans") or ())
    for place, at in ((interface, where), *((vlan, (*where, "vlans", index)) for index, vlan in vlans)):
        found = (place.get("vip") or {}).get("ip")
        if found and not any(_is_in(found, network) for network in place.get("addresses") or ()):
            text = f"the virtual IP {found} is in no network of its interface; nobody there asks for it"
            yield Finding(text, (*at, "vip", "ip"), f"an address of {cluster.networks.nodes}")


def _is_in(address: str, network: str) -> bool:
    from ipaddress import ip_address, ip_interface

    return ip_address(address) in ip_interface(network).network


def _links(config: Configuration, ports: tuple[Port, ...], members: dict[Port, str]) -> Iterator[Finding]:
    """Names that are no link of the node, and members that are configured as if they were none."""
    known = {port.link for port in ports if port.link}
    bonds = {member.link: bond for member, bond in members.items() if member.link}
    for index, interface in enumerate(config.interfaces):
        where: Where = (*INTERFACES, index)
        for at, name in enumerate((interface.get("bond") or {}).get("interfaces") or ()):
            if known and name not in known:
                place: Where = (*where, "bond", "interfaces", at)
                yield Finding(f"`{name}` is no link of the node; it has {', '.join(sorted(known))}", place)
        name = interface.get("interface")
        if name in bonds and any(interface.get(key) for key in CARRIED):
            text = f"`{name}` is a member of {bonds[name]}: what it carries itself is lost, its VLANs have no parent"
            yield Finding(text, where, f"move it to {bonds[name]}")
        elif (
            known and name and name not in known and not any(interface.get(key) for key in ("bond", "bridge", "dummy"))
        ):
            text = f"`{name}` is no link of the node and nothing makes it; it has {', '.join(sorted(known))}"
            yield Finding(text, (*where, "interface"))


def _ethernet(config: Configuration, node: Node) -> Iterator[Finding]:
    known = set(node.links)
    ringed = {each["name"]: each["rings"] for each in config.kind("EthernetConfig") if each.get("rings")}
    for document in config.kind("EthernetConfig"):
        name = document["name"]
        key = f"EthernetConfig/{name}"
        if known and name not in known:
            text = f"EthernetConfig names `{name}`, which is no link of {node.name}; it has {', '.join(node.links)}"
            yield Finding(text, ("name",), document=key)
        most = MOST_ENTRIES.get(node.driver)
        for ring, entries in (document.get("rings") or {}).items():
            if most and entries > most:
                text = f"`rings.{ring}` of {name} is {entries}; {node.driver} has {most} at the most"
                yield Finding(text, ("rings", ring), f"{ring}: {most}", document=key)
    for link in sorted(known - set(ringed)):
        if ringed:
            other = next(iter(ringed))
            yield Finding(f"no EthernetConfig sets the rings of {link}, as {other} has them", (), document="")


def _ports(node: Node) -> str:
    return f"{', '.join(node.macs)} with driver {node.driver}"


def _listed(ports: list[Port]) -> str:
    return ", ".join(str(port) for port in ports)
