"""Fills in facts of the inventory that nobody confirmed, from the machines themselves: `talos.discover`."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.errors import ExitCode, InputError, Problem
from bootstrap.host.files import write_atomically
from bootstrap.host.secret import Redactor
from bootstrap.host.streams import write_data
from bootstrap.host.toolbox import Toolbox
from inventory.editing import confirmed
from inventory.facts import DISCOVERABLE
from phases.machines import at_once, present
from phases.session import print_line
from talos import discovery
from talos.client import Talosctl
from talos.errors import TalosError
from talos.machineconfig import own_patch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bootstrap.host.yaml_io import Yaml
    from inventory.model import Cluster, Node
    from talos.discovery import Machine, Proposal


def discover(root: Path, cache: Path, cluster: Cluster, *, write: bool) -> ExitCode:
    """Ask the machines of a cluster; see `propose`."""
    runner = ShCommandRunner(Redactor())
    programs = Toolbox(root, cache, runner, print_line, os.environ.get("PATH", "")).ensure(["talosctl"])
    return propose(root, cluster, Talosctl(programs["talosctl"], runner), write=write)


def propose(root: Path, cluster: Cluster, talosctl: Talosctl, *, write: bool) -> ExitCode:
    """Print as a difference what the machines say about facts marked `unverified`; the machines are not changed.

    Args:
        root: the repository.
        cluster: of the inventory.
        talosctl: asks the machines, which are in maintenance mode.
        write: whether inventory and patches are changed.

    Returns:
        DONE when nothing is left to be confirmed, CHANGES when `--write` would, FAILED when a machine could not be
        asked or a person has to choose.

    Raises:
        InputError: the inventory cannot be edited, or one machine answers for several nodes.
    """
    nodes = [node for node in present(cluster) if node.unverified & set(DISCOVERABLE)]
    answers = at_once(nodes, partial(_ask, talosctl))
    proposals = {
        node.name: discovery.propose(node, answer)
        for node in nodes
        if not isinstance(answer := answers[node.name], TalosError)
    }
    _refuse_twice(cluster, proposals)
    troubles = _told(cluster, answers)
    for name, proposal in proposals.items():
        troubles += [f"{name}: {text}" for text in proposal.left]
    for trouble in troubles:
        print_line(f"not decided: {trouble}")
    facts = {name: proposal.facts for name, proposal in proposals.items() if proposal.facts}
    changed = _changes(root, cluster, facts)
    for path, text in changed.items():
        write_data("".join(_difference(path.read_text(), text, str(path.relative_to(root)))))
        if write:
            write_atomically(path, text.encode(), mode=path.stat().st_mode & 0o777)
    if changed and not write:
        print_line("nothing was written; --write does it")
    if troubles:
        return ExitCode.FAILED
    return ExitCode.CHANGES if changed and not write else ExitCode.DONE


def _ask(talosctl: Talosctl, node: Node) -> Machine | TalosError:
    try:
        return discovery.ask(talosctl, node)
    except TalosError as error:
        return error


def _told(cluster: Cluster, answers: Mapping[str, Machine | TalosError]) -> list[str]:
    """Says which machine answered for which node; those that did not are given back."""
    silent = []
    for name, answer in answers.items():
        address = cluster.node(name).maintenance_address
        if isinstance(answer, TalosError):
            silent.append(f"{name} at {address}: {answer}")
        else:
            print_line(f"{name} at {address}: {answer.system}, {answer.memory} MiB, {answer.threads} processors")
    return silent


def _refuse_twice(cluster: Cluster, proposals: Mapping[str, Proposal]) -> None:
    addresses = [proposal.facts.get("macs") for proposal in proposals.values()]
    count = Counter(str(mac) for macs in addresses if isinstance(macs, list) for mac in macs)
    problems = tuple(
        Problem(f"{mac} answers for {times} nodes", cluster.source) for mac, times in count.items() if times > 1
    )
    if problems:
        remedy = "correct `address` and `maintenanceAddress`: one machine answers at several of them"
        raise InputError("one machine answers for several nodes", problems, remedy=remedy)


def _changes(root: Path, cluster: Cluster, facts: Mapping[str, Mapping[str, Yaml]]) -> dict[Path, str]:
    """The texts of the files that change, the inventory last: until it is written the facts count as unverified."""
    changed: dict[Path, str] = {}
    for name, values in facts.items():
        node = cluster.node(name)
        path = own_patch(root, cluster, node)
        if path.is_file():
            changed[path] = discovery.patched(path.read_text(), node, values)
    inventory = root / cluster.source
    changed[inventory] = confirmed(inventory.read_text(), facts, source=cluster.source)
    return {path: text for path, text in changed.items() if text != path.read_text()}


def _difference(before: str, after: str, name: str) -> list[str]:
    return list(difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), name, name))
