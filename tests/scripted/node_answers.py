"""talosctl in the model: what a node answers where it stands, and what is made without a node."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

from bootstrap.host import yaml_io
from bootstrap.host.commands import Command, MemoryFile
from bootstrap.host.objects import dig, mapping, text
from inventory.model import Role
from tests.scripted import hardware, ports
from tests.scripted.accidents import NO_ANSWER, Accident, Accidents, Moment
from tests.scripted.answers import Answer, clock, folder, kernel_log, members, recorded, services, unknown
from tests.scripted.canaries import new_bundle
from tests.scripted.endpoint import Endpoint
from tests.scripted.machines import mute
from tests.scripted.recordings import Recordings, machine_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.yaml_io import Yaml
    from inventory.model import Cluster, Node
    from tests.scripted.model import Effect
    from tests.scripted.ports import Machine
    from tests.scripted.ring import Ring

    _Told: TypeAlias = tuple[Answer, Effect | None]

_BOOT_ID = PurePosixPath("/proc/sys/kernel/random/boot_id")
_BONDS = PurePosixPath("/proc/net/bonding")


class NodeAnswers:
    """talosctl.

    Args:
        cluster: of the inventory.
        ring: the world.
    """

    def __init__(self, cluster: Cluster, ring: Ring) -> None:
        self._cluster = cluster
        self._model = ring.model
        self._machines = ring.machines
        self._accidents = Accidents(ring.model)
        self._endpoint = Endpoint(cluster, ring)
        self._questions: dict[str, Callable[[Command, list[str], Machine], Answer]] = {
            "dmesg": lambda _, __, machine: Answer(stdout=kernel_log(machine)),
            "etcd": self._members,
            "get": self._resources,
            "list": lambda _, __, machine: Answer(stdout=folder(machine)),
            "logs": lambda _, __, machine: Answer(stdout=f"{machine['address']}: nothing\n"),
            "read": self._read,
            "service": self._service,
            "time": self._time,
            "version": lambda _, __, machine: recorded("09-running-version-short", machine["address"]),
        }

    def answer(self, command: Command, words: list[str]) -> Answer:
        """What talosctl prints; `words` are its arguments without secrets."""
        if words[0] in {"gen", "validate"} or "--client" in words:
            return self._offline(command, words)
        address = next(word.partition("=")[2] for word in words if word.startswith("--nodes="))
        call = " ".join(word for word in words if not word.startswith("-"))
        with self._model.look():
            answer, effect = self._called(command, words, call, address)
        if effect:
            self._model.done(effect)
        return answer

    def _called(self, command: Command, words: list[str], call: str, address: str) -> _Told:
        """What a node answers, and what was done to it; an accident may come before or after that."""
        machine = self._machines.at(address)
        if machine is None:
            return recorded("unreachable--03-apply-wrong-address", address), None
        self._model.ask(f"{machine['name']} {call}")
        before = self._accidents.at(call, machine["name"], Moment.BEFORE)
        if before and before.says:
            return _said(before, machine), None
        answer, effect = self._asked(command, words, self._machines.at(address) or machine)
        after = self._accidents.at(call, machine["name"], Moment.AFTER) if effect else None
        return (_said(after, machine) if after and after.says else answer), effect

    def _asked(self, command: Command, words: list[str], machine: Machine) -> _Told:
        address = machine["maintenance"] if "--insecure" in words else machine["address"]
        match mute(machine):
            case "closed":
                return recorded("refused--04-during-install-get-machinestatus-1", address), None
            case "silent" | "half-open":
                # Around a reboot packets are lost without a word.
                return Answer(None), None
        if "--insecure" in words:
            return self._insecure(command, words, machine)
        if machine["stage"] == "maintenance":
            return recorded("unknown_authority--02-maintenance-secured-bootstrap", address), None
        if machine["authority"] not in _authorities(command):
            return recorded("foreign--09-running-foreign-talosconfig", address), None
        return self._secured(command, words, machine)

    def _insecure(self, command: Command, words: list[str], machine: Machine) -> _Told:
        if machine["stage"] != "maintenance":
            return recorded("needs_client_certificate--06-apply-insecure-on-configured", machine["address"]), None
        if words[0] == "get":
            return self._resources(command, words, machine), None
        if words[0] != "apply-config":
            raise unknown(command)
        if "--dry-run" in words:
            return recorded("03-apply-dry-run", machine["address"]), None
        self._machines.configure(machine, _memory_files(command)[0])
        return Answer(), self._model.effect("apply-config", f"{machine['name']} of {machine['cluster']}")

    def _secured(self, command: Command, words: list[str], machine: Machine) -> _Told:
        if words[0] == "bootstrap":
            return self._bootstrap(machine)
        if words[:3] == ["service", "kubelet", "restart"]:
            self._machines.register(machine)
            return Answer(), self._model.effect("restart", f"kubelet of {machine['name']} of {machine['cluster']}")
        if words[0] not in self._questions:
            raise unknown(command)
        return self._questions[words[0]](command, words, machine), None

    def _service(self, _: Command, __: list[str], machine: Machine) -> Answer:
        return Answer(stdout=services(machine, is_healthy=self._machines.etcd.is_healthy(machine)))

    def _members(self, _: Command, __: list[str], machine: Machine) -> Answer:
        if machine["role"] != Role.CONTROL_PLANE.value:
            return recorded("wrong_role--13-worker-etcd-members", machine["address"])
        if not self._machines.etcd.is_healthy(machine):
            return recorded("timed_out--05-before-bootstrap-etcd-members", machine["address"])
        return Answer(stdout=members(machine, self._machines.etcd.members(machine)))

    def _time(self, _: Command, words: list[str], machine: Machine) -> Answer:
        checked = next((word.removeprefix("--check=") for word in words if word.startswith("--check=")), "")
        if checked:
            return self._endpoint.way(machine, checked)
        if not machine["synced"]:
            return recorded("time_server--05-before-bootstrap-no-ntp-time", machine["address"])
        return Answer(stdout=clock(machine))

    def _resources(self, command: Command, words: list[str], machine: Machine) -> Answer:
        kind = words[1]
        if kind == "machineconfig" and machine["stage"] == "maintenance":
            return recorded("not_authorized--01-maintenance-get-machineconfig", machine["maintenance"])
        try:
            return Answer(stdout=hardware.get(machine, kind))
        except KeyError:
            raise unknown(command) from None

    def _read(self, _: Command, words: list[str], machine: Machine) -> Answer:
        path = PurePosixPath(words[1])
        if path == _BOOT_ID:
            return Answer(stdout=f"{self._machines.boot_id(machine)}\n")
        content = ports.bonding(machine, path.name) if path.parent == _BONDS else None
        if content is None:
            missing = recorded("not_found--10-read-nosuch", machine["address"])
            return replace(missing, stderr=missing.stderr.replace("/nosuch", str(path)))
        return Answer(stdout=content)

    def _bootstrap(self, machine: Machine) -> _Told:
        if machine["role"] != Role.CONTROL_PLANE.value:
            return recorded("wrong_role--13-worker-bootstrap-on-worker", machine["address"]), None
        if not machine["synced"]:
            return recorded("not_in_sync--05-bootstrap-before-time-sync-again", machine["address"]), None
        if machine["data"]:
            return recorded("already_exists--06-bootstrap-again-at-once", machine["address"]), None
        self._machines.bootstrap(machine)
        return Answer(), self._model.effect("bootstrap", f"{machine['name']} of {machine['cluster']}")

    def _offline(self, command: Command, words: list[str]) -> Answer:
        if words[0] == "validate":
            return Answer()
        if words[0] == "version":
            return Answer(stdout=f"Client:\nTalos v{self._cluster.talos_version}\n")
        if words[1] == "secrets":
            return Answer(stdout=new_bundle())
        bundle = yaml_io.load(_memory_files(command)[0], source="bundle")
        if "--output-types=talosconfig" in words:
            context: Yaml = {"ca": dig(bundle, "certs", "os", "crt"), "crt": "LS0t", "key": secrets.token_urlsafe(48)}
            return Answer(stdout=yaml_io.dump({"context": words[2], "contexts": {words[2]: context}}))
        patches = {Path(word).stem for word in words}
        (node,) = (node for node in self._cluster.nodes if node.name in patches)
        return Answer(stdout=configuration(bundle, node, self._model.get("configuration")))


def configuration(bundle: Yaml, node: Node, other: dict[str, str] | None = None) -> str:
    """The recorded configuration as another node's, with the secrets of a bundle, and some texts replaced by others."""
    own = machine_name(node.name)
    if Recordings().has(own):
        config = Recordings().text(own)
    else:
        config = Recordings().text(machine_name("lab-01")).replace("lab-01", node.name)
        config = config.replace("10.25.13.11/", f"{node.address}/")
        config = config.replace("type: controlplane", f"type: {node.role.value}")
    for old, new in (other or {}).items():
        config = config.replace(old, new, 1)
    return re.sub(r"@([\w.]+)@", lambda found: text(bundle, *found[1].split(".")), config)


def _said(accident: Accident, machine: Machine) -> Answer:
    if accident.says == NO_ANSWER:
        return Answer(None)
    return recorded(accident.says, machine["address"], machine["name"])


def _authorities(command: Command) -> tuple[str, ...]:
    """The CAs that a command's talosconfig trusts, as the configuration holds them."""
    return _trusted(_memory_files(command)[-1])


@cache
def _trusted(talosconfig: bytes) -> tuple[str, ...]:
    contexts = mapping(yaml_io.load(talosconfig, source="talosconfig"), "contexts")
    return tuple(text(context, "ca") for context in contexts.values())


def _memory_files(command: Command) -> list[bytes]:
    return [word.secret.reveal() for word in command.arguments if isinstance(word, MemoryFile)]
