"""The network inside the lab's namespaces: bridge or switch, addresses, DHCP, DNS, and a time server that can lie."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from bootstrap.host.commands import Command
from bootstrap.host.errors import InputError
from rehearsal.settings import (
    CONNECT_ADDRESS,
    CONNECT_NAMES,
    DISCOVERY_ADDRESS,
    DISCOVERY_NAME,
    FIRST_RESOLVERS,
    REGISTRY_ADDRESS,
    REGISTRY_NAMES,
    TIME_ADDRESS,
    WEB_ADDRESS,
)
from rehearsal.switch import Switch

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.commands import ShCommandRunner
    from rehearsal.settings import LabSettings

BRIDGE = "lab0"
# Seconds between the epochs of NTP (1900) and Unix (1970), RFC 5905.
NTP_EPOCH = 2_208_988_800
NTP_PORT = 123
# An NTP packet without extensions, RFC 5905 section 7.3.
NTP_PACKET = 48


def tap_name(machine: int, card: int) -> str:
    """The tap of a machine's network card; both counted from 0."""
    return f"tap{machine}-{card}"


def other_mac(mac: str) -> str:
    """The hardware address of the machine that stands in another's place; DHCP gives it the same address."""
    first, _, rest = mac.partition(":")
    # The bit of an address that no manufacturer gave (IEEE 802); one that has it already loses it.
    return f"{int(first, 16) ^ 0x02:02x}:{rest}"


def bond_name(machine: int) -> str:
    """The switch's bond with the cards of a machine, counted from 0."""
    return f"bond{machine}"


class Network:
    """The interfaces, made by `ip`: the kernel's bridge, or a switch where bonds want a partner."""

    def __init__(self, settings: LabSettings, runner: ShCommandRunner) -> None:
        self._settings = settings
        self._runner = runner
        self._ip = settings.programs["ip"]
        self._switch = Switch(BRIDGE, settings.folder / "switch", settings.programs, runner) if settings.lacp else None

    def make(self) -> None:
        """Bridge with the gateway's address, the internet's addresses, one tap per network card.

        Raises:
            FirstlightError: an interface cannot be made, or the switch does not start.
        """
        prefix = ipaddress.ip_network(self._settings.network).prefixlen
        self._run("link", "set", "lo", "up")
        if self._switch:
            self._switch.start()
        else:
            self._run("link", "add", BRIDGE, "type", "bridge")
        self._run("addr", "add", f"{self._settings.gateway}/{prefix}", "dev", BRIDGE)
        served = (REGISTRY_ADDRESS, WEB_ADDRESS, CONNECT_ADDRESS, TIME_ADDRESS, DISCOVERY_ADDRESS)
        for address in (*served, *FIRST_RESOLVERS):
            self._run("addr", "add", f"{address}/32", "dev", "lo")
        self._run("link", "set", BRIDGE, "up")
        for machine in range(len(self._settings.machines)):
            self._connect(machine)

    def taps(self, machine: int) -> list[str]:
        """The taps of a machine, in the order of its cards."""
        return [tap_name(machine, card) for card in range(len(self._settings.machines[machine].macs))]

    def set_partner(self, machine: int, *, present: bool) -> None:
        """Have the switch answer a machine's LACP, or not.

        Raises:
            InputError: the lab's bonds want no partner.
        """
        if self._switch is None:
            raise InputError("no bond of this lab wants a partner", cause="its machine configuration has no 802.3ad")
        change = self._switch.connect if present else self._switch.disconnect_partner
        change(bond_name(machine), self.taps(machine))

    def end(self) -> None:
        """End the switch; the interfaces go with the namespaces."""
        if self._switch:
            self._switch.end()

    def _connect(self, machine: int) -> None:
        for tap in self.taps(machine):
            self._run("tuntap", "add", "dev", tap, "mode", "tap")
            self._run("link", "set", tap, "mtu", str(self._settings.mtu), "up")
            if self._switch:
                # The switch only reads along: the host would answer a machine's ARP as well, with the tap's address,
                # and what is then sent to that address over the other tap is for nobody.
                self._run("link", "set", tap, "arp", "off")
            else:
                self._run("link", "set", tap, "master", BRIDGE)
        if self._switch:
            self._switch.connect(bond_name(machine), self.taps(machine))

    def _run(self, *arguments: str) -> None:
        # Netlink answers at once; ten seconds mean that the machine is stuck.
        self._runner.run(Command(self._ip, arguments, timeout=10))


