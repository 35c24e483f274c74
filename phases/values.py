"""What helmfile's templates ask for when it is run by hand: chart, version and values out of the tree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bootstrap.host import yaml_io
from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.secret import Redactor
from bootstrap.host.streams import write_data
from bootstrap.host.toolbox import Toolbox
from gitops.build import Kustomize
from gitops.loader import load
from gitops.releases import core_releases, core_values
from phases.session import print_line

if TYPE_CHECKING:
    from pathlib import Path

    from gitops.tree import Tree


def print_values(root: Path, cache: Path, cluster: str, release: str) -> None:
    """Print the values of one release as YAML on standard output.

    Raises:
        InputError: the tree is not usable or has no such release.
    """
    write_data(yaml_io.dump(core_values(_tree(root, cache, cluster), release)))


def print_releases(root: Path, cache: Path, cluster: str) -> None:
    """Print chart and version of every release as YAML on standard output.

    Raises:
        InputError: the tree is not usable.
    """
    write_data(yaml_io.dump(core_releases(_tree(root, cache, cluster))))


def _tree(root: Path, cache: Path, cluster: str) -> Tree:
    runner = ShCommandRunner(Redactor())
    programs = Toolbox(root, cache, runner, print_line, os.environ.get("PATH", "")).ensure(["kustomize"])
    return load(root, cluster, Kustomize(runner, programs["kustomize"]))
