"""What a machine in maintenance mode says about itself, and which facts of the inventory follow from it.

Only facts that the inventory marks `unverified` are looked for: what a person confirmed is not changed, and preflight
holds the machine against it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from talos.disks import candidates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bootstrap.host.yaml_io import Yaml
    from inventory.model import Node
    from talos.client import Talosctl
    from talos.resources import Disk, Link

_MIB: Final = 1024


@dataclass(frozen=True)
class Machine:
    """A machine's own words.

    Attributes:
        links: its network links.
        disks: its block devices.
        memory: MiB that are built in.
        threads: logical processors.
        system: manufacturer, product and serial number, for a person to recognise it by.
    """

    links: tuple[Link, ...]
    disks: tuple[Disk, ...]
    memory: int
    threads: int
    system: str


@dataclass(frozen=True)
class Proposal:
    """What follows for one node.

    Attributes:
        facts: values by the inventory's keys; equal to what stands there where that is confirmed.
        left: what a person has to decide, a sentence each.
    """

    facts: Mapping[str, Yaml]
    left: tuple[str, ...]


class _Undecided(Exception):  # noqa: N818 # not an error: a person has to choose
    """A fact that does not follow; the text says why."""


def ask(talosctl: Talosctl, node: Node) -> Machine:
    """Ask the machine of a node, which is in maintenance mode.

    Raises:
        TalosError: no answer, or it is configured already.
    """
    address = str(node.maintenance_address)
    systems = talosctl.get(address, None, "systeminformation")
    words = [one["spec"].get(key, "") for one in systems for key in ("manufacturer", "productName", "serialnumber")]
    return Machine(
        links=talosctl.links(address, None),
        disks=talosctl.disks(address, None),
        memory=talosctl.memory(address, None),
        threads=talosctl.threads(address, None),
        system=" ".join(word for word in words if word),
    )


def propose(node: Node, machine: Machine) -> Proposal:
    """The node's unverified facts, as far as they follow from what its machine says."""
    facts: dict[str, Yaml] = {}
    left: list[str] = []
    for names, look in _LOOKS:
        wanted = node.unverified & names
        if not wanted:
            continue
        try:
            found = look(node, machine)
        except _Undecided as undecided:
            left.append(f"{', '.join(sorted(wanted))}: {undecided}")
        else:
            facts |= {name: found[name] for name in sorted(wanted & found.keys())}
    return Proposal(facts, tuple(left))


def _ports(node: Node, machine: Machine) -> dict[str, Yaml]:
    """The ports of the node's driver, or of the addresses that are confirmed, in the order of their names."""
    every = sorted((link for link in machine.links if link.permanent_address and not link.kind), key=_by_name)
    if "macs" in node.unverified:
        chosen = _of_driver(node, every)
    else:
        known = {link.permanent_address: link for link in every}
        if absent := [mac for mac in node.macs if mac not in known]:
            raise _Undecided(f"it has no port {', '.join(absent)}; it has {_listed(every)}")
        chosen = [known[mac] for mac in node.macs]
    macs: list[Yaml] = [link.permanent_address for link in chosen]
    links: list[Yaml] = [link.name for link in chosen]
    return {"macs": macs, "links": links, "driver": chosen[0].driver}


def _of_driver(node: Node, every: Sequence[Link]) -> list[Link]:
    drivers = {link.driver for link in every} if "driver" in node.unverified else {node.driver}
    fitting = [
        chosen
        for driver in sorted(drivers)
        for ports in [[link for link in every if link.driver == driver]]
        # A card may have more ports than are cabled.
        for chosen in [ports if len(ports) == len(node.macs) else [link for link in ports if link.up]]
        if len(chosen) == len(node.macs)
    ]
    if len(fitting) != 1:
        of = f"{len(node.macs)} ports of driver {node.driver}" if len(drivers) == 1 else f"{len(node.macs)} ports"
        raise _Undecided(f"{of} are wanted; it has {_listed(every)}")
    return fitting[0]


def _by_name(link: Link) -> list[tuple[int, str]]:
    """`enp1s0f10` after `enp1s0f9`."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", link.name)]


def _listed(links: Sequence[Link]) -> str:
    shown = (f"{one.permanent_address} ({one.name}, {one.driver}, {'up' if one.up else 'down'})" for one in links)
    return ", ".join(shown) or "none"


def _disk(node: Node, machine: Machine) -> dict[str, Yaml]:
    """The disk that stands in the inventory where the machine has exactly that, else the only one there is."""
    matching = candidates(machine.disks, node.disk, node.disk_selector)
    if len(matching) == 1:
        selector = node.disk_selector
        named = (
            {"model": selector.model, "serial": selector.serial, "type": selector.kind, "size": selector.size}
            if selector
            else {}
        )
        kept: dict[str, Yaml] = {key: value for key, value in named.items() if value}
        return {"disk": node.disk, "diskSelector": kept}
    usable = [disk for disk in machine.disks if disk.transport and disk.writable]
    if node.disk_selector is None and len(usable) == 1:
        return {"disk": usable[0].path}
    shown = ", ".join(f"{one.path} ({one.transport}, {one.model}, {one.serial}, {one.size} B)" for one in usable)
    raise _Undecided(f"{len(matching)} disks are what the inventory says; it has {shown or 'none'}")


def _hardware(node: Node, machine: Machine) -> dict[str, Yaml]:
    """What stands there where the machine has at least that."""
    wanted = node.hardware
    memory, cpus = round(machine.memory / _MIB), machine.threads
    found: dict[str, Yaml] = {}
    if wanted.memory:
        found["memory"] = min(wanted.memory, memory)
    if wanted.cpus:
        found["cpus"] = min(wanted.cpus, cpus)
    return {"hardware": found}


_LOOKS: Final[tuple[tuple[frozenset[str], Callable[[Node, Machine], dict[str, Yaml]]], ...]] = (
    (frozenset({"macs", "links", "driver"}), _ports),
    (frozenset({"disk", "diskSelector"}), _disk),
    (frozenset({"hardware"}), _hardware),
)


def patched(text: str, node: Node, facts: Mapping[str, Yaml]) -> str:
    """The node's own patch with the addresses, names, driver and disk of its facts in place of the inventory's."""
    renamed = dict(_renamed(node, facts))
    if not renamed:
        return text
    word = re.compile(rf"(?<![\w:/])(?:{'|'.join(re.escape(old) for old in renamed)})(?![\w:/])")
    return word.sub(lambda found: renamed[found[0]], text)


def _renamed(node: Node, facts: Mapping[str, Yaml]) -> Iterator[tuple[str, str]]:
    before: dict[str, tuple[str, ...]] = {
        "macs": node.macs, "links": node.links, "driver": (node.driver,), "disk": (node.disk,),
    }  # fmt: skip
    for name, old in before.items():
        value = facts.get(name, [])
        after = value if isinstance(value, list) else [value]
        yield from ((was, str(now)) for was, now in zip(old, after, strict=False) if was and was != now)