def leases(network: str) -> tuple[str, str]:
    """First and last address that DHCP gives to network cards of which it is told nothing.

    Args:
        network: with prefix.
    """
    addresses = ipaddress.ip_network(network)
    # Operators count nodes from the bottom, gateways and virtual addresses from the top: of 256 these are 160 to 207.
    first, behind = addresses.num_addresses * 5 // 8, addresses.num_addresses * 13 // 16
    return str(addresses[first]), str(addresses[max(first, behind - 1)])


def dnsmasq_arguments(settings: LabSettings) -> tuple[str, ...]:
    """The arguments that make dnsmasq the lab's DHCP and DNS server.

    `--no-daemon` keeps it in the foreground and, unlike `--keep-in-foreground`, leaves user and group alone, which
    an ordinary user's namespace does not allow to change.
    """
    network = ipaddress.ip_network(settings.network)
    first, last = leases(settings.network)
    addresses = {
        settings.endpoint[0]: settings.endpoint[1],
        settings.git_host: WEB_ADDRESS,
        **dict.fromkeys(settings.chart_hosts, WEB_ADDRESS),
        **dict.fromkeys(REGISTRY_NAMES, REGISTRY_ADDRESS),
        **dict.fromkeys(CONNECT_NAMES, CONNECT_ADDRESS),
        **dict.fromkeys(settings.time_names, TIME_ADDRESS),
        DISCOVERY_NAME: DISCOVERY_ADDRESS,
    }
    return (
        "--no-daemon", "--conf-file=/dev/null", f"--interface={BRIDGE}", "--interface=lo", "--bind-interfaces",
        "--no-resolv", "--no-hosts", "--dhcp-authoritative", "--log-facility=-",
        f"--dhcp-leasefile={settings.folder / 'leases'}",
        f"--dhcp-range={first},{last},{network.netmask},12h",
        f"--dhcp-option=option:router,{settings.gateway}", f"--dhcp-option=option:dns-server,{settings.gateway}",
        *(
            f"--dhcp-host={machine.macs[0]},{other_mac(machine.macs[0])},{machine.maintenance_address}"
            for machine in settings.machines
        ),
        *(f"--address=/{name}/{address}" for name, address in sorted(addresses.items())),
        "--address=/#/",
    )  # fmt: skip


class TimeServer:
    """Answers NTP from our own clock, shifted when a fault asks for it.

    Args:
        address: an address of the lab, without prefix.
        port: UDP port.
    """

    def __init__(self, address: str, port: int = NTP_PORT) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self._lock = threading.Lock()
        self._shift = 0.0
        self._answered_shifted = 0

    def start(self) -> None:
        """Answer until the process ends."""
        threading.Thread(target=self._serve, name="time", daemon=True).start()

    def shift(self, seconds: float) -> None:
        """Answer with a clock that is `seconds` ahead; 0 is the truth."""
        with self._lock:
            self._shift = seconds
            self._answered_shifted = 0

    @property
    def answered_shifted(self) -> int:
        """Answers given since the clock was shifted."""
        with self._lock:
            return self._answered_shifted

    def _serve(self) -> None:
        while True:
            question, sender = self._socket.recvfrom(1024)
            if len(question) >= NTP_PACKET:
                with suppress(OSError):  # whoever asked may have lost its link meanwhile
                    self._socket.sendto(self._answer(question), sender)

    def _answer(self, question: bytes) -> bytes:
        with self._lock:
            shift = self._shift
            self._answered_shifted += bool(shift)
        now = _ntp_time(time.time() + shift)
        # leap 0, version 4, mode 4 (server); stratum 1; precision 2^-20 s; root dispersion; reference "LOCL"
        head = struct.pack("!BBbbII4s", 0x24, 1, question[2], -20, 0, 100, b"LOCL")
        return head + now + question[40:48] + now + now


def _ntp_time(seconds: float) -> bytes:
    # Seconds wrap in 2036 (RFC 5905 section 6), and a clock that lies may be there already.
    return struct.pack("!II", (int(seconds) + NTP_EPOCH) % 2**32, int((seconds % 1) * 2**32))


def write_resolver(settings: LabSettings) -> Path:
    """The resolv.conf that is bound over the machine's own inside the lab."""
    path = settings.folder / "resolv.conf"
    path.write_text(f"nameserver {settings.gateway}\noptions timeout:1 attempts:3\n")
    return path
