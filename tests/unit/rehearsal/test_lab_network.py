"""The network's servers: what dnsmasq is told and what the time server answers."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import Command
from bootstrap.host.errors import InputError
from rehearsal.network import (
    NTP_EPOCH,
    NTP_PACKET,
    Network,
    TimeServer,
    dnsmasq_arguments,
    leases,
    other_mac,
    write_resolver,
)
from tests.unit.rehearsal.bench import MACHINE, make_settings, runner, system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rehearsal.settings import LabSettings


@pytest.fixture
def settings(tmp_path: Path) -> LabSettings:
    return make_settings(tmp_path, tmp_path, {"ip": system("ip"), "nft": system("nft")})


def test_dnsmasq_takes_the_arguments(settings: LabSettings) -> None:
    settings.folder.mkdir(parents=True)
    said = runner().run(Command(system("dnsmasq"), ("--test", *dnsmasq_arguments(settings))))
    assert b"syntax check OK" in said.stderr


def test_every_name_of_the_lab_resolves_and_nothing_else(settings: LabSettings) -> None:
    arguments = dnsmasq_arguments(settings)
    for wanted in (
        "--address=/lab-k8s.monosense.io/10.25.13.11", "--address=/ghcr.io/198.18.0.2", "--address=/quay.io/198.18.0.2",
        "--address=/registry.k8s.io/198.18.0.2", "--address=/gcr.io/198.18.0.2", "--address=/docker.io/198.18.0.2",
        "--address=/github.com/198.18.0.3", "--address=/helm.cilium.io/198.18.0.3", "--address=/#/",
        "--address=/opconnect.monosense.dev/198.18.0.4", "--address=/time.cloudflare.com/198.18.0.5",
        "--address=/discovery.talos.dev/198.18.0.6",
        "--dhcp-host=52:54:00:13:00:11,50:54:00:13:00:11,10.25.13.111",
        "--dhcp-option=option:router,10.25.13.1", "--no-resolv",
    ):  # fmt: skip
        assert wanted in arguments


def test_the_resolver_asks_the_gateway(settings: LabSettings) -> None:
    settings.folder.mkdir(parents=True)
    assert write_resolver(settings).read_text().startswith("nameserver 10.25.13.1\n")


def test_every_card_gets_a_tap(settings: LabSettings) -> None:
    second = replace(MACHINE, name="lab-02", macs=("52:54:00:13:00:12",))
    network = Network(replace(settings, machines=(MACHINE, second)), runner())
    assert [network.taps(machine) for machine in (0, 1)] == [["tap0-0", "tap0-1"], ["tap1-0"]]


def test_a_lab_without_lacp_has_no_partner_to_take_away(settings: LabSettings) -> None:
    with pytest.raises(InputError, match="no bond of this lab wants a partner"):
        Network(settings, runner()).set_partner(0, present=False)


@pytest.mark.parametrize("mac", ["f8:f2:1e:20:57:10", "52:54:00:13:00:11"])
def test_another_hardware_address_is_another_one_of_a_single_card(mac: str) -> None:
    other = other_mac(mac)
    assert other != mac
    assert other_mac(other) == mac
    # The lowest bit would make it an address of many cards.
    assert int(other[:2], 16) % 2 == int(mac[:2], 16) % 2


@pytest.mark.parametrize(
    ("network", "first", "last"),
    [
        ("10.25.13.0/24", "10.25.13.160", "10.25.13.207"),
        ("10.25.12.0/23", "10.25.13.64", "10.25.13.159"),
        ("10.25.13.64/26", "10.25.13.104", "10.25.13.115"),
        ("10.25.13.0/29", "10.25.13.5", "10.25.13.5"),
    ],
)
def test_leases_fit_into_any_network(settings: LabSettings, network: str, first: str, last: str) -> None:
    assert leases(network) == (first, last)
    arguments = dnsmasq_arguments(replace(settings, network=network))
    (asked,) = [argument for argument in arguments if argument.startswith("--dhcp-range=")]
    assert asked.startswith(f"--dhcp-range={first},{last},255.255.")
    settings.folder.mkdir(parents=True)
    runner().run(Command(system("dnsmasq"), ("--test", *arguments)))


# time ----------------------------------------------------------------------------------------------------------

QUESTION = struct.pack("!B39xQ", 0x23, 0xDEADBEEF)


class Asker:
    """A time server on a port of 127.0.0.1 and who asks it."""

    def __init__(self, question: socket.socket) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self._place = probe.getsockname()
        self.server = TimeServer(*self._place)
        self.server.start()
        self._question = question

    def send(self, words: bytes) -> None:
        self._question.sendto(words, self._place)

    def ask(self) -> tuple[int, int, float, int]:
        """First byte, stratum, transmitted Unix time, and the asker's own time stamp as it came back."""
        self.send(QUESTION)
        packet = self._question.recv(1024)
        assert len(packet) == NTP_PACKET
        head, stratum, origin, seconds, fraction = struct.unpack("!BB22xQ8xII", packet)
        return head, stratum, seconds - NTP_EPOCH + fraction / 2**32, origin


@pytest.fixture
def asker() -> Iterator[Asker]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as question:
        question.settimeout(10)  # answered by a thread of this very process
        yield Asker(question)


def test_the_answer_is_one_of_rfc_5905(asker: Asker) -> None:
    before = time.time()
    head, stratum, now, origin = asker.ask()
    assert (head >> 6, head >> 3 & 7, head & 7) == (0, 4, 4)  # no leap warning, version 4, server
    assert stratum == 1
    assert before - 0.001 <= now <= time.time() + 0.001
    assert origin == 0xDEADBEEF


def test_a_shifted_clock_lies_and_counts(asker: Asker) -> None:
    asker.ask()
    assert asker.server.answered_shifted == 0
    asker.server.shift(-3600.5)
    before = time.time()
    assert before - 3600.6 <= asker.ask()[2] <= time.time() - 3600.4
    asker.ask()
    assert asker.server.answered_shifted == 2
    asker.server.shift(0)
    asker.ask()
    assert asker.server.answered_shifted == 0


def test_a_clock_beyond_2036_wraps(asker: Asker) -> None:
    asker.server.shift(20 * 365 * 86400)
    before = time.time() + 20 * 365 * 86400
    assert (asker.ask()[2] - before) % 2**32 < 1


def test_a_packet_that_is_no_question_is_left_alone(asker: Asker) -> None:
    asker.send(b"hello")
    assert asker.ask()[0] == 0x24
