"""What a node makes of a name, read from how it fails to get the time there.

Talos resolves no name on request, but it asks any host for the time (`talosctl time --check`), in its own network and
with its own name servers. A host without a time server refuses at once, and the error says which address was asked
(Talos v1.11.5, v1alpha1_time.go, TimeCheck; the texts are those of Go's package net).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

_ASKED: Final = re.compile(
    r"(?:->|dial udp )(?P<address>\d+\.\d+\.\d+\.\d+):\d+: (?:(?:read|connect): )?(?P<said>[^\n]+)"
)
_UNKNOWN: Final = re.compile(r"lookup [^\n]+")
# What a kernel says that has no way to an address, or found nobody who has it on its own network.
_AWAY: Final = re.compile(r"no route to host|host is down|(?:host|network) is unreachable")


@dataclass(frozen=True)
class Way:
    """A node's way to a host.

    Attributes:
        address: what the name is there; None where it is unknown, or the node did not say it.
        resolves: whether the name is known there.
        is_there: false where the node found nobody at the address; None where it cannot tell, because who is there
            drops what nobody asked for.
        said: the node's own words.
    """

    address: IPv4Address | None
    resolves: bool
    is_there: bool | None
    said: str


def read(text: str) -> Way:
    """The way to a host that did not give the time, from what talosctl said."""
    # A name server that does not answer is named like a host that was asked.
    if unknown := _UNKNOWN.search(text):
        return Way(None, resolves=False, is_there=False, said=unknown[0].strip())
    if asked := _ASKED.search(text):
        said = asked["said"].strip()
        return Way(IPv4Address(asked["address"]), resolves=True, is_there=_is_there(said), said=said)
    said = " ".join(text.split())
    return Way(None, resolves=True, is_there=_is_there(said), said=said)


def _is_there(said: str) -> bool | None:
    # To refuse is to be there.
    return True if "connection refused" in said else False if _AWAY.search(said) else None
