"""talosctl in the model: what a node answers where it stands, and what is made without a node."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.host import yaml_io
from bootstrap.host.commands import Command, MemoryFile
from bootstrap.host.objects import dig, mapping, text
from tests.scripted.answers import Answer, recorded, unknown
from tests.scripted.canaries import new_bundle
from tests.scripted.recordings import Recordings

if TYPE_CHECKING:
    from bootstrap.host.yaml_io import Yaml
    from inventory.model import Cluster
    from tests.scripted.model import Effect
    from tests.scripted.ring import Ring


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

    def answer(self, command: Command, words: list[str]) -> Answer:
        """What talosctl prints; `words` are its arguments without secrets."""
        if words[0] in {"gen", "validate"}:
            return self._offline(command, words)
        address = next(word.partition("=")[2] for word in words if word.startswith("--nodes="))
        if self._is_lost("before", words[0]):
            return Answer(None)
        with self._model.look():
            answer, effect = self._asked(command, words, address)
        if effect:
            self._model.done(effect)
            if self._is_lost("after", effect.kind):
                return Answer(None)
        return answer

    def _is_lost(self, moment: str, call: str) -> bool:
        """Whether the network loses this call, before it has an effect or after that."""
        if self._model.get(f"lost {moment}") != call:
            return False
        self._model.put(f"lost {moment}", "")
        return True

    def _asked(self, command: Command, words: list[str], address: str) -> tuple[Answer, Effect | None]:
        """What a node answers, and what was done to it."""
        machine = self._machines.at(address)
        if machine is None:
            return recorded("unreachable--03-apply-wrong-address", address), None
        if machine["stage"] == "installing":
            return recorded("refused--04-during-install-get-machinestatus-1", address), None
        if "--insecure" in words:
            return self._insecure(command, words, machine)
        if machine["stage"] == "maintenance":
            return recorded("unknown_authority--02-maintenance-secured-bootstrap", address), None
        if machine["authority"] not in _authorities(command):
            return recorded("foreign--09-running-foreign-talosconfig", address), None
        return self._secured(command, words, machine)

    def _insecure(self, command: Command, words: list[str], machine: dict[str, Any]) -> tuple[Answer, Effect | None]:
        if machine["stage"] != "maintenance":
            return recorded("needs_client_certificate--06-apply-insecure-on-configured", machine["address"]), None
        if words[0] != "apply-config":
            raise unknown(command)
        if "--dry-run" in words:
            return recorded("03-apply-dry-run", machine["address"]), None
        self._machines.configure(machine, _memory_files(command)[0])
        return Answer(), self._model.effect("apply-config", f"{machine['name']} of {machine['cluster']}")

    def _secured(self, command: Command, words: list[str], machine: dict[str, Any]) -> tuple[Answer, Effect | None]:
        address, name = machine["address"], machine["name"]
        is_healthy = machine["etcd"] == "healthy"
        match words[0]:
            case "bootstrap":
                return self._bootstrap(machine)
            case "service":
                return recorded(
                    "09-running-service" if is_healthy else "05-before-bootstrap-service", address, name
                ), None
            case "etcd" if is_healthy:
                return recorded("06-bootstrapping-etcd-members", address, name), None
            case "etcd":
                return recorded("timed_out--05-before-bootstrap-etcd-members", address), None
            case "dmesg":
                return Answer(stdout="".join(f"{address}: {line}\n" for line in machine.get("console", []))), None
        raise unknown(command)

    def _bootstrap(self, machine: dict[str, Any]) -> tuple[Answer, Effect | None]:
        if machine["etcd"] == "healthy":
            return recorded("already_exists--06-bootstrap-again-at-once", machine["address"]), None
        if self._model.get("unsynced"):
            self._model.put("unsynced", self._model.get("unsynced") - 1)
            return recorded("not_in_sync--05-bootstrap-before-time-sync-again", machine["address"]), None
        self._machines.bootstrap(machine)
        return Answer(), self._model.effect("bootstrap", f"{machine['name']} of {machine['cluster']}")

    def _offline(self, command: Command, words: list[str]) -> Answer:
        if words[0] == "validate":
            return Answer()
        if words[1] == "secrets":
            return Answer(stdout=new_bundle())
        bundle = yaml_io.load(_memory_files(command)[0], source="bundle")
        if "--output-types=talosconfig" in words:
            context: Yaml = {"ca": dig(bundle, "certs", "os", "crt"), "crt": "LS0t", "key": secrets.token_urlsafe(48)}
            return Answer(stdout=yaml_io.dump({"context": words[2], "contexts": {words[2]: context}}))
        return Answer(stdout=self._configuration(bundle, words))

    def _configuration(self, bundle: Yaml, words: list[str]) -> str:
        """The recorded configuration as another node's, with the secrets of a bundle."""
        patches = {Path(word).stem for word in words}
        (node,) = (node for node in self._cluster.nodes if node.name in patches)
        config = Recordings().text("controlplane.yaml").replace("lab-01", node.name)
        config = config.replace("10.25.13.11/", f"{node.address}/")
        return re.sub(r"@([\w.]+)@", lambda found: text(bundle, *found[1].split(".")), config)


def _authorities(command: Command) -> list[str]:
    """The CAs that a command's talosconfig trusts, as the configuration holds them."""
    contexts = mapping(yaml_io.load(_memory_files(command)[-1], source="talosconfig"), "contexts")
    return [text(context, "ca") for context in contexts.values()]


def _memory_files(command: Command) -> list[bytes]:
    return [word.secret.reveal() for word in command.arguments if isinstance(word, MemoryFile)]
