"""What helmfile says of releases that it cannot render, as problems with their places in the tree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import mapping, text
from checks.installed import installed
from gitops import origins
from gitops.tree import SOURCE_GROUP, Name

if TYPE_CHECKING:
    from bootstrap.host.errors import Problem
    from checks.installed import Installed
    from gitops.tree import Tree

# helmfile 1.1.7 quotes each helm that failed: its release, its arguments, what it said, and that again.
_FAILED: Final = re.compile(r'release "([^"]+)": command .*?\nSTDERR:\n(.*?)\n\nCOMBINED OUTPUT:', re.DOTALL)
# Values that a schema refuses have a reader of their own (`gitops.refusals`).
_OF_A_SCHEMA: Final = "values don't meet the specifications of the schema"
# A template that fails, or one that prints no YAML: the values decide; everything else is about the chart itself.
_OF_VALUES: Final = ("execution error at", "YAML parse error", "unable to build kubernetes objects")


def problems(tree: Tree, said: str) -> tuple[Problem, ...]:
    """Every release that could not be rendered, for another reason than a schema; empty when none could be read.

    Args:
        tree: of the cluster.
        said: standard error of helmfile.
    """
    by_name = {one.release.release_name: one for one in installed(tree, b"")}
    found = [
        _problem(tree, by_name[name], words)
        for name, words in failures(said)
        if name in by_name and _OF_A_SCHEMA not in words
    ]
    return tuple(dict.fromkeys(found))


def failures(said: str) -> tuple[tuple[str, str], ...]:
    """Every release that helm failed for, with what helm said on one line; empty when none could be read.

    Args:
        said: standard error of helmfile.
    """
    return tuple((name, " ".join(words.split()).removeprefix("Error: ")) for name, words in _FAILED.findall(said))


def _problem(tree: Tree, one: Installed, words: str) -> Problem:
    if any(mark in words for mark in _OF_VALUES):
        return one.problem(words)
    reference = mapping(one.item, "spec", "chartRef")
    name = Name(one.release.namespace, text(reference, "name"))
    source = tree.find(SOURCE_GROUP, text(reference, "kind"), name) if reference else None
    chart = f"chart {one.release.chart} {one.release.version}: {words}"
    if source is None:
        return one.problem_in_spec(chart, "chart", "spec", "version")
    return origins.problem(f"{one.name}: {chart}", root=one.root, folder=one.folder, item=source[1], at=("spec", "ref"))
