"""A node's way to a host, in the words of Go's package net and of the Linux kernel."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.secret import Secret
from talos.client import Talosctl
from talos.errors import Kind, TalosError
from talos.lookup import Way, read
from tests.unit.talos.recorded import Recording, Replay

if TYPE_CHECKING:
    from collections.abc import Callable

NODE, CONFIG, HOST = "10.5.0.11", Secret(b"", "talosconfig"), "k8s.example.org"
TO = "read udp 10.5.0.11:42879->10.5.0.1:123: read"
THERE = IPv4Address("10.5.0.1")


@pytest.mark.parametrize(
    ("said", "way"),
    [
        (f"{TO}: connection refused", Way(THERE, resolves=True, is_there=True, said="connection refused")),
        (f"{TO}: no route to host", Way(THERE, resolves=True, is_there=False, said="no route to host")),
        (f"{TO}: network is unreachable", Way(THERE, resolves=True, is_there=False, said="network is unreachable")),
        # A firewall drops what nobody asked for.
        (f"{TO[:-6]}: i/o timeout", Way(THERE, resolves=True, is_there=None, said="i/o timeout")),
        (
            f"lookup {HOST} on 10.5.0.1:53: no such host",
            Way(None, resolves=False, is_there=False, said=f"lookup {HOST} on 10.5.0.1:53: no such host"),
        ),
        (
            f"lookup {HOST} on 10.5.0.1:53: read udp 10.5.0.11:9->10.5.0.1:53: i/o timeout",
            Way(
                None, resolves=False, is_there=False,
                said=f"lookup {HOST} on 10.5.0.1:53: read udp 10.5.0.11:9->10.5.0.1:53: i/o timeout",
            ),
        ),
        # Where there is no route at all nobody is asked.
        (
            "dial udp 10.9.0.1:123: connect: network is unreachable",
            Way(IPv4Address("10.9.0.1"), resolves=True, is_there=False, said="network is unreachable"),
        ),
    ],
)  # fmt: skip
def test_how_a_time_server_does_not_answer_says_what_the_name_is(said: str, way: Way) -> None:
    text = f'rpc error: code = Unknown desc = error querying NTP server "{HOST}": {said}\n\n'
    found = read(text)
    assert found == way


def test_a_real_node_says_which_address_it_asked(replay: Callable[[str], tuple[Talosctl, Replay]]) -> None:
    client, asked = replay("05-before-bootstrap-no-ntp-time")
    assert client.way_to(NODE, CONFIG, HOST) == Way(THERE, resolves=True, is_there=True, said="connection refused")
    assert [word for word in asked.asked[0].arguments if isinstance(word, str)][:2] == ["time", f"--check={HOST}"]


def test_a_host_with_a_time_server_is_there(replay: Callable[[str], tuple[Talosctl, Replay]]) -> None:
    client, _ = replay("09-running-time")
    assert client.way_to(NODE, CONFIG, HOST) == Way(None, resolves=True, is_there=True, said="it gives the time")


def test_a_node_that_does_not_answer_says_nothing_of_the_host() -> None:
    refused = Recording(1, "", "rpc error: dial tcp 10.5.0.11:50000: connect: connection refused")
    with pytest.raises(TalosError) as caught:
        Talosctl(Path("/bin/talosctl"), Replay([refused])).way_to(NODE, CONFIG, HOST)
    assert caught.value.kind is Kind.REFUSED
