"""Whether a rendered machine configuration says what the inventory says.

Patches and inventory name some facts both: the patches for Talos, the inventory for everything else. Where they
differ the machine would come up at another address or network than the one that is waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.host.secret import Secret
    from inventory.model import Cluster, Node


def require(config: Secret, cluster: Cluster, node: Node, *, node_patch: str, cluster_patch: str) -> None:
    """Hold a configuration against the inventory.

    Args:
        config: the rendered configuration.
        cluster: of the inventory.
        node: the node that it is for.
        node_patch: file to name where the node's own facts differ.
        cluster_patch: file to name where the cluster's facts differ.

    Raises:
        InputError: they differ; names every difference.
    """
    documents = yaml_io.load_all(config.reveal(), source=config.reference)
    main = next((each for each in documents if isinstance(each, dict) and "machine" in each), {})
    problems = (
        *(Problem(text, node_patch) for text in _node_differences(main, cluster, node)),
        *(Problem(text, cluster_patch) for text in _cluster_differences(main, cluster)),
    )
    if problems:
        raise InputError(f"{config.reference} contradicts {cluster.source}", problems)


def _node_differences(config: Any, cluster: Cluster, node: Node) -> Iterator[str]:
    network = _at(config, "machine", "network") or {}
    interfaces = network.get("interfaces") or []
    yield from _differs("machine.network.hostname", network.get("hostname"), node.name)
    wanted = f"{node.address}/{cluster.networks.nodes.prefixlen}"
    addresses = [address for interface in interfaces for address in interface.get("addresses") or []]
    if wanted not in addresses:
        yield f"no interface has the address {wanted}; found {', '.join(addresses) or 'none'}"
    gateways = {
        route.get("gateway")
        for interface in interfaces
        for route in interface.get("routes") or []
        if route.get("network") in {None, "", "0.0.0.0/0"}
    }
    if str(cluster.networks.gateway) not in gateways:
        found = ", ".join(sorted(str(gateway) for gateway in gateways)) or "none"
        yield f"no default route leads to {cluster.networks.gateway}; found {found}"
    disk = _at(config, "machine", "install", "disk")
    if disk is not None:
        yield from _differs("machine.install.disk", disk, node.disk)


def _cluster_differences(config: Any, cluster: Cluster) -> Iterator[str]:
    networks = cluster.networks
    wanted = {
        ("machine", "network", "nameservers"): [str(address) for address in networks.nameservers],
        ("machine", "time", "servers"): list(networks.time_servers),
        ("cluster", "network", "podSubnets"): [str(networks.pods)],
        ("cluster", "network", "serviceSubnets"): [str(networks.services)],
    }
    for path, value in wanted.items():
        yield from _differs(".".join(path), _at(config, *path), value)
    # Talos tells the kubelet the tenth address of the service network unless a patch says otherwise.
    tenth = [str(networks.services.network_address + 10)]
    found = _at(config, "machine", "kubelet", "clusterDNS") or tenth
    yield from _differs("machine.kubelet.clusterDNS", found, [str(networks.coredns)])


def _differs(name: str, found: Any, wanted: Any) -> Iterator[str]:
    if found != wanted:
        yield f"`{name}` is {_shown(found)}, the inventory says {_shown(wanted)}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(each) for each in value) or "empty"
    return "missing" if value is None else str(value)


def _at(value: Any, *path: str) -> Any:
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value
