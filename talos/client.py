"""talosctl as typed calls to one node each.

Every call has a time limit: around a reboot packets are lost without a reset, and etcd's calls hang until
etcd has been bootstrapped. The talosconfig travels as a memory file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bootstrap.host.commands import Command, CommandError, MemoryFile
from bootstrap.host.secret import Secret
from talos.errors import Kind, TalosError, from_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bootstrap.host.commands import CommandRunner, Result

# A question takes 0.1 to 0.5 s; an address without a machine is given up by the kernel after 3 s.
QUESTION_SECONDS: Final = 10.0
# An apply returns in 0.1 s, a validation of an install image on a slow line takes longer.
APPLY_SECONDS: Final = 30.0
# Before the clock is in sync the node itself waits 5 s, without its container runtime 1 s.
BOOTSTRAP_SECONDS: Final = 20.0
# The API server's audit log is kept to 100 MB by Talos; this is for one over a slow line.
READ_SECONDS: Final = 60.0
# Rendering or validating a configuration takes 0.1 s and no network.
OFFLINE_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Condition:
    """Something that a machine waits for before it is ready."""

    name: str
    reason: str


@dataclass(frozen=True)
class MachineStatus:
    """Where a machine stands.

    Attributes:
        stage: maintenance, installing, booting, running, rebooting, ...
        ready: whether nothing is unmet.
        unmet: what it waits for; with `cni: none` that is `nodeReady` to the end.
    """

    stage: str
    ready: bool
    unmet: tuple[Condition, ...]


@dataclass(frozen=True)
class ServiceState:
    """One service of a machine.

    Attributes:
        name: apid, cri, etcd, kubelet, ...
        state: Waiting, Preparing, Running, Finished, Failed, ...
        healthy: None while its health is not known.
        event: the last thing that happened to it.
    """

    name: str
    state: str
    healthy: bool | None
    event: str


@dataclass(frozen=True)
class EtcdMember:
    """One member of etcd, as the node's own etcd sees it."""

    id: str
    hostname: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool


@dataclass(frozen=True)
class Disk:
    """A block device that Talos could be installed to, or that only looks so.

    Attributes:
        path: for example /dev/vda.
        size: bytes.
        transport: virtio, nvme, sata, ...; empty for a loop device.
        model: as the device says; may be empty.
        serial: as the device says; may be empty.
        writable: neither read-only nor a CD drive.
    """

    path: str
    size: int
    transport: str
    model: str
    serial: str
    writable: bool


@dataclass(frozen=True)
class Link:
    """A network link.

    Attributes:
        name: for example enp0s2.
        kind: bond, vlan, dummy, ...; empty for a port.
        driver: kernel driver.
        address: hardware address in use; a bond's member has the bond's.
        permanent_address: hardware address that the port was made with; empty for a virtual link.
        up: whether it has a carrier.
        mtu: bytes.
    """

    name: str
    kind: str
    driver: str
    address: str
    permanent_address: str
    up: bool
    mtu: int


