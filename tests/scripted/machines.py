"""Machines with Talos: maintenance mode, install, reboots, the API server of each control plane, its nodes."""

from __future__ import annotations

import base64
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bootstrap.host.objects import text
from inventory.model import Role
from kube.cluster import NAMESPACE, NODE
from talos.probe import Observation, State
from tests.scripted import hardware
from tests.scripted.accidents import NO_ANSWER, Accidents, Moment
from tests.scripted.members import Etcd
from tests.scripted.ports import documents
from tests.scripted.requests import serving_request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inventory.model import Cluster
    from tests.scripted.model import Model
    from tests.scripted.ports import Machine

BOOTSTRAP_LINE = "user: warning: [talos] service[etcd](Finished): Bootstrap requested"
_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
# Where `uuid5` makes the kernel's ids of boots from names and counts.
_BOOTS = uuid.UUID("5a1e0000-0000-4000-8000-000000000001")
# What a port says that is not as it should be, at which stage a machine says the same by itself.
_MUTE = {
    "silent": Observation(State.SILENT, "no answer within 5 s"),
    "closed": Observation(State.CLOSED, "the port is closed"),
    "half-open": Observation(State.HALF_OPEN, "it took the connection and did not finish the handshake in time"),
}


_ROTATES = ("machine", "kubelet", "extraArgs", "rotate-server-certificates")


@dataclass(frozen=True)
class Delays:
    """How long things take, in seconds; the defaults are short, so that few looks are taken while they last.

    Attributes:
        install: from the configuration to the reboot.
        boot: from a reboot to the secured API.
        etcd: from the bootstrap to a healthy etcd.
        join: from a member that is ready for another to a learner, and from that to a voting member.
        api: from etcd to a ready API server.
        register: from the API server to a registered node.
        restart: from a kubelet's restart to the same.
        crd: from a definition to an established one.
        rollout: from a workload to its pods running; a node is Ready once Cilium is.
        flux: from a FluxInstance to Flux' controllers, and from source to each Kustomization.
    """

    install: float = 3.0
    boot: float = 2.0
    etcd: float = 3.0
    join: float = 3.0
    api: float = 3.0
    register: float = 2.0
    restart: float = 1.0
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
        self._accidents = Accidents(model)
        self.etcd = Etcd(model, lambda: self.delays, self._started)
        model.hears({
            "installed": self._installed, "booted": self._booted, "api": self._api, "registered": self._registered,
            "reboot": self._reboot, "flap": self._flap, "set": self._set, "found": self._found,
        })  # fmt: skip

    @property
    def delays(self) -> Delays:
        """How long things take here."""
        return Delays(**self._model.get("delays", {}))

    def rack(self, cluster: Cluster, delays: Delays) -> None:
        """Put the machines of a cluster there, in maintenance mode."""
        with self._model.look():
            self._model.put("delays", asdict(delays))
            for node in cluster.nodes:
                self._model.put_machine({
                    "name": node.name, "address": str(node.address), "maintenance": str(node.maintenance_address),
                    "role": node.role.value, "version": cluster.talos_version, "stage": "maintenance", "boot": 1,
                    "authority": "", "kubernetes": "", "cluster": "", "config": "", "etcd": "", "data": "",
                    "api": False, "off": False, "port": "", "clock": 0.0, "synced": True, "slow": 0.0,
                    "console": [],
                    **hardware.of(node),
                })  # fmt: skip

    def at(self, address: str) -> Machine | None:
        """The machine that has an address now: the maintenance address goes when it is installed."""
        for machine in self._model.machines():
            mine = machine["maintenance"] if machine["stage"] in {"maintenance", "installing"} else machine["address"]
            if address == mine and not machine["off"]:
                return machine
        return None

    def observe(self, address: str, authority: bytes) -> Observation:
        """What the TLS handshake shows; see `talos.probe.observe`."""
        with self._model.look():
            machine = self.at(address)
            if machine is None:
                return _MUTE["silent"]
            self._model.ask(f"{machine['name']} handshake")
            accident = self._accidents.at("handshake", machine["name"], Moment.BEFORE)
        if accident:
            return _MUTE["half-open" if accident.says == NO_ANSWER else accident.says]
        return _MUTE.get(mute(machine)) or _told(machine, authority)

    def configure(self, machine: Machine, config: bytes) -> None:
        """Take a configuration in maintenance mode: install and reboot."""
        self._take(machine, config.decode())
        machine["stage"] = "installing"
        self._model.put_machine(machine)
        self._model.after(self.delays.install + machine["slow"], "installed", machine["name"])

    def settle(self, machine: Machine, config: str, *, etcd: Iterable[str] = ()) -> None:
        """Make a machine one that was configured before; `etcd` names the members of a cluster that it begins."""
        with self._model.look():
            self._take(machine, config)
            machine.update(stage="running", boot=2, volumes=hardware.partitions(machine["disks"][0]["path"]))
            self._model.put_machine(machine)
            if machine["name"] in etcd:
                self.etcd.create(machine)

    def begin(self) -> None:
        """Let those that wait to join an etcd do so."""
        with self._model.look():
            self.etcd.wake()

    def bootstrap(self, machine: Machine) -> None:
        """Take the bootstrap; a second one before etcd has data is taken as well (facts/real-talos, 06)."""
        unsafe = [
            other["name"] for other in self._model.machines() if other["name"] != machine["name"] and _blocks(other)
        ]
        if unsafe:
            self._model.put("unsafe bootstrap", unsafe)
        machine["console"] = [*machine["console"], BOOTSTRAP_LINE]
        self.etcd.bootstrap(machine)

    def register(self, machine: Machine) -> None:
        """Have a fresh kubelet ask for its certificate, where there is somebody to ask."""
        if self._model.get("api"):
            self._model.after(self.delays.restart, "registered", machine["name"])

    def boot_id(self, machine: Machine) -> str:
        """The kernel's id of the boot."""
        return str(uuid.uuid5(_BOOTS, f"{machine['name']} {machine['boot']}"))

    def _take(self, machine: Machine, config: str) -> None:
        document = documents(config)[0]
        machine.update(
            config=config,
            authority=text(document, "machine", "ca", "crt"),
            kubernetes=text(document, "cluster", "ca", "crt"),
            cluster=text(document, "cluster", "id"),
        )

    def _installed(self, name: str) -> None:
        machine = self._model.machine(name)
        if machine["stage"] != "installing":
            # Its power went while it installed.
            return
        wanted = text(documents(machine["config"])[0], "machine", "install", "disk") or machine["disks"][0]["path"]
        if wanted in [disk["path"] for disk in machine["disks"]]:
            machine["volumes"] = hardware.partitions(wanted)
        self._model.put_machine(machine)
        self._reboot(name)

    def _reboot(self, what: str) -> None:
        """`NAME [TIMES [SECONDS]]`: go down and come back, so many times, so many seconds after it was up."""
        name, *rest = what.split()
        times, seconds = int(rest[0]) if rest else 1, float(rest[1]) if rest[1:] else 1.0
        machine = self._model.machine(name)
        machine.update(stage="rebooting", etcd="", api=False, console=[])
        self._model.put_machine(machine)
        self._model.after(self.delays.boot, "booted", name)
        if times > 1:
            self._model.after(self.delays.boot + seconds, "reboot", f"{name} {times - 1} {seconds}")

    def _booted(self, name: str) -> None:
        machine = self._model.machine(name)
        is_installed = any(one["label"] == "STATE" for one in machine["volumes"]) and machine["config"]
        machine.update(stage="running" if is_installed else "maintenance", boot=machine["boot"] + 1)
        if not is_installed:
            machine.update(config="", authority="", kubernetes="", cluster="")
        self._model.put_machine(machine)
        if is_installed:
            self.etcd.boot(machine)
            if self._model.get("api"):
                self._model.after(self.delays.register, "registered", name)

    def _started(self, machine: Machine) -> None:
        self._model.after(self.delays.api, "api", machine["name"])

    def _api(self, name: str) -> None:
        machine = self._model.machine(name)
        if machine["etcd"] != "running":
            return
        machine["api"] = True
        self._model.put_machine(machine)
        if self._model.get("api"):
            return
        self._model.put("api", {"kubernetes": machine["kubernetes"], "cluster": machine["cluster"]})
        for namespace in _NAMESPACES:
            self._model.store({"apiVersion": NAMESPACE[0], "kind": NAMESPACE[1], "metadata": {"name": namespace}})
        for other in self._model.machines():
            if other["stage"] == "running" and other["cluster"] == machine["cluster"]:
                self._model.after(self.delays.register, "registered", other["name"])

    def _registered(self, name: str) -> None:
        machine = self._model.machine(name)
        if machine["off"] or self._model.find(NODE, name):
            return
        self._model.store(node(name, ready=bool(self._model.get("network"))))
        if text(documents(machine["config"])[0], *_ROTATES) == "true":
            self._model.store(serving_request(name, machine["address"], self._model.get("asks as", name)))

    def _flap(self, what: str) -> None:
        """`NAME SECONDS TIMES`: the API server is gone, is back, is gone ..., and in the end is back."""
        name, seconds, left = what.split()
        machine = self._model.machine(name)
        machine["api"] = int(left) % 2 == 0
        self._model.put_machine(machine)
        if int(left):
            self._model.after(float(seconds), "flap", f"{name} {seconds} {int(left) - 1}")

    def _found(self, what: str) -> None:
        """`NAME [MEMBER]`: somebody bootstrapped it, with a member of another name than its own."""
        name, *member = what.split()
        machine = self._model.machine(name)
        self.etcd.create(machine, *member)
        self._model.effect("bootstrap", f"{name} of {machine['cluster']}")
        self.etcd.wake()

    def _set(self, what: str) -> None:
        """`NAME to KEY VALUE`: a property of the machine changes."""
        name, _, key, value = what.split()
        machine = self._model.machine(name)
        machine[key] = {"true": True, "false": False, "none": ""}.get(value, value)
        self._model.put_machine(machine)


