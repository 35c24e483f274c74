"""Rules between clusters: what two of them must not both have.

They share a network and, by ClusterMesh, each other's pods: an address, an id or a network that two of them claim
leads packets to the wrong one (https://docs.cilium.io/en/v1.18/network/clustermesh/clustermesh/#prerequisites).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from inventory.findings import Finding, Location, dotted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from inventory.view import View


def check(view: View, other: View, source: str) -> tuple[Finding, ...]:
    """Every finding of every rule, about places of the first.

    Args:
        view: the inventory that is read.
        other: the inventory of another cluster.
        source: the other's file, for messages.
    """
    return tuple(finding for rule in RULES for finding in rule(view, other, source))


def _same_values(view: View, other: View, source: str) -> Iterator[Finding]:
    yield from _both(_one(view, "id"), _one(other, "id"), source)
    yield from _both(view.node_texts("name"), other.node_texts("name"), source)
    yield from _both(view.macs(), other.macs(), source)


def _same_bundle(view: View, other: View, source: str) -> Iterator[Finding]:
    mine = view.text("secrets", "talosBundle")
    if mine is not None and mine == other.text("secrets", "talosBundle"):
        # What stands where a reference is wanted may be the secret itself, so it is not shown.
        text = f"the reference of {source}; machines of either cluster would trust the other's administrators"
        yield Finding(("secrets", "talosBundle"), f"`secrets.talosBundle`: {text}")


def _same_addresses(view: View, other: View, source: str) -> Iterator[Finding]:
    yield from _both(view.own_addresses(), other.fixed_addresses(), source)
    gateway = view.address("networks", "gateway")
    if gateway is not None:
        yield from _both([(("networks", "gateway"), gateway)], other.own_addresses(), source)


def _same_endpoint(view: View, other: View, source: str) -> Iterator[Finding]:
    if view.endpoint() is not None and view.endpoint() == other.endpoint():
        yield Finding(("endpoint",), f"`endpoint`: {view.text('endpoint')} is also the endpoint in {source}")


def _same_folder(view: View, other: View, source: str) -> Iterator[Finding]:
    path = view.text("git", "path")
    if path is not None and path == other.text("git", "path") and view.text("git", "url") == other.text("git", "url"):
        yield Finding(("git", "path"), f"`git.path`: {path} is also the folder of the cluster in {source}")


def _networks_apart(view: View, other: View, source: str) -> Iterator[Finding]:
    for one in ("nodes", "pods", "services"):
        for two in ("nodes", "pods", "services"):
            mine, theirs = view.network("networks", one), other.network("networks", two)
            if mine is None or theirs is None or not mine.overlaps(theirs):
                continue
            # The nodes of two clusters may be neighbours in one network.
            if (one, two) != ("nodes", "nodes") or mine != theirs:
                place = ("networks", one)
                yield Finding(place, f"`{dotted(place)}`: {mine} overlaps `networks.{two}` {theirs} of {source}")


def _one_gateway(view: View, other: View, source: str) -> Iterator[Finding]:
    mine, theirs = view.address("networks", "gateway"), other.address("networks", "gateway")
    same = view.network("networks", "nodes") == other.network("networks", "nodes")
    if same and mine is not None and theirs is not None and mine != theirs:
        text = f"{mine} is not the gateway {theirs} that {source} gives for the same network"
        yield Finding(("networks", "gateway"), f"`networks.gateway`: {text}")


def _pools_apart(view: View, other: View, source: str) -> Iterator[Finding]:
    for mine in view.pools():
        for theirs in other.pools():
            if mine.overlaps(theirs.start, theirs.stop):
                where = f"`{dotted(theirs.place)}` {theirs} of {source}"
                yield Finding(mine.place, f"`{dotted(mine.place)}`: {mine} overlaps {where}")
        for place, address in other.own_addresses():
            if mine.holds(address):
                text = f"{mine} holds {address}, which is `{dotted(place)}` of {source}"
                yield Finding(mine.place, f"`{dotted(mine.place)}`: {text}")
    for place, address in view.own_addresses():
        for theirs in other.pools():
            if theirs.holds(address):
                text = f"{address} is in `{dotted(theirs.place)}` {theirs} of {source}"
                yield Finding(place, f"`{dotted(place)}`: {text}")


def _one(view: View, *location: str) -> list[tuple[Location, object]]:
    value = view.value(*location)
    return [(location, value)] if isinstance(value, (str, int)) else []


def _both(
    mine: Iterable[tuple[Location, object]], theirs: Iterable[tuple[Location, object]], source: str
) -> Iterator[Finding]:
    taken = {value: place for place, value in theirs}
    for place, value in mine:
        if value in taken:
            yield Finding(place, f'`{dotted(place)}`: "{value}" stands also in `{dotted(taken[value])}` of {source}')


RULES: Final[tuple[Callable[[View, View, str], Iterator[Finding]], ...]] = (
    _same_values,
    _same_bundle,
    _same_addresses,
    _same_endpoint,
    _same_folder,
    _networks_apart,
    _one_gateway,
    _pools_apart,
)
