"""Machines with Talos: maintenance mode, install, etcd, the API server of each control plane."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bootstrap.host import yaml_io
from bootstrap.host.objects import text
from inventory.model import Role
from kube.cluster import NAMESPACE, NODE
from talos.probe import Observation, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inventory.model import Node
    from tests.scripted.model import Model


@dataclass(frozen=True)
class Delays:
    """How long things take, in seconds; the defaults are short, so that few looks are taken while they last.

    Attributes:
        install: from the configuration to the secured API: install, reboot, boot.
        etcd: from the bootstrap to a healthy etcd.
        api: from etcd to a ready API server.
        register: from the API server to a registered node.
        crd: from a definition to an established one.
        rollout: from a workload to its pods running; a node is Ready once Cilium is.
        flux: from a FluxInstance to Flux' controllers, and from source to each Kustomization.
    """

    install: float = 5.0
    etcd: float = 3.0
    api: float = 3.0
    register: float = 2.0
    crd: float = 0.5
    rollout: float = 2.0
    flux: float = 2.0


class Machines:
    """The machines of a world.

    Args:
        model: the world.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        model.hears(
            {"installed": self._installed, "etcd": self._etcd, "api": self._api, "registered": self._registered}
        )

    @property
    def delays(self) -> Delays:
        """How long things take here."""
        return Delays(**self._model.get("delays", {}))

    def rack(self, nodes: Sequence[Node], delays: Delays) -> None:
        """Put the machines of a cluster there, in maintenance mode."""
        with self._model.look():
            self._model.put("delays", asdict(delays))
            for node in nodes:
                self._model.put_machine({
                    "name": node.name, "address": str(node.address), "maintenance": str(node.maintenance_address),
                    "role": node.role.value, "stage": "maintenance", "boot": 1, "authority": "", "kubernetes": "",
                    "etcd": "", "api": False,
                })  # fmt: skip

    def at(self, address: str) -> dict[str, Any] | None:
        """The machine that has an address now: the maintenance address goes when it is installed."""
        for machine in self._model.machines():
            mine = machine["maintenance"] if machine["stage"] in {"maintenance", "installing"} else machine["address"]
            if address == mine and machine["name"] != self._model.get("away"):
                return machine
        return None

    def observe(self, address: str, authority: bytes) -> Observation:
        """What the TLS handshake shows; see `talos.probe.observe`."""
        with self._model.look():
            machine = self.at(address)
        if machine is None:
            return Observation(State.SILENT, "no answer within 5 s")
        if machine["stage"] == "maintenance":
            return Observation(State.MAINTENANCE, "it has a CA of its own and wants no client certificate")
        if machine["stage"] == "installing":
            return Observation(State.CLOSED, "the port is closed")
        if machine["authority"] == base64.b64encode(authority).decode():
            return Observation(State.OURS, "its certificate comes from our CA")
        return Observation(State.FOREIGN, "its certificate comes from another CA and it wants a client certificate")

    def configure(self, machine: dict[str, Any], config: bytes) -> None:
        """Take a configuration in maintenance mode: install and reboot."""
        documents = yaml_io.load_all(config, source="configuration")
        machine["authority"] = text(documents[0], "machine", "ca", "crt")
        machine["kubernetes"] = text(documents[0], "cluster", "ca", "crt")
        machine["cluster"] = text(documents[0], "cluster", "id")
        machine["stage"] = "installing"
        self._model.put_machine(machine)
        self._model.after(self.delays.install, "installed", machine["name"])

    def bootstrap(self, machine: dict[str, Any]) -> None:
        """Take the bootstrap; a second one before etcd has data is taken as well (facts/real-talos, 06)."""
        machine["etcd"] = "bootstrapping"
        machine["console"] = ["user: warning: [talos] service[etcd](Finished): Bootstrap requested"]
        self._model.put_machine(machine)
        self._model.after(self.delays.etcd, "etcd", machine["name"])

    def _named(self, name: str) -> dict[str, Any]:
        return next(machine for machine in self._model.machines() if machine["name"] == name)

    def _installed(self, name: str) -> None:
        machine = self._named(name)
        machine.update(stage="running", boot=machine["boot"] + 1, console=[])
        self._model.put_machine(machine)
        if self._model.get("api"):
            self._join(machine)

    def _join(self, machine: dict[str, Any]) -> None:
        if machine["role"] == Role.CONTROL_PLANE.value and not machine["etcd"]:
            self._model.after(self.delays.etcd, "etcd", machine["name"])
        self._model.after(self.delays.register, "registered", machine["name"])

    def _etcd(self, name: str) -> None:
        machine = self._named(name)
        if machine["etcd"] != "healthy":
            machine["etcd"] = "healthy"
            self._model.put_machine(machine)
            self._model.after(self.delays.api, "api", name)

    def _api(self, name: str) -> None:
        machine = self._named(name)
        machine["api"] = True
        self._model.put_machine(machine)
        if self._model.get("api"):
            return
        self._model.put("api", {"kubernetes": machine["kubernetes"], "cluster": machine["cluster"]})
        for namespace in ("default", "kube-node-lease", "kube-public", "kube-system"):
            self._model.store({"apiVersion": NAMESPACE[0], "kind": NAMESPACE[1], "metadata": {"name": namespace}})
        for other in self._model.machines():
            if other["stage"] == "running" and other["cluster"] == machine["cluster"]:
                self._join(other)

    def _registered(self, name: str) -> None:
        ready = bool(self._model.get("network"))
        self._model.store(node(name, ready=ready))


def node(name: str, *, ready: bool) -> Any:
    """A node as the kubelet writes it."""
    message = "" if ready else "container runtime network not ready: cni plugin not initialized"
    condition = {"type": "Ready", "status": str(ready), "message": message}
    item = {"apiVersion": NODE[0], "kind": NODE[1], "metadata": {"name": name}, "spec": {}}
    return {**item, "status": {"conditions": [condition]}}
