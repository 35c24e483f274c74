"""Machines at the seams `CommandRunner` and `Observe`: what talosctl says of each, as the test sets it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.engine.testing import Recording, run_phases
from bootstrap.host.commands import Command, CommandError, Result
from bootstrap.host.secret import Secret
from inventory.loader import load
from inventory.model import Role
from phases.refs import MACHINES, RENDER, SECRETS
from phases.world import Credentials, World
from talos.bundle import Bundle
from talos.probe import Observation, State
from tests import worlds

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.engine import Phase
    from bootstrap.engine.verdict import Verdict
    from inventory.model import Cluster, Node

ROOT = Path(__file__).resolve().parents[3]
CONFIG = "machine:\n  type: controlplane\ncluster: {}\n"
LOST = "lost"
TABLES = {
    "service": "NODE SERVICE STATE HEALTH LAST__CHANGE LAST__EVENT",
    "members": "NODE ID HOSTNAME PEER__URLS CLIENT__URLS LEARNER",
    "list": "NODE NAME",
    "time": "NODE NTP-SERVER NODE-TIME NTP-SERVER-TIME",
}
MAINTENANCE = "x509: certificate signed by unknown authority"
NOT_THERE = "dial tcp: connect: connection refused"


@dataclass
class Box:
    """One machine; every attribute is what it shows.

    Attributes:
        node: of the inventory.
        states: of its API port, one a look, the last one stays.
        resources: specs by kind, by id.
        files: by path.
        boots: boot ids, one a question, the last one stays.
        data: names in etcd's data folder; None where the folder is not there.
        etcd: state and health of its service.
        members: id, name and whether it is a learner.
        console: the kernel's log.
        errors: what it says first in place of an answer, by the command's first word.
        asked: every command.
        shown: the state that the last look saw.
    """

    node: Node
    states: list[State]
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    boots: list[str] = field(default_factory=lambda: ["boot-1"])
    data: list[str] | None = field(default_factory=list)
    etcd: tuple[str, str] = ("Preparing", "?")
    members: list[tuple[str, str, bool]] = field(default_factory=list)
    console: str = ""
    time: str = ""
    errors: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    shown: State = State.SILENT

    def count(self, word: str) -> int:
        """How often a command was sent to it, those that got no answer included."""
        return sum(command.startswith(word) for command in self.asked)


class Rack:
    """The machines of a cluster.

    Args:
        cluster: of the inventory.
        states: what every machine's port shows.
    """

    def __init__(self, cluster: Cluster, *states: State) -> None:
        self.cluster = cluster
        self.boxes = {node.name: Box(node, list(states), _hardware(node)) for node in cluster.nodes}
        self.on_apply: Callable[[Box], None] = lambda box: setattr(box, "states", [State.CLOSED, State.OURS])
        self.on_bootstrap: Callable[[Box], None] = lambda _: self.start_etcd()
        self.on_ask: Callable[[Box], object] = lambda _: None

    def __getitem__(self, name: str) -> Box:
        return self.boxes[name]

    def start_etcd(self, *names: str) -> None:
        """etcd runs on some control planes, or on all, and they are its members."""
        planes = [box for box in self.boxes.values() if box.node.role is Role.CONTROL_PLANE and not box.node.absent]
        chosen = [box for box in planes if not names or box.node.name in names]
        for box in chosen:
            box.data, box.etcd = ["member"], ("Running", "OK")
            box.members = [(f"id-{one.node.name}", one.node.name, False) for one in chosen]

    def observe(self, address: str, authority: bytes) -> Observation:  # noqa: ARG002 # the protocol gives it
        """See `talos.probe.Observe`."""
        box = self._at(address)
        is_own = address == str(box.node.address)
        # A look begins at the node's own address, which a machine in maintenance mode does not have.
        if is_own:
            box.shown = box.states.pop(0) if len(box.states) > 1 else box.states[0]
        state = box.shown if (box.shown is State.MAINTENANCE) != is_own else State.SILENT
        return Observation(state, f"shown as {state}")

    def run(self, command: Command) -> Result:
        """See `CommandRunner.run`."""
        words = [word for word in command.arguments if isinstance(word, str)]
        box = self._at(next(word for word in words if word.startswith("--nodes=")).partition("=")[2])
        asked = " ".join(word for word in words if not word.startswith("--"))
        box.asked.append(asked)
        self.on_ask(box)
        pending = box.errors.get(words[0])
        error = pending.pop(0) if pending else self._unanswered(box, words)
        if error:
            raise CommandError("failed", cause=error, stderr=error, exit_code_seen=1, timed_out=error == LOST)
        return Result(0, self._answer(box, words).encode(), b"", 0.1)

    def _at(self, address: str) -> Box:
        return next(
            box for box in self.boxes.values() if address in {str(box.node.address), str(box.node.maintenance_address)}
        )

    def _unanswered(self, box: Box, words: list[str]) -> str:
        state = box.states[0]
        if state in {State.CLOSED, State.SILENT}:
            return NOT_THERE
        if (state is State.MAINTENANCE) != ("--insecure" in words):
            return MAINTENANCE if state is State.MAINTENANCE else "tls: certificate required"
        if words[0] == "list" and box.data is None:
            return "lstat /var/lib/etcd: no such file or directory"
        if words[0] == "read" and words[1] != "/proc/sys/kernel/random/boot_id" and words[1] not in box.files:
            return "no such file or directory"
        return ""

    def _answer(self, box: Box, words: list[str]) -> str:
        if words[0] in {"apply-config", "bootstrap"}:
            (self.on_apply if words[0] == "apply-config" else self.on_bootstrap)(box)
            return ""
        answers: dict[str, Callable[[], str]] = {
            "get": lambda: _json(box.resources.get(words[1], {})),
            "read": lambda: _file(box, words[1]),
            "dmesg": lambda: box.console,
            "service": lambda: _table("service", [["n", "etcd", *box.etcd, "1s", "x"]]),
            "list": lambda: _table("list", [["n", name] for name in (".", *(box.data or ()))]),
            "time": lambda: _table("time", [["n", "ntp.example", box.time, box.time]] if box.time else []),
            "etcd": lambda: _members(box),
        }
        return answers[words[0]]()


def _json(found: dict[str, Any]) -> str:
    return "".join(json.dumps({"metadata": {"id": key}, "spec": spec}) for key, spec in found.items())


def _file(box: Box, path: str) -> str:
    if path != "/proc/sys/kernel/random/boot_id":
        return box.files[path]
    return box.boots.pop(0) if len(box.boots) > 1 else box.boots[0]


def _members(box: Box) -> str:
    rows = [["n", key, name, f"https://{key}", "https://c", str(learner).lower()] for key, name, learner in box.members]
    return _table("members", rows)


def _table(kind: str, rows: list[list[str]]) -> str:
    titles = [title.replace("__", " ") for title in TABLES[kind].split()]
    return "".join("".join(cell.ljust(60) for cell in row).rstrip() + "\n" for row in (titles, *rows))


def _hardware(node: Node) -> dict[str, dict[str, Any]]:
    """What a machine shows that is as the inventory says, and installed with `CONFIG`."""
    links = {
        f"port{number}": {
            "permanentAddr": mac,
            "hardwareAddr": mac,
            "driver": node.driver,
            "linkState": True,
            "mtu": 1500,
        }
        for number, mac in enumerate(node.macs)
    }
    return {
        "links": links,
        "disks": {"vda": {"dev_path": "/dev/vda", "size": 10**10, "transport": "virtio"}},
        "discoveredvolumes": {"vda": {"type": "disk", "dev_path": "/dev/vda"}},
        "version": {"version": {"version": "v1.11.5"}},
        "machinestatus": {"machine": {"stage": "running", "status": {"ready": False}}},
        "machineconfig": {"v1alpha1": CONFIG},
        "timestatus": {"node": {"synced": True}},
        "routes": {},
    }


def cluster(control_planes: int = 3, workers: int = 0, *, absent: frozenset[str] = frozenset()) -> Cluster:
    """The lab with more nodes: `cp-1`, `cp-2`, ..., `w-1`, ...; the first one is the bootstrap node."""
    lab = load(ROOT, "lab")
    names = [f"cp-{number + 1}" for number in range(control_planes)] + [f"w-{number + 1}" for number in range(workers)]
    nodes = tuple(
        replace(
            lab.nodes[0], name=name, address=lab.nodes[0].address + number, absent=name in absent,
            role=Role.CONTROL_PLANE if name.startswith("cp") else Role.WORKER,
            maintenance_address=lab.nodes[0].maintenance_address + number, macs=(f"52:54:00:00:00:{number:02x}",),
        )
        for number, name in enumerate(names)
    )  # fmt: skip
    return replace(lab, nodes=nodes, bootstrap_node="cp-1")


def credentials() -> Credentials:
    """Secrets that nobody checks."""
    bundle = Bundle(Secret("bundle", "bundle"), "id", b"ca", b"ca", Secret("key", "key"), ())
    return Credentials(bundle, Secret("talosconfig", "talosconfig"), {})


def world(rack: Rack, state: Path) -> World:
    """A world whose machines are those of a rack."""

    def connect(*_: object, **__: object) -> Any:
        raise AssertionError

    return worlds.world(state, cluster=rack.cluster, runner=rack, observe=rack.observe, connect=connect)


def said(verdict: Verdict) -> str:
    """All that the failures of a run say."""
    return " ".join(f"{failure.fact} {failure.cause} {failure.problems}" for failure in verdict.failures)


def run(rack: Rack, phase: Phase, recording: Recording, **values: object) -> Verdict:
    """Run one phase with what others would have found."""
    configs = {node.name: Secret(CONFIG, "configuration") for node in rack.cluster.nodes}
    given = {SECRETS.name: credentials(), RENDER.name: configs, MACHINES.name: {}, "install": None, **values}
    own = {step.name for step in phase.steps}
    return run_phases(
        [phase], values={name: value for name, value in given.items() if name not in own}, readers=[recording],
        target=5000.0,
    )  # fmt: skip