class Talosctl:
    """The program talosctl.

    In all calls `node` is an address, and `talosconfig` None asks a node in maintenance mode without
    certificates.

    Args:
        talosctl: the program.
        runner: starts it.
    """

    def __init__(self, talosctl: Path, runner: CommandRunner) -> None:
        self._program = talosctl
        self._runner = runner

    def offline(self, *arguments: str | MemoryFile) -> Result:
        """Run a command that asks no node.

        Raises:
            CommandError: it failed; its stderr says why.
        """
        return self._runner.run(Command(self._program, arguments, timeout=OFFLINE_SECONDS))

    def version(self, node: str, talosconfig: Secret) -> str:
        """The node's version of Talos, without v.

        Raises:
            TalosError: no answer.
        """
        result = self._ask(node, talosconfig, "version", "--short")
        found = re.search(r"^Server:.*?^\s*Tag:\s*v?(\S+)", result.text, re.MULTILINE | re.DOTALL)
        if not found:
            raise _unreadable(node, "version", result)
        return found.group(1)

    def apply_insecure(self, node: str, config: Secret) -> None:
        """Give a node in maintenance mode its configuration; it then installs and reboots.

        Returning proves only that the node took it: a disk that does not exist is found out later.

        Raises:
            TalosError: refused, or no answer; after a lost answer the node's state decides.
        """
        self._call(node, None, ("apply-config", MemoryFile(config, "--file=")), APPLY_SECONDS)

    def try_insecure(self, node: str, config: Secret) -> str:
        """What a node in maintenance mode says to a configuration that it is only shown; nothing is applied.

        Raises:
            TalosError: it would refuse the configuration, or gives no answer.
        """
        arguments = ("apply-config", MemoryFile(config, "--file="), "--dry-run")
        # talosctl prints what the node says beside its own results.
        said = self._call(node, None, arguments, APPLY_SECONDS).stderr.decode("utf-8", "replace")
        return said.removeprefix("Dry run summary:").strip()

    def bootstrap(self, node: str, talosconfig: Secret) -> None:
        """Ask the node to start a new etcd. Never send it twice.

        Returning proves nothing: a second call within seconds is taken as well, and the intent is lost by a
        reboot. `AlreadyExists` comes only once the data directory has content.

        Raises:
            TalosError: refused (kind says why), or no answer.
        """
        self._call(node, talosconfig, ("bootstrap",), BOOTSTRAP_SECONDS)

    def kubeconfig(self, node: str, talosconfig: Secret) -> Secret:
        """Talos' own admin kubeconfig: user `admin`, server as the endpoint is named.

        A run does not need it: `talos.identity.kubeconfig` makes one that shows in the audit log as ours and
        asks a node's address. This one is for checks of what Talos itself would give.

        Raises:
            TalosError: not a control plane, or no answer.
        """
        result = self._ask(node, talosconfig, "kubeconfig", "--merge=false", "-")
        return Secret(result.stdout, f"the admin kubeconfig of {node}")

    def services(self, node: str, talosconfig: Secret) -> dict[str, ServiceState]:
        """The node's services by name.

        Raises:
            TalosError: no answer.
        """
        rows = _rows(self._ask(node, talosconfig, "service").text)
        return {row["SERVICE"]: _service(row) for row in rows}

    def etcd_members(self, node: str, talosconfig: Secret) -> tuple[EtcdMember, ...]:
        """The members that the node's own etcd knows. Before etcd is bootstrapped the call hangs or fails.

        Raises:
            TalosError: no etcd (`Kind.ETCD_NOT_STARTED`), hung (`Kind.TIMED_OUT`), or no answer.
        """
        rows = _rows(self._ask(node, talosconfig, "etcd", "members").text)
        return tuple(
            EtcdMember(
                id=row["ID"],
                hostname=row["HOSTNAME"],
                peer_urls=tuple(row["PEER URLS"].split(",")),
                client_urls=tuple(row["CLIENT URLS"].split(",")),
                learner=row["LEARNER"] == "true",
            )
            for row in rows
        )

    def machine_status(self, node: str, talosconfig: Secret | None) -> MachineStatus:
        """Stage, readiness and unmet conditions.

        Raises:
            TalosError: no answer.
        """
        resources = self.get(node, talosconfig, "machinestatus")
        spec = resources[0].get("spec", {}) if resources else {}
        status = spec.get("status", {})
        unmet = tuple(Condition(each["name"], each["reason"]) for each in status.get("unmetConditions") or ())
        return MachineStatus(str(spec.get("stage", "unknown")), status.get("ready") is True, unmet)

    def disks(self, node: str, talosconfig: Secret | None) -> tuple[Disk, ...]:
        """The node's block devices, loop and CD devices among them.

        Raises:
            TalosError: no answer.
        """
        return tuple(_disk(each["spec"]) for each in self.get(node, talosconfig, "disks"))

    def links(self, node: str, talosconfig: Secret | None) -> tuple[Link, ...]:
        """The node's network links.

        Raises:
            TalosError: no answer.
        """
        return tuple(_link(each) for each in self.get(node, talosconfig, "links"))

    def get(self, node: str, talosconfig: Secret | None, kind: str, *ids: str) -> list[dict[str, Any]]:
        """Resources of a kind, as talosctl prints them in JSON: `metadata` and `spec`.

        Raises:
            TalosError: no answer, or not that kind of resource.
        """
        result = self._ask(node, talosconfig, "get", kind, *ids, "--output=json")
        try:
            return list(_json_values(result.text))
        except ValueError:
            raise _unreadable(node, f"get {kind}", result) from None

    def read(self, node: str, talosconfig: Secret, path: str) -> bytes:
        """A file of the node, for example the API server's audit log.

        Raises:
            TalosError: no such file (`Kind.NOT_FOUND`), or no answer.
        """
        return self._call(node, talosconfig, ("read", path), READ_SECONDS).stdout

    def kernel_log(self, node: str, talosconfig: Secret) -> str:
        """The node's kernel log since it booted; Talos writes into it what happens to its services.

        Raises:
            TalosError: no answer.
        """
        return self._call(node, talosconfig, ("dmesg",), READ_SECONDS).text

    def service_log(self, node: str, talosconfig: Secret, service: str, *, lines: int) -> str:
        """The last lines that one of the node's services wrote.

        Raises:
            TalosError: no such service (`Kind.NOT_REGISTERED`), or no answer.
        """
        return self._ask(node, talosconfig, "logs", service, f"--tail={lines}").text

    def _ask(self, node: str, talosconfig: Secret | None, *arguments: str) -> Result:
        return self._call(node, talosconfig, arguments, QUESTION_SECONDS)

    def _call(
        self, node: str, talosconfig: Secret | None, arguments: tuple[str | MemoryFile, ...], timeout: float
    ) -> Result:
        access: tuple[str | MemoryFile, ...] = ("--insecure", f"--nodes={node}")
        if talosconfig is not None:
            access = (MemoryFile(talosconfig, "--talosconfig="), f"--endpoints={node}", f"--nodes={node}")
        command = Command(self._program, (*arguments, *access), timeout=timeout)
        try:
            return self._runner.run(command)
        except CommandError as error:
            words = " ".join(word for word in arguments if isinstance(word, str) and not word.startswith("-"))
            raise from_command(error, fact=f"talosctl {words} at {node} failed") from None


