"""Rules over networks and addresses: what lies in what, what must not meet, and how the API is reached."""

from __future__ import annotations

from ipaddress import IPv4Address
from itertools import combinations
from typing import TYPE_CHECKING, Final

from inventory.findings import Finding, Location, dotted
from inventory.machines import duplicates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inventory.view import View

# What kube-controller-manager gives each node of the pod network (--node-cidr-mask-size-ipv4).
NODE_PREFIX: Final = 24
# Where Talos' API servers listen; a virtual IP leads there and changes no port.
API_PORT: Final = 6443


def _addresses_in_node_network(view: View) -> Iterator[Finding]:
    network = view.network("networks", "nodes")
    places: list[Location] = [("networks", "gateway"), ("virtualIP",)]
    places += [(*node, key) for node in view.items("nodes") for key in ("address", "maintenanceAddress")]
    for place in places:
        address = view.address(*place)
        if network is None or address is None:
            continue
        if address not in network:
            yield Finding(place, f"`{dotted(place)}`: {address} is outside the node network {network}")
        elif address in {network.network_address, network.broadcast_address}:
            yield Finding(place, f"`{dotted(place)}`: {address} is not a host address of {network}")


def _networks_of_hosts(view: View) -> Iterator[Finding]:
    for key in ("nodes", "pods", "services"):
        network = view.network("networks", key)
        if network and (network.is_loopback or network.is_link_local or network.is_multicast or network.is_reserved):
            yield Finding(("networks", key), f"`networks.{key}`: {network} is reserved for other uses")


def _disjoint_networks(view: View) -> Iterator[Finding]:
    for one, other in combinations(("nodes", "pods", "services"), 2):
        first, second = view.network("networks", one), view.network("networks", other)
        if first and second and first.overlaps(second):
            yield Finding(("networks", other), f"`networks.{other}`: {second} overlaps `networks.{one}` {first}")


def _pods_for_every_node(view: View) -> Iterator[Finding]:
    pods, count = view.network("networks", "pods"), len(list(view.items("nodes")))
    if pods is None:
        return
    room = 1 << (NODE_PREFIX - pods.prefixlen) if pods.prefixlen <= NODE_PREFIX else 0
    if room < count:
        text = f"{pods} has a /{NODE_PREFIX} for {room} of {count} nodes"
        yield Finding(("networks", "pods"), f"`networks.pods`: {text}")


def _coredns_in_services(view: View) -> Iterator[Finding]:
    services, address = view.network("networks", "services"), view.address("networks", "coredns")
    if services is None or address is None:
        return
    place = ("networks", "coredns")
    if address not in services:
        yield Finding(place, f"`networks.coredns`: {address} is outside the service network {services}")
    elif address in {services.network_address, services.broadcast_address}:
        yield Finding(place, f"`networks.coredns`: {address} is not a host address of {services}")
    elif address == services.network_address + 1:
        # Kubernetes gives the first address to the Service `kubernetes`.
        yield Finding(place, f"`networks.coredns`: {address} belongs to the API server's own Service")


def _servers_of_the_nodes(view: View) -> Iterator[Finding]:
    nodes = view.network("networks", "nodes")
    for key in ("nameservers", "timeServers"):
        yield from duplicates(view.texts("networks", key))
        for place in view.items("networks", key):
            address = view.address(*place)
            for name in ("pods", "services"):
                network = view.network("networks", name)
                if address and network and address in network and not (nodes and address in nodes):
                    text = f"{address} is in `networks.{name}`; a node must reach it before there are any"
                    yield Finding(place, f"`{dotted(place)}`: {text}")


def _pools_in_order(view: View) -> Iterator[Finding]:
    for place in view.items("pools"):
        start, stop = view.address(*place, "start"), view.address(*place, "stop")
        if start and stop and start > stop:
            yield Finding(place, f"`{dotted(place)}`: {start} comes after {stop}")


