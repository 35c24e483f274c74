"""The ports of a machine, and the bonds, VLANs and routes that its configuration makes of them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from bootstrap.host import yaml_io
from bootstrap.host.objects import Object, mapping, objects, sequence, text

if TYPE_CHECKING:
    from collections.abc import Iterator

Machine: TypeAlias = "dict[str, Any]"
Spec: TypeAlias = "dict[str, Any]"

# The partner of a bond without one, as the kernel prints it.
NOBODY = "00:00:00:00:00:00"
SWITCH = "00:1c:73:aa:bb:01"


def bonding(machine: Machine, name: str) -> str | None:
    """The kernel's file about a bond (Documentation/networking/bonding.rst, v6.12); None when there is no such bond."""
    declared = next((one for one in _interfaces(machine) if text(one, "interface") == name), None)
    if declared is None:
        return None
    bond, members = mapping(declared, "bond"), _members(machine, declared)
    is_lacp = text(bond, "mode") == "802.3ad"
    up = any(link["up"] for link in members)
    mode = "IEEE 802.3ad Dynamic link aggregation" if is_lacp else "fault-tolerance (active-backup)"
    lines = ["Ethernet Channel Bonding Driver: v6.12.57-talos", "", f"Bonding Mode: {mode}"]
    if is_lacp:
        lines.append("Transmit Hash Policy: layer3+4 (1)")
    else:
        lines += ["Primary Slave: None", f"Currently Active Slave: {members[0]['name'] if members else 'None'}"]
    lines += [
        f"MII Status: {'up' if up else 'down'}", f"MII Polling Interval (ms): {bond.get('miimon', 0)}",
        "Up Delay (ms): 0", "Down Delay (ms): 0", "Peer Notification Delay (ms): 0",
    ]  # fmt: skip
    if is_lacp:
        lines += _aggregators(machine, bond, members)
    for number, link in enumerate(members, start=1):
        lines += ["", *_member(machine, link, number, is_lacp=is_lacp)]
    return "".join(f"{line}\n" for line in lines)


def _aggregators(machine: Machine, bond: Object, members: list[Spec]) -> list[str]:
    ports = 1 if machine["partner"] == NOBODY else sum(bool(link["up"]) for link in members)
    return [
        "", "802.3ad info", "LACP active: on", f"LACP rate: {text(bond, 'lacpRate') or 'slow'}", "Min links: 0",
        "Aggregator selection policy (ad_select): stable", "System priority: 65535",
        f"System MAC address: {members[0]['mac']}", "Active Aggregator Info:", "\tAggregator ID: 1",
        f"\tNumber of ports: {ports}", "\tActor Key: 21", "\tPartner Key: 33",
        f"\tPartner Mac Address: {machine['partner']}",
    ]  # fmt: skip


def _member(machine: Machine, link: Spec, number: int, *, is_lacp: bool) -> list[str]:
    lines = [
        f"Slave Interface: {link['name']}", f"MII Status: {'up' if link['up'] else 'down'}",
        f"Speed: {link['speed']} Mbps" if link["up"] else "Speed: Unknown", "Duplex: full", "Link Failure Count: 0",
        f"Permanent HW addr: {link['mac']}", "Slave queue ID: 0",
    ]  # fmt: skip
    if not is_lacp:
        return lines
    alone = machine["partner"] == NOBODY or not link["up"]
    return [
        *lines, f"Aggregator ID: {number if alone else 1}", "Actor Churn State: none",
        f"Partner Churn State: {'churned' if alone else 'none'}", "Actor Churned Count: 0",
        f"Partner Churned Count: {int(alone)}", "details actor lacp pdu:", "    system priority: 65535",
        f"    system mac address: {link['mac']}", "    port key: 21", "    port priority: 255",
        f"    port number: {number}", "    port state: 63", "details partner lacp pdu:", "    system priority: 32768",
        f"    system mac address: {machine['partner']}", "    oper key: 33", "    port priority: 32768",
        f"    port number: {number}", f"    port state: {1 if alone else 61}",
    ]  # fmt: skip


@cache
def documents(config: str) -> tuple[Object, ...]:
    """The documents of a machine configuration."""
    return tuple(mapping(one) for one in yaml_io.load_all(config.encode(), source="configuration"))


