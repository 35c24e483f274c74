"""Rules over the nodes: names, ports, disks, and the etcd that the control planes form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from inventory.findings import Finding, Location, dotted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from inventory.view import View

# The inventory gives a virtual machine's memory in MiB, what a machine must have in GiB.
MIB_PER_GIB: Final = 1024


def duplicates(values: Iterable[tuple[Location, object]]) -> Iterator[Finding]:
    """A finding for every value that stood before, at its second place."""
    seen: dict[object, Location] = {}
    for place, value in values:
        if value in seen:
            yield Finding(place, f'`{dotted(place)}`: "{value}" stands also in `{dotted(seen[value])}`')
        seen.setdefault(value, place)


def _duplicate_names(view: View) -> Iterator[Finding]:
    yield from duplicates(view.node_texts("name"))


def _duplicate_addresses(view: View) -> Iterator[Finding]:
    yield from duplicates(view.fixed_addresses())


def _duplicate_macs(view: View) -> Iterator[Finding]:
    yield from duplicates(view.macs())


def _macs_of_ports(view: View) -> Iterator[Finding]:
    for place, mac in view.macs():
        first = mac.partition(":")[0]
        # The lowest bit of the first byte marks a group (IEEE 802); no port has such an address.
        if mac == "00:00:00:00:00:00" or (first[1:] and first[1] in "13579bdf"):
            yield Finding(place, f'`{dotted(place)}`: "{mac}" is the address of no port')


def _links_of_ports(view: View) -> Iterator[Finding]:
    for node in view.items("nodes"):
        links, macs = view.value(*node, "links"), view.value(*node, "macs")
        yield from duplicates(view.texts(*node, "links"))
        if isinstance(links, list) and links and isinstance(macs, list) and len(links) != len(macs):
            place = (*node, "links")
            yield Finding(place, f"`{dotted(place)}`: {len(links)} names for {len(macs)} ports in `macs`")


def _one_disk(view: View) -> Iterator[Finding]:
    for node in view.items("nodes"):
        if not isinstance(view.value(*node), dict):
            continue
        disk, selector = view.value(*node, "disk"), view.value(*node, "diskSelector")
        if disk is None and selector is None:
            yield Finding(node, f"`{dotted(node)}` names neither `disk` nor `diskSelector`")
        elif disk is not None and selector is not None:
            place = (*node, "diskSelector")
            yield Finding(place, f"`{dotted(place)}`: `disk` names the disk already")
        elif selector == {}:
            place = (*node, "diskSelector")
            yield Finding(place, f"`{dotted(place)}` asks for nothing; any disk would do")


def _control_planes(view: View) -> Iterator[Finding]:
    roles = view.roles()
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
    nodes = {view.text(*node, "name"): node for node in view.items("nodes")}
    if wanted is None or not nodes:
        return
    place = ("bootstrapNode",)
    if wanted not in nodes:
        yield Finding(place, f'`bootstrapNode`: there is no node "{wanted}"')
    elif view.text(*nodes[wanted], "role") == "worker":
        yield Finding(place, f'`bootstrapNode`: "{wanted}" is not a control plane')
    elif view.value(*nodes[wanted], "absent") is True:
        yield Finding(place, f'`bootstrapNode`: "{wanted}" is absent; name a control plane that is there')


def _majority(view: View) -> Iterator[Finding]:
    planes = [node for node in view.items("nodes") if view.text(*node, "role") == "controlplane"]
    there = [node for node in planes if view.value(*node, "absent") is not True]
    if len(there) * 2 <= len(planes):
        away = f"`nodes`: {len(planes) - len(there)} of {len(planes)} control planes are absent"
        if planes:
            yield Finding(("nodes",), f"{away}; etcd wants a majority")


def _machines_where_virtual(view: View) -> Iterator[Finding]:
    virtual = view.value("virtual")
    for node in view.items("nodes"):
        machine, place = view.value(*node, "machine"), (*node, "machine")
        if virtual is True and machine is None:
            yield Finding(node, f"`{dotted(node)}.machine` is missing; a virtual cluster needs it")
        if virtual is False and machine is not None:
            yield Finding(place, f"`{dotted(place)}` is for virtual clusters; this one is real")


def _virtual_machines_suffice(view: View) -> Iterator[Finding]:
    for node in view.items("nodes"):
        for key, factor, unit in (("memory", MIB_PER_GIB, " MiB"), ("cpus", 1, "")):
            wanted, given = view.number(*node, "hardware", key), view.number(*node, "machine", key)
            if wanted is not None and given is not None and given < wanted * factor:
                place = (*node, "machine", key)
                text = f"{given}{unit} is less than the {wanted * factor}{unit} that `hardware` wants"
                yield Finding(place, f"`{dotted(place)}`: {text}")


RULES: Final[tuple[Callable[[View], Iterator[Finding]], ...]] = (
    _duplicate_names,
    _duplicate_addresses,
    _duplicate_macs,
    _macs_of_ports,
    _links_of_ports,
    _one_disk,
    _control_planes,
    _bootstrap_node,
    _majority,
    _machines_where_virtual,
    _virtual_machines_suffice,
)
