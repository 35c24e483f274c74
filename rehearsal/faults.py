"""Accidents on order; each says how often it was felt."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command
from bootstrap.host.errors import InputError
from rehearsal.catalogue import find
from rehearsal.foreign import configure
from rehearsal.network import NTP_PORT, other_mac
from rehearsal.settings import REGISTRY_ADDRESS, TALOS_PORT, TIME_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.commands import ShCommandRunner
    from rehearsal.machine import Machine
    from rehearsal.network import Network, TimeServer
    from rehearsal.settings import LabSettings, MachineSettings

TABLE: Final = "firstlight"
# Rules about packets that leave for a machine: what is asked of its Talos API, from the operator's place.
_TO_MACHINE: Final = {
    "unreachable": "counter drop",
    "closed": "counter reject with tcp reset",
    # A handshake is answered; what carries data is pushed, and does not arrive (RFC 9293, PSH).
    "half-open": "tcp flags & psh == psh counter drop",
}
# Rules about packets that come to a server of ours.
_TO_SERVER: Final = {
    "registry-down": f"ip daddr {REGISTRY_ADDRESS} tcp dport 443 counter reject with tcp reset",
    "time-silent": f"ip daddr {TIME_ADDRESS} udp dport {NTP_PORT} counter drop",
}
# GiB of the disk in a machine that stands in another's place, on another bus: too small for Talos' partitions.
OTHER_DISK: Final = 2
# What a volume that somebody encrypted begins with: magic and version of LUKS 2, and the first of its two headers
# (on-disk format specification 1.1.2, 2.1).
ENCRYPTED: Final = (b"LUKS\xba\xbe" + (2).to_bytes(2, "big")).ljust(4096, b"\0")


class Faults:
    """Switches accidents on and off and counts what they did."""

    def __init__(
        self, settings: LabSettings, runner: ShCommandRunner, network: Network, time: TimeServer,
        machines: tuple[Machine, ...],
    ) -> None:  # fmt: skip
        self._settings = settings
        self._nft = settings.programs["nft"]
        self._runner = runner
        self._network = network
        self._time = time
        self._machines = machines
        self._counts: dict[str, int] = {}
        self._loop = threading.Event()

    def begin(self, name: str, machine: int, seconds: float) -> None:
        """Let an accident happen.

        Args:
            name: one of the catalogue.
            machine: the machine it happens to, from 0, where it happens to one.
            seconds: how long or how far, where the fault has such a measure; 0 for its own.

        Raises:
            InputError: there is no such fault, or no such machine, or it cannot happen to this lab.
            FirstlightError: it could not be made to happen.
        """
        measure = seconds or find(name).seconds
        if name == "clock":
            self._time.shift(measure)
        elif name in _TO_SERVER:
            self._refuse(name, "input", _TO_SERVER[name])
        elif name in _TO_MACHINE:
            self._refuse_to(name, self._machine(machine).settings)
        else:
            self._happen(name, self._machine(machine), measure)
            self._counts.setdefault(name, 0)
            if name != "reboot-loop":
                self._counts[name] += 1

    def end(self, name: str, machine: int) -> int:
        """Mend what was broken.

        Returns:
            How often the accident was felt.
        """
        fired = self.fired(name)
        if name == "clock":
            self._time.shift(0.0)
        elif name in _TO_SERVER or name in _TO_MACHINE:
            self._run(f"add table inet {_table(name)}; delete table inet {_table(name)}")
        else:
            self._mend(name, self._machine(machine))
        return fired

    def fired(self, name: str) -> int:
        """How often an accident was felt so far: packets, answers, or what was done to machines."""
        find(name)
        if name == "clock":
            return self._time.answered_shifted
        if name in _TO_SERVER or name in _TO_MACHINE:
            return self._refused(name)
        return self._counts.get(name, 0)

    def _happen(self, name: str, machine: Machine, seconds: float) -> None:
        deeds: dict[str, Callable[[], None]] = {
            "reset": machine.reset,
            "reboot-loop": lambda: self._begin_loop(machine, seconds),
            "power-off": machine.switch_off,
            "pause": machine.pause,
            "link-down": lambda: machine.set_link(0, up=False),
            "partner-missing": lambda: self._network.set_partner(machine.number, present=False),
            "foreign-secrets": lambda: configure(machine.settings, self._settings, self._runner),
            "other-disk": lambda: machine.stand_in(self._runner, other_disk(machine.settings)),
            "used-disk": lambda: machine.stand_in(self._runner, machine.settings, ENCRYPTED),
            "other-mac": lambda: machine.stand_in(self._runner, other_macs(machine.settings)),
        }
        deeds[name]()

    def _mend(self, name: str, machine: Machine) -> None:
        match name:
            case "reboot-loop":
                self._loop.set()
            case "pause":
                machine.resume()
            case "link-down":
                machine.set_link(0, up=True)
            case "partner-missing":
                self._network.set_partner(machine.number, present=True)
            case "power-off" | "other-disk" | "used-disk" | "other-mac":
                machine.switch_on(self._runner)

    def _begin_loop(self, machine: Machine, seconds: float) -> None:
        self._loop = ended = threading.Event()

        def press() -> None:
            while not ended.is_set():
                machine.reset()
                self._counts["reboot-loop"] = self._counts.get("reboot-loop", 0) + 1
                ended.wait(seconds)

        threading.Thread(target=press, name="reboot loop", daemon=True).start()

    def _machine(self, number: int) -> Machine:
        if number not in range(len(self._machines)):
            raise InputError(f"there is no machine {number}", cause=f"{len(self._machines)} are there, counted from 0")
        return self._machines[number]

    def _refuse_to(self, name: str, machine: MachineSettings) -> None:
        addresses = ", ".join(dict.fromkeys((machine.address, machine.maintenance_address)))
        self._refuse(name, "output", f"ip daddr {{ {addresses} }} tcp dport {TALOS_PORT} {_TO_MACHINE[name]}")

    def _refuse(self, name: str, hook: str, rule: str) -> None:
        table = _table(name)
        self._run(f"add table inet {table}; add chain inet {table} c {{ type filter hook {hook} priority 0; }}")
        self._run(f"add rule inet {table} c {rule}")

    def _refused(self, name: str) -> int:
        command = Command(self._nft, ("--json", "list", "ruleset"), timeout=10)  # netlink answers at once
        entries = json.loads(self._runner.run(command).text)["nftables"]
        rules = [entry["rule"] for entry in entries if "rule" in entry and entry["rule"]["table"] == _table(name)]
        counters = [part["counter"]["packets"] for rule in rules for part in rule["expr"] if "counter" in part]
        return sum(int(packets) for packets in counters)

    def _run(self, script: str) -> None:
        self._runner.run(Command(self._nft, (script,), timeout=10))  # netlink answers at once


def other_disk(settings: MachineSettings) -> MachineSettings:
    """A machine like another, but for its disks."""
    return replace(settings, disk=OTHER_DISK, more_disks=(), bus="sata")


def other_macs(settings: MachineSettings) -> MachineSettings:
    """A machine like another, but for its hardware addresses."""
    return replace(settings, macs=tuple(other_mac(mac) for mac in settings.macs))


def _table(fault: str) -> str:
    """Each fault has a table of its own, so that mending one leaves the others."""
    return f"{TABLE}-{fault}"