def _interfaces(machine: Machine) -> list[Object]:
    """What the configuration says about interfaces."""
    every = documents(machine["config"])
    return [one for document in every for one in objects(document, "machine", "network", "interfaces")]


def _members(machine: Machine, interface: Object) -> list[Spec]:
    """The ports that a bond of the configuration takes."""
    named = [str(name) for name in sequence(interface, "bond", "interfaces")]
    selectors = objects(interface, "bond", "deviceSelectors")
    return [
        link
        for link in machine["links"]
        if link["name"] in named or any(_selects(selector, link) for selector in selectors)
    ]


def _selects(selector: Object, link: Spec) -> bool:
    wanted = {"driver": link["driver"], "permanentAddr": link["mac"], "hardwareAddr": link["mac"]}
    return all(wanted.get(key) == value for key, value in selector.items() if key in wanted)


def links(machine: Machine) -> Iterator[tuple[str, Spec]]:
    """Ports, bonds and VLANs; a member has its bond's address."""
    bonds = {text(one, "interface"): one for one in _interfaces(machine) if "bond" in one}
    enslaved = {str(link["name"]): name for name, one in bonds.items() for link in _members(machine, one)}
    for link in machine["links"]:
        master = bonds.get(enslaved.get(str(link["name"]), ""))
        first = _members(machine, master)[0] if master else link
        mtu = (master or {}).get("mtu", 1500)
        yield (
            str(link["name"]),
            _link(link["mac"], first["mac"], link, kind="", mtu=mtu, slave="bond" if master else ""),
        )
    for name, one in bonds.items():
        members = _members(machine, one)
        address = members[0]["mac"] if members else NOBODY
        like: Spec = {"driver": "bonding", "up": any(link["up"] for link in members), "speed": 25000}
        yield name, _link("", address, like, kind="bond", mtu=one.get("mtu", 1500))
        for vlan in objects(one, "vlans"):
            tagged: Spec = {**like, "driver": "802.1Q VLAN Support"}
            mtu = vlan.get("mtu") or one.get("mtu", 1500)
            yield f"{name}.{vlan['vlanId']}", _link("", address, tagged, kind="vlan", mtu=mtu)


def _link(permanent: Any, address: Any, like: Spec, *, kind: str, mtu: Any, slave: str = "") -> Spec:
    state = "up" if like["up"] else "down"
    return {
        "driver": like["driver"], "duplex": "Full", "flags": "UP,BROADCAST,RUNNING,MULTICAST,LOWER_UP",
        "hardwareAddr": address, "permanentAddr": permanent, "kind": kind, "slaveKind": slave, "linkIndex": 0,
        "linkState": like["up"], "operationalState": state, "mtu": mtu, "port": "Fibre", "queueDisc": "mq",
        "speedMbit": like["speed"], "type": "ether",
    }  # fmt: skip


def routes(machine: Machine) -> Iterator[tuple[str, Spec]]:
    """The default routes that the configuration asks for."""
    for one in _interfaces(machine):
        for route in objects(one, "routes"):
            gateway = text(route, "gateway")
            yield f"inet4/{gateway}//1024", {
                "family": "inet4", "dst": "", "src": "", "gateway": gateway, "outLinkName": text(one, "interface"),
                "table": "main", "priority": 1024, "scope": "global", "type": "unicast", "flags": "",
                "protocol": "static",
            }  # fmt: skip


def ethernet(machine: Machine) -> Iterator[tuple[str, Spec]]:
    """What the driver says about each port; rings are as configured."""
    declared = {text(one, "name"): one for one in documents(machine["config"]) if one.get("kind") == "EthernetConfig"}
    for link in machine["links"]:
        rings = mapping(declared.get(str(link["name"]), {}), "rings")
        yield str(link["name"]), {
            "linkState": link["up"], "speedMbit": link["speed"], "port": "Fibre", "duplex": "Full",
            "rings": {
                "rx-max": 8160, "tx-max": 8160, "rx": rings.get("rx", link["rx"]), "tx": rings.get("tx", link["tx"]),
            },
        }  # fmt: skip
