"""Typed access to a raw inventory document, for rules that must work where other fields are malformed."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.host.yaml_io import Yaml
    from inventory.findings import Location


class Pool(NamedTuple):
    """A range of addresses.

    Attributes:
        place: where it stands.
        start: the first address.
        stop: the last one.
    """

    place: Location
    start: IPv4Address
    stop: IPv4Address

    def __str__(self) -> str:
        """First and last address."""
        return f"{self.start}-{self.stop}"

    def holds(self, address: IPv4Address) -> bool:
        """Whether the address is one of it."""
        return self.start <= address <= self.stop

    def overlaps(self, start: IPv4Address, stop: IPv4Address) -> bool:
        """Whether it has an address in common with the range."""
        return self.start <= stop and start <= self.stop


class View:
    """A raw document: what is missing or malformed is None."""

    def __init__(self, document: Yaml) -> None:
        self._document = document

    def value(self, *location: str | int) -> Yaml:
        """What stands there, as it is."""
        found: Yaml = self._document
        for part in location:
            if isinstance(found, dict) and isinstance(part, str):
                found = found.get(part)
            elif isinstance(found, list) and isinstance(part, int) and part < len(found):
                found = found[part]
            else:
                return None
        return found

    def text(self, *location: str | int) -> str | None:
        """A text."""
        found = self.value(*location)
        return found if isinstance(found, str) else None

    def number(self, *location: str | int) -> int | None:
        """A whole number."""
        found = self.value(*location)
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def address(self, *location: str | int) -> IPv4Address | None:
        """An IPv4 address."""
        try:
            return IPv4Address(self.text(*location) or "")
        except ValueError:
            return None

    def network(self, *location: str | int) -> IPv4Network | None:
        """An IPv4 network."""
        try:
            return IPv4Network(self.text(*location) or "")
        except ValueError:
            return None

    def items(self, *location: str | int) -> Iterator[Location]:
        """The places of a list's items."""
        found = self.value(*location)
        for index in range(len(found) if isinstance(found, list) else 0):
            yield (*location, index)

    def texts(self, *location: str | int) -> Iterator[tuple[Location, str]]:
        """The texts of a list, each with its place."""
        for place in self.items(*location):
            found = self.text(*place)
            if found is not None:
                yield place, found

    def node_texts(self, key: str) -> Iterator[tuple[Location, str]]:
        """The texts under one key of every node, each with its place."""
        for node in self.items("nodes"):
            found = self.text(*node, key)
            if found is not None:
                yield (*node, key), found

    def macs(self) -> Iterator[tuple[Location, str]]:
        """The hardware addresses of every node, each with its place."""
        for node in self.items("nodes"):
            yield from self.texts(*node, "macs")

    def node_addresses(self) -> Iterator[tuple[Location, IPv4Address]]:
        """The nodes' addresses; a maintenance address where it is another one than the node's own."""
        for node in self.items("nodes"):
            own, before = self.address(*node, "address"), self.address(*node, "maintenanceAddress")
            if own is not None:
                yield (*node, "address"), own
            if before is not None and before != own:
                yield (*node, "maintenanceAddress"), before

    def own_addresses(self) -> Iterator[tuple[Location, IPv4Address]]:
        """What the cluster's machines answer at: the nodes' addresses and the virtual IP."""
        yield from self.node_addresses()
        virtual = self.address("virtualIP")
        if virtual is not None:
            yield ("virtualIP",), virtual

    def fixed_addresses(self) -> Iterator[tuple[Location, IPv4Address]]:
        """`own_addresses` and the gateway."""
        gateway = self.address("networks", "gateway")
        yield from self.node_addresses()
        if gateway is not None:
            yield ("networks", "gateway"), gateway
        yield from (each for each in self.own_addresses() if each[0] == ("virtualIP",))

    def pools(self) -> Iterator[Pool]:
        """The pools whose both ends are addresses in order."""
        for place in self.items("pools"):
            start, stop = self.address(*place, "start"), self.address(*place, "stop")
            if start is not None and stop is not None and start <= stop:
                yield Pool(place, start, stop)

    def endpoint(self) -> tuple[str, int] | None:
        """Host and port of the Kubernetes API."""
        try:
            parts = urlsplit(self.text("endpoint") or "")
            host, port = parts.hostname, parts.port
        except ValueError:
            return None
        return (host, port) if host and port else None

    def roles(self) -> list[str | None]:
        """The role of each node."""
        return [self.text(*node, "role") for node in self.items("nodes")]
