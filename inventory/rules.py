"""Rules over more than one field of an inventory file.

They read the raw document and pass over what is not well formed, so that they find something even where the
form of another field is wrong: everything is reported at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.host.yaml_io import Yaml

Location: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, by the path of keys and indices that leads to it."""

    location: Location
    text: str


def dotted(location: Location) -> str:
    """The path as people write it, for example `nodes[0].address`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def check(document: Yaml, *, stem: str) -> tuple[Finding, ...]:
    """Every finding of every rule.

    Args:
        document: the file's content.
        stem: the file's name without its suffix.
    """
    view = View(document)
    named = view.text("name")
    findings = [finding for rule in RULES for finding in rule(view)]
    if named is not None and named != stem:
        findings.insert(0, Finding(("name",), f'`name` is "{named}" but the file is {stem}.yaml'))
    return tuple(findings)


class View:
    """Typed access to a raw document: what is missing or malformed is None."""

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


def _duplicate_names(view: View) -> Iterator[Finding]:
    places = [(*node, "name") for node in view.items("nodes")]
    yield from _duplicates((place, view.text(*place)) for place in places)


def _duplicate_addresses(view: View) -> Iterator[Finding]:
    places: list[tuple[Location, IPv4Address | None]] = []
    for node in view.items("nodes"):
        own = view.address(*node, "address")
        places.append(((*node, "address"), own))
        before = view.address(*node, "maintenanceAddress")
        if before != own:
            places.append(((*node, "maintenanceAddress"), before))
    places.append((("networks", "gateway"), view.address("networks", "gateway")))
    yield from _duplicates(iter(places))


def _duplicate_macs(view: View) -> Iterator[Finding]:
    places = [place for node in view.items("nodes") for place in view.items(*node, "macs")]
    yield from _duplicates((place, view.text(*place)) for place in places)


def _duplicates(values: Iterator[tuple[Location, object]]) -> Iterator[Finding]:
    seen: dict[object, Location] = {}
    for place, value in values:
        if value is None:
            continue
        if value in seen:
            yield Finding(place, f'`{dotted(place)}`: "{value}" stands also in `{dotted(seen[value])}`')
        seen.setdefault(value, place)


def _addresses_in_node_network(view: View) -> Iterator[Finding]:
    network = view.network("networks", "nodes")
    places: list[Location] = [("networks", "gateway")]
    places += [(*node, key) for node in view.items("nodes") for key in ("address", "maintenanceAddress")]
    for place in places:
        address = view.address(*place)
        if network is None or address is None:
            continue
        if address not in network:
            yield Finding(place, f"`{dotted(place)}`: {address} is outside the node network {network}")
        elif address in {network.network_address, network.broadcast_address}:
            yield Finding(place, f"`{dotted(place)}`: {address} is not a host address of {network}")


def _disjoint_networks(view: View) -> Iterator[Finding]:
    for one, other in combinations(("nodes", "pods", "services"), 2):
        first, second = view.network("networks", one), view.network("networks", other)
        if first and second and first.overlaps(second):
            yield Finding(("networks", other), f"`networks.{other}`: {second} overlaps `networks.{one}` {first}")


def _coredns_in_services(view: View) -> Iterator[Finding]:
    services, address = view.network("networks", "services"), view.address("networks", "coredns")
    if services is None or address is None:
        return
    place = ("networks", "coredns")
    if address not in services:
        yield Finding(place, f"`networks.coredns`: {address} is outside the service network {services}")
    elif address == services.network_address + 1:
        # Kubernetes gives the first address to the Service `kubernetes`.
        yield Finding(place, f"`networks.coredns`: {address} belongs to the API server's own Service")


def _control_planes(view: View) -> Iterator[Finding]:
    roles = [view.text(*node, "role") for node in view.items("nodes")]
    count = roles.count("controlplane")
    if not set(roles) <= {"controlplane", "worker"}:
        return
    if roles and count == 0:
        yield Finding(("nodes",), "`nodes`: there is no control plane")
    elif count and count % 2 == 0:
        # etcd needs a majority: an even member adds a machine that can fail and no failure that can be borne.
        yield Finding(("nodes",), f"`nodes`: {count} control planes; etcd wants an odd number")


def _bootstrap_node(view: View) -> Iterator[Finding]:
    wanted = view.text("bootstrapNode")
    roles = {view.text(*node, "name"): view.text(*node, "role") for node in view.items("nodes")}
    if wanted is None or not roles:
        return
    if wanted not in roles:
        yield Finding(("bootstrapNode",), f'`bootstrapNode`: there is no node "{wanted}"')
    elif roles[wanted] == "worker":
        yield Finding(("bootstrapNode",), f'`bootstrapNode`: "{wanted}" is not a control plane')


def _machines_where_virtual(view: View) -> Iterator[Finding]:
    virtual = view.value("virtual")
    for node in view.items("nodes"):
        machine = view.value(*node, "machine")
        if virtual is True and machine is None:
            yield Finding(node, f"`{dotted(node)}.machine` is missing; a virtual cluster needs it")
        if virtual is False and machine is not None:
            place = (*node, "machine")
            yield Finding(place, f"`{dotted(place)}` is for virtual clusters; this one is real")


def _references_fit_provider(view: View) -> Iterator[Finding]:
    provider = view.text("secrets", "provider")
    for key in ("talosBundle", "connectToken"):
        reference = view.text("secrets", key)
        if reference is not None and reference.startswith("op://") and provider in {"env", "file"}:
            yield Finding(
                ("secrets", key),
                f"`secrets.{key}`: nobody answers op:// references when the provider is {provider}",
            )


def _deadlines_after_targets(view: View) -> Iterator[Finding]:
    budgets = view.value("budgets")
    for name in budgets if isinstance(budgets, dict) else ():
        target = view.number("budgets", name, "target")
        deadline = view.number("budgets", name, "deadline")
        if target is not None and deadline is not None and deadline < target:
            place = ("budgets", name, "deadline")
            yield Finding(place, f"`{dotted(place)}`: {deadline} s is before the target of {target} s")


RULES: Final[tuple[Callable[[View], Iterator[Finding]], ...]] = (
    _duplicate_names,
    _duplicate_addresses,
    _duplicate_macs,
    _addresses_in_node_network,
    _disjoint_networks,
    _coredns_in_services,
    _control_planes,
    _bootstrap_node,
    _machines_where_virtual,
    _references_fit_provider,
    _deadlines_after_targets,
)