def _pools_apart(view: View) -> Iterator[Finding]:
    for one, other in combinations(view.pools(), 2):
        if one.overlaps(other.start, other.stop):
            yield Finding(other.place, f"`{dotted(other.place)}`: {other} overlaps `{dotted(one.place)}` {one}")


def _pools_beside_the_networks(view: View) -> Iterator[Finding]:
    nodes = view.network("networks", "nodes")
    for pool in view.pools():
        for key in ("pods", "services"):
            network = view.network("networks", key)
            if network and pool.overlaps(network.network_address, network.broadcast_address):
                yield Finding(pool.place, f"`{dotted(pool.place)}`: {pool} overlaps `networks.{key}` {network}")
        if nodes and pool.start != pool.stop and (pool.start in nodes) != (pool.stop in nodes):
            yield Finding(pool.place, f"`{dotted(pool.place)}`: {pool} lies half inside the node network {nodes}")
        elif nodes and (pool.holds(nodes.network_address) or pool.holds(nodes.broadcast_address)):
            text = f"{pool} holds an address of {nodes} that no host can have"
            yield Finding(pool.place, f"`{dotted(pool.place)}`: {text}")


def _pools_without_fixed_addresses(view: View) -> Iterator[Finding]:
    servers = [(place, view.address(*place)) for place in view.items("networks", "nameservers")]
    gateway = view.address("networks", "gateway")
    taken = [*view.fixed_addresses(), *((place, address) for place, address in servers if address != gateway)]
    for pool in view.pools():
        for place, address in taken:
            if address is not None and pool.holds(address):
                text = f"{pool} holds {address}, which is `{dotted(place)}`"
                yield Finding(pool.place, f"`{dotted(pool.place)}`: {text}")


def _endpoint_at_the_virtual_ip(view: View) -> Iterator[Finding]:
    endpoint, virtual = view.endpoint(), view.address("virtualIP")
    if endpoint is None or virtual is None:
        return
    host, port = endpoint
    if port != API_PORT:
        text = f"port {port}; at the virtual IP the API servers answer on {API_PORT}"
        yield Finding(("endpoint",), f"`endpoint`: {text}")
    address = _address(host)
    if address is not None and address != virtual:
        yield Finding(("endpoint",), f"`endpoint`: {address} is not the virtual IP {virtual}")


def _endpoint_that_is_an_address(view: View) -> Iterator[Finding]:
    endpoint = view.endpoint()
    address = _address(endpoint[0]) if endpoint else None
    if address is None or view.address("virtualIP") is not None:
        return
    network, planes = view.network("networks", "nodes"), view.roles().count("controlplane")
    holders = [place[:2] for place, each in view.node_addresses() if each == address and place[2] == "address"]
    if any(pool.holds(address) for pool in view.pools()):
        # Cilium asks the API at the endpoint before it announces anything.
        yield Finding(("endpoint",), f"`endpoint`: {address} is of a pool; Cilium would have to announce it first")
    elif any(view.text(*node, "role") == "worker" for node in holders):
        yield Finding(("endpoint",), f"`endpoint`: {address} is the address of a worker")
    elif holders and planes > 1:
        text = f"{address} is one node; {planes} control planes want a name or a virtual IP"
        yield Finding(("endpoint",), f"`endpoint`: {text}")
    elif not holders and network and address in network:
        yield Finding(("endpoint",), f"`endpoint`: {address} is in the node network, but of no node")


def _address(host: str) -> IPv4Address | None:
    try:
        return IPv4Address(host)
    except ValueError:
        return None


RULES: Final[tuple[Callable[[View], Iterator[Finding]], ...]] = (
    _addresses_in_node_network,
    _networks_of_hosts,
    _disjoint_networks,
    _pods_for_every_node,
    _coredns_in_services,
    _servers_of_the_nodes,
    _pools_in_order,
    _pools_apart,
    _pools_beside_the_networks,
    _pools_without_fixed_addresses,
    _endpoint_at_the_virtual_ip,
    _endpoint_that_is_an_address,
)
