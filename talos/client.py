"""talosctl as typed calls to one node each.

Every call has a time limit: around a reboot packets are lost without a reset, and etcd's calls hang until
etcd has been bootstrapped. The talosconfig travels as a memory file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from bootstrap.host.commands import Command, CommandError, MemoryFile
from bootstrap.host.secret import Secret
from talos import lookup, resources
from talos.errors import Kind, TalosError, from_command

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.commands import CommandRunner, Result
    from talos.resources import Disk, EtcdMember, Link, MachineStatus, Rings, Route, ServiceState, Times, Volume

# A question takes 0.1 to 0.5 s; an address without a machine is given up by the kernel after 3 s.
QUESTION_SECONDS: Final = 10.0
# An apply returns in 0.1 s, a validation of an install image on a slow line takes longer.
APPLY_SECONDS: Final = 30.0
# Before the clock is in sync the node itself waits 5 s, without its container runtime 1 s.
BOOTSTRAP_SECONDS: Final = 20.0
# Talos gives a service 10 s to end (v1.11.5, system/runner), and takes as long again on a busy machine.
RESTART_SECONDS: Final = 30.0
# The API server's audit log is kept to 100 MB by Talos; this is for one over a slow line.
READ_SECONDS: Final = 60.0
# A name server that does not answer is asked twice, 5 s each, and a time server that does not is waited 5 s for.
LOOKUP_SECONDS: Final = 20.0
# Rendering or validating a configuration takes 0.1 s and no network.
OFFLINE_SECONDS: Final = 20.0


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

    def offline(self, *arguments: str | MemoryFile, timeout: float = OFFLINE_SECONDS) -> Result:
        """Run a command that asks no node.

        Raises:
            CommandError: it failed; its stderr says why.
        """
        return self._runner.run(Command(self._program, arguments, timeout=timeout))

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

    def apply(self, node: str, talosconfig: Secret, config: Secret) -> None:
        """Give a configured node another configuration; it reboots where the change needs that.

        Raises:
            TalosError: refused, or no answer; after a lost answer the node's configuration decides.
        """
        self._call(node, talosconfig, ("apply-config", MemoryFile(config, "--file=")), APPLY_SECONDS)

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
        rows = resources.rows(self._ask(node, talosconfig, "service").text)
        return {row["SERVICE"]: resources.service(row) for row in rows}

    def restart(self, node: str, talosconfig: Secret, service: str) -> None:
        """Stop one of the node's services and start it again; pods that a kubelet started go on.

        Raises:
            TalosError: no such service (`Kind.NOT_REGISTERED`), or no answer.
        """
        self._call(node, talosconfig, ("service", service, "restart"), RESTART_SECONDS)

    def etcd_members(self, node: str, talosconfig: Secret) -> tuple[EtcdMember, ...]:
        """The members that the node's own etcd knows. Before etcd is bootstrapped the call hangs or fails.

        Raises:
            TalosError: no etcd (`Kind.ETCD_NOT_STARTED`), hung (`Kind.TIMED_OUT`), or no answer.
        """
        rows = resources.rows(self._ask(node, talosconfig, "etcd", "members").text)
        return tuple(resources.member(row) for row in rows)

    def machine_status(self, node: str, talosconfig: Secret | None) -> MachineStatus:
        """Stage, readiness and unmet conditions.

        Raises:
            TalosError: no answer.
        """
        return resources.machine_status(self.get(node, talosconfig, "machinestatus"))

    def disks(self, node: str, talosconfig: Secret | None) -> tuple[Disk, ...]:
        """The node's block devices, loop and CD devices among them.

        Raises:
            TalosError: no answer.
        """
        return tuple(resources.disk(each) for each in self.get(node, talosconfig, "disks"))

    def links(self, node: str, talosconfig: Secret | None) -> tuple[Link, ...]:
        """The node's network links.

        Raises:
            TalosError: no answer.
        """
        return tuple(resources.link(each) for each in self.get(node, talosconfig, "links"))

    def volumes(self, node: str, talosconfig: Secret | None) -> tuple[Volume, ...]:
        """What the node found on its disks.

        Raises:
            TalosError: no answer.
        """
        return tuple(resources.volume(each) for each in self.get(node, talosconfig, "discoveredvolumes"))

    def rings(self, node: str, talosconfig: Secret | None) -> dict[str, Rings]:
        """The ring buffers of the node's ports, by link.

        Raises:
            TalosError: no answer.
        """
        found = self.get(node, talosconfig, "ethernetstatus")
        return {each["metadata"]["id"]: resources.rings(each) for each in found}

    def routes(self, node: str, talosconfig: Secret | None) -> tuple[Route, ...]:
        """The node's routes.

        Raises:
            TalosError: no answer.
        """
        return tuple(resources.route(each) for each in self.get(node, talosconfig, "routes"))

    def release(self, node: str, talosconfig: Secret | None) -> str:
        """The version of the Talos that runs there, without v; unlike `version` also in maintenance mode.

        Raises:
            TalosError: no answer.
        """
        found = self.get(node, talosconfig, "version")
        return str(found[0]["spec"]["version"]).removeprefix("v") if found else ""

    def in_sync(self, node: str, talosconfig: Secret | None) -> bool:
        """Whether the node's clock follows a time server.

        Raises:
            TalosError: no answer.
        """
        return any(each["spec"].get("synced") is True for each in self.get(node, talosconfig, "timestatus"))

    def memory(self, node: str, talosconfig: Secret | None) -> int:
        """MiB of memory, as the firmware lists its modules.

        Raises:
            TalosError: no answer.
        """
        return sum(int(each["spec"].get("sizeMiB", 0)) for each in self.get(node, talosconfig, "memorymodules"))

    def threads(self, node: str, talosconfig: Secret | None) -> int:
        """Logical processors, as the firmware lists them.

        Raises:
            TalosError: no answer.
        """
        return sum(int(each["spec"].get("threadCount", 0)) for each in self.get(node, talosconfig, "processors"))

    def machine_config(self, node: str, talosconfig: Secret) -> Secret:
        """The machine configuration that the node runs with: YAML documents.

        Raises:
            TalosError: no answer.
        """
        found = self.get(node, talosconfig, "machineconfig", "v1alpha1")
        return Secret(str(found[0]["spec"]) if found else "", f"the machine configuration at {node}")

    def boot_id(self, node: str, talosconfig: Secret) -> str:
        """The kernel's id of the node's present boot.

        Raises:
            TalosError: no answer.
        """
        return self._ask(node, talosconfig, "read", "/proc/sys/kernel/random/boot_id").text.strip()

    def entries(self, node: str, talosconfig: Secret, folder: str) -> tuple[str, ...]:
        """The names in a folder of the node.

        Raises:
            TalosError: no such folder (`Kind.NOT_FOUND`), or no answer.
        """
        rows = resources.rows(self._ask(node, talosconfig, "list", folder).text)
        return tuple(row["NAME"] for row in rows if row["NAME"] != ".")

    def times(self, node: str, talosconfig: Secret) -> Times:
        """The node's clock beside its time server's.

        Raises:
            TalosError: the time server does not answer the node (`Kind.TIME_SERVER`), or the node does not answer.
        """
        result = self._ask(node, talosconfig, "time")
        try:
            return next(resources.times(row) for row in resources.rows(result.text))
        except (StopIteration, ValueError, KeyError):
            raise _unreadable(node, "time", result) from None

    def way_to(self, node: str, talosconfig: Secret, host: str) -> lookup.Way:
        """What the node makes of a name, in its own network.

        Raises:
            TalosError: the node does not answer.
        """
        try:
            self._call(node, talosconfig, ("time", f"--check={host}"), LOOKUP_SECONDS)
        except TalosError as error:
            if error.kind is not Kind.TIME_SERVER:
                raise
            return lookup.read(error.text)
        return lookup.Way(None, resolves=True, is_there=True, said="it gives the time")

    def get(self, node: str, talosconfig: Secret | None, kind: str, *ids: str) -> list[dict[str, Any]]:
        """Resources of a kind, as talosctl prints them in JSON: `metadata` and `spec`.

        Raises:
            TalosError: no answer, or not that kind of resource.
        """
        result = self._ask(node, talosconfig, "get", kind, *ids, "--output=json")
        try:
            return list(resources.json_values(result.text))
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


def _unreadable(node: str, question: str, result: Result) -> TalosError:
    fact = f"talosctl {question} at {node} gave an answer of another form"
    return TalosError(fact, kind=Kind.UNKNOWN, text=result.text)
