"""Whether a cluster's `cluster-settings` of the Git tree say what its inventory says.

Talos makes the cluster by the inventory, Flux fills charts in by these settings (document 002, "Cluster settings").
Names that the file does not have are not compared.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from inventory.findings import Finding, Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inventory.view import View

# Of KubePrism, the API server on every node's localhost, which Cilium may use in place of the endpoint.
KUBEPRISM: Final = ("localhost", "7445")
# Ends the name of the setting that takes a cluster's pool out of service (document 002, "LoadBalancer IP Allocation").
_POOL_SWITCH: Final = "_POOL_DISABLED"


def path(cluster: str) -> str:
    """The settings file of a cluster, relative to the repository."""
    return f"kubernetes/clusters/{cluster}/cluster-settings.yaml"


def check(view: View, settings: View) -> tuple[Finding, ...]:
    """Every contradiction, by its place in the settings.

    Args:
        view: the inventory.
        settings: the ConfigMap `cluster-settings`.
    """
    same = (finding for name, wanted in _SAME.items() for finding in _differs(settings, name, wanted(view)))
    return (*same, *(finding for rule in RULES for finding in rule(view, settings)))


def _listed(view: View, key: str) -> str | None:
    value = view.text("networks", key)
    return None if value is None else json.dumps([value])


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


# What the setting of that name must be, from the inventory.
_SAME: Final[dict[str, Callable[[View], str | None]]] = {
    "CLUSTER": lambda view: view.text("name"),
    "CLUSTER_ID": lambda view: _number(view.number("id")),
    "POD_CIDR": lambda view: _listed(view, "pods"),
    "POD_CIDR_STRING": lambda view: view.text("networks", "pods"),
    "SERVICE_CIDR": lambda view: _listed(view, "services"),
    "COREDNS_CLUSTER_IP": lambda view: view.text("networks", "coredns"),
    "ONEPASSWORD_CONNECT_HOST": lambda view: view.text("secrets", "connectHost"),
    "FLUX_GIT_URL": lambda view: view.text("git", "url"),
    "FLUX_GIT_REF": lambda view: view.text("git", "ref"),
}


def _endpoint(view: View, settings: View) -> Iterator[Finding]:
    endpoint = view.endpoint()
    host, port = settings.text(*_place("K8S_SERVICE_HOST")), settings.text(*_place("K8S_SERVICE_PORT"))
    if endpoint is not None and (host, port) != KUBEPRISM:
        yield from _differs(settings, "K8S_SERVICE_HOST", endpoint[0])
        yield from _differs(settings, "K8S_SERVICE_PORT", str(endpoint[1]))


def _native_routing(view: View, settings: View) -> Iterator[Finding]:
    place = _place("CILIUM_NATIVE_ROUTING_CIDR")
    routed, pods = settings.network(*place), view.network("networks", "pods")
    if routed and pods and not pods.subnet_of(routed):
        yield Finding(place, f"`CILIUM_NATIVE_ROUTING_CIDR`: {routed} does not hold the pod network {pods}")


def _pool(view: View, settings: View) -> Iterator[Finding]:
    pools = list(view.pools())
    # With several pools these two names cannot say all of them.
    if len(pools) == 1:
        yield from _differs(settings, "CILIUM_LB_POOL_START", str(pools[0].start))
        yield from _differs(settings, "CILIUM_LB_POOL_END", str(pools[0].stop))


def _pools_switched(view: View, settings: View) -> Iterator[Finding]:
    own = f"{(view.text('name') or '').upper().replace('-', '_')}{_POOL_SWITCH}"
    data = settings.value("data")
    for name in data if isinstance(data, dict) else ():
        # Every cluster knows the pools of all; two that hand out the same one give an address twice.
        if str(name).endswith(_POOL_SWITCH):
            yield from _differs(settings, name, "false" if name == own else "true")


def _addresses_in_pools(view: View, settings: View) -> Iterator[Finding]:
    pools = list(view.pools())
    for name in ("CILIUM_CLUSTERMESH_LB_IP", "CILIUM_GATEWAY_LB_IP"):
        address = settings.address(*_place(name))
        if pools and address is not None and not any(pool.holds(address) for pool in pools):
            yield Finding(_place(name), f"`{name}`: {address} is in no pool of the inventory")


def _operator_replicas(view: View, settings: View) -> Iterator[Finding]:
    place = _place("CILIUM_OPERATOR_REPLICAS")
    wanted, nodes = settings.text(*place), len(list(view.items("nodes")))
    # Its pods have host ports: two never fit on one node, and whoever waits for them waits for ever.
    if wanted is not None and wanted.isdecimal() and nodes and int(wanted) > nodes:
        yield Finding(place, f"`CILIUM_OPERATOR_REPLICAS`: {wanted} replicas, each on a node of its own, on {nodes}")


def _place(name: str) -> Location:
    return ("data", name)


def _differs(settings: View, name: str, wanted: str | None) -> Iterator[Finding]:
    found = settings.text(*_place(name))
    if found is not None and wanted is not None and found != wanted:
        # A URL may hold a password.
        is_, wants = ("another URL" if "@" in value else value for value in (found, wanted))
        yield Finding(_place(name), f"`{name}` is {is_}, the inventory wants {wants}")


RULES: Final[tuple[Callable[[View, View], Iterator[Finding]], ...]] = (
    _endpoint,
    _native_routing,
    _pool,
    _pools_switched,
    _addresses_in_pools,
    _operator_replicas,
)
