"""Facts that nobody confirmed: which may be marked, and where they stand."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from inventory.findings import Finding, Location, dotted, located
from inventory.machines import duplicates
from inventory.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bootstrap.host.errors import Problem
    from inventory.model import Cluster

# Keys of a node that a machine in maintenance mode can be asked for.
DISCOVERABLE: Final = ("macs", "links", "driver", "disk", "diskSelector", "hardware")
# Keys of a node, and paths of keys of the cluster, that may stand in `unverified`.
OF_A_NODE: Final = (*DISCOVERABLE, "address", "maintenanceAddress")
OF_A_CLUSTER: Final = (
    "endpoint",
    "virtualIP",
    "pools",
    "networks.nodes",
    "networks.gateway",
    "networks.nameservers",
    "networks.timeServers",
)


def unconfirmed(root: Path, cluster: Cluster) -> tuple[Problem, ...]:
    """Every fact of the cluster that its file marks as unverified, at the line and column of the fact.

    Args:
        root: the repository.
        cluster: as it was read from its file.

    Raises:
        InputError: the file is not YAML.
    """
    if not cluster.unverified and not any(node.unverified for node in cluster.nodes):
        return ()
    text = (root / cluster.source).read_bytes()
    view = View(yaml_io.load(text, source=cluster.source))
    asked: list[Finding] = []
    others: list[Finding] = []
    for _, fact in _marked(view):
        finding = Finding(fact, f"`{dotted(fact)}` is unverified")
        (asked if fact[0] == "nodes" and fact[-1] in DISCOVERABLE else others).append(finding)
    discover = f"./invoke talos.discover --cluster {cluster.name}"
    problems = (
        *located(asked, text, cluster.source, remedy=discover),
        *located(others, text, cluster.source, remedy="confirm it, then take it out of `unverified`"),
    )
    return tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))


def _marked(view: View) -> Iterator[tuple[Location, Location]]:
    """Where each mark stands, and the place of the fact that it is about."""
    for place, name in view.texts("unverified"):
        yield place, tuple(name.split("."))
    for node in view.items("nodes"):
        for place, name in view.texts(*node, "unverified"):
            yield place, (*node, name)


def _marks_of_facts(view: View) -> Iterator[Finding]:
    for mark, fact in _marked(view):
        known = OF_A_NODE if fact[0] == "nodes" else OF_A_CLUSTER
        name = view.text(*mark) or ""
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"; the nearest is `{nearest[0]}`" if nearest else ""
            yield Finding(mark, f'`{dotted(mark)}`: "{name}" is no fact that can be unverified{hint}')
        elif view.value(*fact) is None:
            yield Finding(mark, f"`{dotted(mark)}`: `{dotted(fact)}` is not given")


def _marks_once(view: View) -> Iterator[Finding]:
    yield from duplicates(view.texts("unverified"))
    for node in view.items("nodes"):
        yield from duplicates(view.texts(*node, "unverified"))


RULES: Final[tuple[Callable[[View], Iterator[Finding]], ...]] = (_marks_of_facts, _marks_once)