def mute(machine: Machine) -> str:
    """What keeps a machine's port from saying anything; empty when nothing does."""
    stages = {"installing": "closed", "rebooting": "silent"}
    return str(machine["port"]) or stages.get(machine["stage"], "")


def _blocks(machine: Machine) -> bool:
    """Whether a bootstrap elsewhere could make a second etcd: it has data, or it is there and cannot be asked."""
    is_mute = bool(mute(machine)) and not machine["off"]
    return machine["role"] == Role.CONTROL_PLANE.value and (bool(machine["data"]) or is_mute)


def _told(machine: Machine, authority: bytes) -> Observation:
    if machine["stage"] == "maintenance":
        return Observation(State.MAINTENANCE, "it has a CA of its own and wants no client certificate")
    if machine["authority"] == base64.b64encode(authority).decode():
        return Observation(State.OURS, "its certificate comes from our CA")
    return Observation(State.FOREIGN, "its certificate comes from another CA and it wants a client certificate")


def node(name: str, *, ready: bool) -> Any:
    """A node as the kubelet writes it."""
    message = "" if ready else "container runtime network not ready: cni plugin not initialized"
    condition = {"type": "Ready", "status": str(ready), "message": message}
    item = {"apiVersion": NODE[0], "kind": NODE[1], "metadata": {"name": name}, "spec": {}}
    return {**item, "status": {"conditions": [condition]}}
