"""Whether a rendered machine configuration says what the inventory says.

Patches and inventory name some facts both: the patches for Talos, the inventory for everything else. Where they
differ the machine would come up at another address or network than the one that is waited for.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from inventory.model import Role
from talos.documents import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inventory.model import Cluster, Node
    from talos.documents import Configuration, Where


def differences(config: Configuration, cluster: Cluster, node: Node) -> Iterator[Finding]:
    """Every fact that a node's configuration and the inventory give differently."""
    yield from _of_the_node(config, cluster, node)
    yield from _virtual_ip(config, cluster, node)
    yield from _of_the_cluster(config, cluster)


def _of_the_node(config: Configuration, cluster: Cluster, node: Node) -> Iterator[Finding]:
    path: Where = ("machine", "network", "hostname")
    yield from _differs(path, config.at("machine", "network", "hostname"), node.name)
    wanted = f"{node.address}/{cluster.networks.nodes.prefixlen}"
    addresses = [address for interface in config.interfaces for address in interface.get("addresses") or []]
    where: Where = ("machine", "network", "interfaces", 0)
    if wanted not in addresses:
        text = f"no interface has the address {wanted}; found {', '.join(addresses) or 'none'}"
        yield Finding(text, (*where, "addresses"))
    gateways = {
        route.get("gateway")
        for interface in config.interfaces
        for route in interface.get("routes") or []
        if route.get("network") in {None, "", "0.0.0.0/0"}
    }
    if str(cluster.networks.gateway) not in gateways:
        found = ", ".join(sorted(str(gateway) for gateway in gateways)) or "none"
        yield Finding(f"no default route leads to {cluster.networks.gateway}; found {found}", (*where, "routes"))
    yield from _install_disk(config, node)


def _install_disk(config: Configuration, node: Node) -> Iterator[Finding]:
    if node.disk_selector is None:
        yield from _differs(("machine", "install", "disk"), config.at("machine", "install", "disk"), node.disk)
        return
    facts = {"type" if name == "kind" else name: value for name, value in asdict(node.disk_selector).items() if value}
    found = config.at("machine", "install", "diskSelector")
    if found != facts:
        wanted = ", ".join(f"{name}: {value}" for name, value in facts.items())
        shown = ", ".join(f"{name}: {value}" for name, value in (found or {}).items()) or "missing"
        text = f"`machine.install.diskSelector` is {shown}; the inventory says {wanted}"
        yield Finding(text, ("machine", "install", "diskSelector"))


def _virtual_ip(config: Configuration, cluster: Cluster, node: Node) -> Iterator[Finding]:
    found = {
        str(place["vip"].get("ip")): (*("machine", "network", "interfaces", index), "vip")
        for index, interface in enumerate(config.interfaces)
        for place in (interface, *(interface.get("vlans") or []))
        if place.get("vip")
    }
    wanted = str(cluster.virtual_ip) if cluster.virtual_ip and node.role is Role.CONTROL_PLANE else ""
    if wanted and wanted not in found:
        text = f"no interface holds the virtual IP {wanted} of the inventory; found {', '.join(found) or 'none'}"
        where = next(iter(found.values()), ("machine", "network", "interfaces", 0))
        yield Finding(text, where)
    for address, where in found.items():
        if not cluster.virtual_ip:
            yield Finding(f"the virtual IP {address} is not in the inventory", where, f"virtualIP: {address} there")


def _of_the_cluster(config: Configuration, cluster: Cluster) -> Iterator[Finding]:
    networks = cluster.networks
    wanted = {
        ("machine", "network", "nameservers"): [str(address) for address in networks.nameservers],
        ("machine", "time", "servers"): list(networks.time_servers),
        ("cluster", "network", "podSubnets"): [str(networks.pods)],
        ("cluster", "network", "serviceSubnets"): [str(networks.services)],
    }
    for path, value in wanted.items():
        yield from _differs(path, config.at(*path), value)
    # Talos tells the kubelet the tenth address of the service network unless a patch says otherwise.
    tenth = [str(networks.services.network_address + 10)]
    found = config.at("machine", "kubelet", "clusterDNS") or tenth
    yield from _differs(("machine", "kubelet", "clusterDNS"), found, [str(networks.coredns)])


def _differs(where: Where, found: Any, wanted: Any) -> Iterator[Finding]:
    if found != wanted:
        name = ".".join(str(part) for part in where)
        yield Finding(f"`{name}` is {_shown(found)}, the inventory says {_shown(wanted)}", where)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value) or "empty"
    return "missing" if value in {None, ""} else str(value)
