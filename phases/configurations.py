"""Machine configurations as an operator reads them: from the files alone, references in place of secrets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.errors import InputError
from bootstrap.host.names import nearest
from bootstrap.host.secret import Redactor
from bootstrap.host.streams import write_data
from bootstrap.host.toolbox import Toolbox
from phases.session import print_line
from talos.client import Talosctl
from talos.preview import Previews

if TYPE_CHECKING:
    from pathlib import Path

    from inventory.model import Cluster, Node


def print_configurations(root: Path, cache: Path, cluster: Cluster, name: str) -> None:
    """Print the machine configuration of one node, or of all, as YAML on standard output.

    Args:
        root: the repository.
        cache: the tool's cache folder.
        cluster: of the inventory.
        name: of a node; empty means all.

    Raises:
        InputError: there is no such node, or something is wrong with a configuration; all problems at once.
    """
    nodes = (_node(cluster, name),) if name else cluster.nodes
    runner = ShCommandRunner(Redactor())
    program = Toolbox(root, cache, runner, print_line, os.environ.get("PATH", "")).ensure(["talosctl"])["talosctl"]
    previews = Previews(program, Talosctl(program, runner), cluster, root, cache / "configurations")
    shown = previews.show(nodes)
    write_data("---\n".join(f"# {node.name}\n{shown[node.name]}" for node in nodes))


def _node(cluster: Cluster, name: str) -> Node:
    known = [node.name for node in cluster.nodes]
    if name not in known:
        raise InputError(
            f'{cluster.source} has no node "{name}"',
            cause=nearest(name, known),
            remedy="give --node one of: " + ", ".join(known),
        )
    return cluster.node(name)
