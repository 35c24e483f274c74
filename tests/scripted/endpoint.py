"""The cluster's endpoint in the model: what its name is on a node, and whose API answers where it leads."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from phases.endpoint import Answer, Api
from tests.scripted.answers import recorded

if TYPE_CHECKING:
    from inventory.model import Cluster
    from tests.scripted.answers import Answer as Printed
    from tests.scripted.ports import Machine
    from tests.scripted.ring import Ring

# What goes wrong is a value of the world's own: `address` to which the name leads, empty where it is unknown, the
# `nodes` on which it does, all where none is named, and whether a `foreign` API answers. That it did is another value.
FAULT: Final = "endpoint"
FIRED: Final = "endpoint went wrong"


class Endpoint:
    """The endpoint of a world's cluster.

    Args:
        cluster: of the inventory.
        ring: the world.
    """

    def __init__(self, cluster: Cluster, ring: Ring) -> None:
        self._cluster = cluster
        self._model = ring.model
        self._machines = ring.machines

    def way(self, machine: Machine, host: str) -> Printed:
        """What a node prints that asks for the time at a host, where no time server is."""
        address = self._address(machine["name"]) if host == self._cluster.endpoint_host else ""
        is_there = self._is_there(address)
        kind = "unknown" if not address else "refused" if is_there else "timeout"
        asked = recorded(f"made-time-check-{kind}", machine["address"])
        stderr = asked.stderr.replace("k8s.example.org", host).replace("10.5.0.1:123", f"{address}:123")
        return replace(asked, stderr=stderr)

    def answer(self, address: str, _port: int, _host: str, authority: bytes) -> Answer:
        """See `phases.endpoint.ask_api`."""
        with self._model.look():
            machine, is_there = self._machines.at(address), self._is_there(address)
            is_foreign = self._model.get(FAULT, {}).get("foreign")
        if is_foreign or (machine and machine["kubernetes"] != base64.b64encode(authority).decode()):
            return Answer(Api.FOREIGN, "self-signed certificate in certificate chain")
        if machine and machine["api"]:
            return Answer(Api.OURS)
        return Answer(Api.SILENT, "Connection refused" if is_there else "No route to host")

    def _is_there(self, address: str) -> bool:
        """Whether somebody has an address; the kernel finds nobody for TCP, and for UDP it says nothing of that."""
        is_known = address == str(self._cluster.networks.gateway) or self._machines.at(address)
        return bool(is_known or self._model.get(FAULT, {}).get("foreign"))

    def _address(self, node: str) -> str:
        """What the name is on a node."""
        right = str(self._cluster.bootstrap.address)
        fault: dict[str, Any] = self._model.get(FAULT, {})
        if not fault or node not in fault.get("nodes", [node]):
            return right
        self._model.put(FIRED, value=True)
        return str(fault.get("address", right))
