"""Accidents on order; each says how often it fired."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bootstrap.host.commands import Command
from bootstrap.host.errors import InputError
from rehearsal.settings import REGISTRY_ADDRESS

if TYPE_CHECKING:
    from bootstrap.host.commands import CommandRunner
    from rehearsal.machine import Machine
    from rehearsal.network import TimeServer
    from rehearsal.settings import LabSettings

FAULTS: Final = {
    "reset": "the machine's reset button is pressed",
    "link-down": "the cable of a machine's first network card is pulled",
    "registry-down": "the registry refuses connections",
    "clock": "the time server is ahead by the seconds given",
}
TABLE: Final = "firstlight"


class Faults:
    """Switches accidents on and off and counts what they did."""

    def __init__(
        self,
        settings: LabSettings,
        runner: CommandRunner,
        time: TimeServer,
        machines: tuple[Machine, ...],
    ) -> None:
        self._nft = settings.programs["nft"]
        self._runner = runner
        self._time = time
        self._machines = machines
        self._resets = 0
        self._links_pulled = 0

    def begin(self, name: str, machine: int, seconds: float) -> None:
        """Let an accident happen.

        Args:
            name: one of `FAULTS`.
            machine: the machine it happens to, from 0, where it happens to one.
            seconds: how far the clock is ahead.

        Raises:
            InputError: there is no such fault, or no such machine.
        """
        match name:
            case "reset":
                self._machine(machine).reset()
                self._resets += 1
            case "link-down":
                self._machine(machine).set_link(0, up=False)
                self._links_pulled += 1
            case "registry-down":
                self._run(
                    f"add table inet {TABLE}; add chain inet {TABLE} input {{ type filter hook input priority 0; }}"
                )
                rule = f"ip daddr {REGISTRY_ADDRESS} tcp dport 443 counter reject with tcp reset"
                self._run(f"add rule inet {TABLE} input {rule}")
            case "clock":
                self._time.shift(seconds)
            case _:
                raise _unknown(name)

    def end(self, name: str, machine: int) -> int:
        """Mend what was broken.

        Returns:
            How often the accident was felt: packets refused, answers falsified, resets or cables pulled.
        """
        fired = self.fired(name)
        match name:
            case "link-down":
                self._machine(machine).set_link(0, up=True)
            case "registry-down":
                self._run(f"add table inet {TABLE}; delete table inet {TABLE}")
            case "clock":
                self._time.shift(0.0)
        return fired

    def _machine(self, number: int) -> Machine:
        if number not in range(len(self._machines)):
            raise InputError(f"there is no machine {number}", cause=f"{len(self._machines)} are there, counted from 0")
        return self._machines[number]

    def fired(self, name: str) -> int:
        """How often an accident was felt so far."""
        match name:
            case "reset":
                return self._resets
            case "link-down":
                return self._links_pulled
            case "clock":
                return self._time.answered_shifted
            case "registry-down":
                return self._refused()
            case _:
                raise _unknown(name)

    def _refused(self) -> int:
        command = Command(self._nft, ("--json", "list", "ruleset"), timeout=10)  # netlink answers at once
        rules = [entry["rule"] for entry in json.loads(self._runner.run(command).text)["nftables"] if "rule" in entry]
        counters = [part["counter"]["packets"] for rule in rules for part in rule["expr"] if "counter" in part]
        return sum(int(packets) for packets in counters)

    def _run(self, script: str) -> None:
        self._runner.run(Command(self._nft, (script,), timeout=10))  # netlink answers at once


def _unknown(name: str) -> InputError:
    return InputError(f"there is no fault {name!r}", cause=f"known faults: {', '.join(FAULTS)}")