def _service(row: dict[str, str]) -> ServiceState:
    healthy = {"OK": True, "Fail": False}.get(row["HEALTH"])
    return ServiceState(row["SERVICE"], row["STATE"], healthy, row["LAST EVENT"])


def _disk(spec: dict[str, Any]) -> Disk:
    return Disk(
        path=spec["dev_path"],
        size=int(spec.get("size", 0)),
        transport=spec.get("transport", ""),
        model=spec.get("model", ""),
        serial=spec.get("serial", ""),
        writable=not spec.get("readonly") and not spec.get("cdrom"),
    )


def _link(resource: dict[str, Any]) -> Link:
    spec = resource["spec"]
    return Link(
        name=resource["metadata"]["id"],
        kind=spec.get("kind", ""),
        driver=spec.get("driver", ""),
        address=spec.get("hardwareAddr", ""),
        permanent_address=spec.get("permanentAddr", ""),
        up=spec.get("linkState") is True,
        mtu=int(spec.get("mtu", 0)),
    )


def _rows(table: str) -> list[dict[str, str]]:
    """The rows of a table of talosctl, whose columns start where their titles start."""
    lines = table.splitlines()
    if not lines:
        return []
    # Titles are set apart by several spaces; a single one belongs to a title such as LAST EVENT.
    titles = [(found.start(), found.group()) for found in re.finditer(r"\S+(?: \S+)*", lines[0])]
    ends = [start for start, _ in titles[1:]] + [None]
    return [
        {title: line[start:end].strip() for (start, title), end in zip(titles, ends, strict=True)}
        for line in lines[1:]
        if line.strip()
    ]


def _json_values(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects that stand one after the other in a text."""
    decoder = json.JSONDecoder()
    position = 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        value, position = decoder.raw_decode(text, position)
        yield value


def _unreadable(node: str, question: str, result: Result) -> TalosError:
    fact = f"talosctl {question} at {node} gave an answer of another form"
    return TalosError(fact, kind=Kind.UNKNOWN, text=result.text)
