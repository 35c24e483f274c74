"""A bond as the kernel shows it in `/proc/net/bonding/<name>` (Linux, drivers/net/bonding/bond_procfs.c)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# The mode as Talos names it, and as the file begins its text for it.
LACP: Final = "802.3ad"
_LACP_TEXT: Final = "IEEE 802.3ad"
# What a member without a partner has in place of the partner's address.
NO_PARTNER: Final = "00:00:00:00:00:00"


@dataclass(frozen=True)
class Member:
    """A port of a bond.

    Attributes:
        name: for example enp1s0f0np0.
        up: whether the bond counts its link as up.
        speed: as the kernel prints it, for example `10000 Mbps`; may be `Unknown`.
        permanent_address: hardware address that the port was made with.
        aggregator: number of the group that it is in; empty outside of LACP.
        partner: system address of the switch that it talks LACP with; empty where the kernel does not show it.
    """

    name: str
    up: bool
    speed: str
    permanent_address: str
    aggregator: str
    partner: str


@dataclass(frozen=True)
class Bond:
    """A bond and its members."""

    mode: str
    members: tuple[Member, ...]

    @property
    def speaks_lacp(self) -> bool:
        """Whether the members find their group by LACP."""
        return self.mode.startswith(_LACP_TEXT)


def parse(content: str) -> Bond:
    """Read the kernel's text; what is missing there is empty here."""
    head, *members = content.split("\nSlave Interface: ")
    return Bond(_fields(head).get("Bonding Mode", ""), tuple(_member(each) for each in members))


def _member(content: str) -> Member:
    name, _, rest = content.partition("\n")
    own, _, partner = rest.partition("details partner lacp pdu:")
    fields = _fields(own)
    return Member(
        name=name.strip(),
        up=fields.get("MII Status") == "up",
        speed=fields.get("Speed", ""),
        permanent_address=fields.get("Permanent HW addr", "").lower(),
        aggregator=fields.get("Aggregator ID", ""),
        partner=_fields(partner).get("system mac address", "").lower(),
    )


def _fields(content: str) -> dict[str, str]:
    pairs = (line.partition(": ") for line in content.splitlines() if ": " in line)
    return {key.strip(): value.strip() for key, _, value in pairs}
