"""A switch that speaks LACP: Open vSwitch with its userspace datapath, all of it below the lab's folder.

The kernel needs neither bonding nor VLANs nor a module of Open vSwitch for it. Ports carry every VLAN.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command, CommandError
from rehearsal.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bootstrap.host.commands import Daemon, ShCommandRunner

# The shape of its database, where Debian's package has it.
SCHEMA: Final = "/usr/share/openvswitch/vswitch.ovsschema"
# The system id of a partner that was never heard.
NOBODY: Final = "00:00:00:00:00:00"
# It opens its socket within a tenth of a second; half a minute is a machine that is stuck.
READY_SECONDS: Final = 30.0
# The database answers when the daemon has done what was written, which is at once.
CHANGE_SECONDS: Final = 30.0


class Switch:
    """One bridge with a bond for every machine.

    Args:
        bridge: name of the bridge, and of the interface that the host has on it.
        folder: where its database, sockets and logs lie.
        programs: absolute paths by name.
        runner: starts its two daemons and asks them.
    """

    def __init__(self, bridge: str, folder: Path, programs: Mapping[str, Path], runner: ShCommandRunner) -> None:
        self._bridge = bridge
        self._folder = folder
        self._programs = programs
        self._runner = runner
        self._daemons: list[Daemon] = []

    def start(self) -> None:
        """Have the bridge and nothing on it.

        Raises:
            FirstlightError: a daemon does not start.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        database = str(self._folder / "conf.db")
        self._run("ovsdb-tool", "create", database, SCHEMA)
        self._daemon("ovsdb-server", database, f"--remote=p{self._database}", f"--unixctl={self._folder}/database.ctl")
        wait_for((self._folder / "db.sock").is_socket, READY_SECONDS, "the switch's database to listen")
        self._change("--no-wait", "init")
        self._daemon("ovs-vswitchd", self._database, f"--unixctl={self._control}")
        self._change("add-br", self._bridge, "--", "set", "bridge", self._bridge, "datapath_type=netdev")

    def connect(self, bond: str, ports: Sequence[str]) -> None:
        """Put the cards of a machine onto the bridge, as a partner for their LACP.

        A machine that speaks none yet, as one in maintenance mode, is reached through its first card.
        """
        self._change(*self._without(bond, ports), *self._bonded(bond, ports))

    def disconnect_partner(self, bond: str, ports: Sequence[str]) -> None:
        """Have the cards of a machine on the bridge, each for itself: nobody answers their LACP."""
        single = [word for port in ports for word in ("--", "add-port", self._bridge, port)]
        self._change(*self._without(bond, ports), *single)

    def has_partner(self, bond: str) -> bool:
        """Whether somebody speaks LACP at every card of a machine's bond; false where there is no such bond."""
        try:
            said = self._run("ovs-appctl", "-t", self._control, "lacp/show", bond)
        except CommandError:
            return False
        partners = re.findall(r"partner sys_id: (\S+)", said)
        return bool(partners) and NOBODY not in partners

    def end(self) -> None:
        """End its daemons."""
        for daemon in reversed(self._daemons):
            daemon.end()

    @property
    def _database(self) -> str:
        return f"unix:{self._folder}/db.sock"

    @property
    def _control(self) -> str:
        return f"{self._folder}/switch.ctl"

    def _without(self, bond: str, ports: Sequence[str]) -> list[str]:
        gone = [word for name in (bond, *ports) for word in ("--", "--if-exists", "del-port", self._bridge, name)]
        return gone[1:]

    def _bonded(self, bond: str, ports: Sequence[str]) -> list[str]:
        return [
            "--", "add-bond", self._bridge, bond, *ports, "lacp=active", "bond_mode=balance-tcp",
            "other_config:lacp-time=fast", "other_config:lacp-fallback-ab=true",
            f"other_config:bond-primary={ports[0]}",
        ]  # fmt: skip

    def _change(self, *words: str) -> None:
        self._run("ovs-vsctl", f"--db={self._database}", f"--timeout={CHANGE_SECONDS:.0f}", *words)

    def _run(self, name: str, *arguments: str) -> str:
        command = Command(self._programs[name], arguments, self._environment(), timeout=CHANGE_SECONDS)
        return self._runner.run(command).text

    def _daemon(self, name: str, *arguments: str) -> None:
        command = Command(self._programs[name], arguments, self._environment(), folder=self._folder)
        self._daemons.append(self._runner.start(command, log=self._folder / f"{name}.log"))

    def _environment(self) -> dict[str, str]:
        """Where its programs would else use folders of the machine (ovs-vswitchd(8))."""
        return dict.fromkeys(("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"), str(self._folder))
