"""What helm says of values that a chart's schema refuses, at the place where the tree gives them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import mapping
from gitops import origins
from gitops.releases import releases
from gitops.tree import HELM_GROUP, name_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.host.errors import Problem
    from bootstrap.host.objects import Object
    from gitops.tree import Kustomization, Tree

# helm 3.19 names the chart on a line of its own, then each field by its JSON pointer.
_CHART: Final = re.compile(r"\s*([A-Za-z0-9._-]+):\s*")
_FIELD: Final = re.compile(r"\s*- at '([^']*)': (.*)")
_UNKNOWN: Final = re.compile(r"additional properties '([^']+)' not allowed")


def refused_values(tree: Tree, said: str) -> tuple[Problem, ...]:
    """Each refused value with file and line; empty when helm said something else.

    Args:
        tree: where the releases are.
        said: what helm wrote, by itself or through helmfile.

    Raises:
        InputError: as `gitops.releases.releases`.
    """
    return tuple(dict.fromkeys(_found(tree, said)))


def _found(tree: Tree, said: str) -> Iterator[Problem]:
    of_chart = _by_chart(tree)
    chart = ""
    for line in said.splitlines():
        heading, field = _CHART.fullmatch(line), _FIELD.fullmatch(line)
        if heading and heading[1] in of_chart:
            chart = heading[1]
        elif field and chart:
            kustomization, item = of_chart[chart]
            unknown = _UNKNOWN.search(field[2])
            path = [*filter(None, field[1].split("/")), *([unknown[1]] if unknown else [])]
            yield origins.problem(
                f"HelmRelease {name_in(item)}: the schema of chart {chart} refuses {'.'.join(path)}: {field[2]}",
                root=tree.root, folder=kustomization.path, item=item, at=_place(item, path),
            )  # fmt: skip


def _by_chart(tree: Tree) -> dict[str, tuple[Kustomization, Object]]:
    every = zip(releases(tree), tree.of_kind(HELM_GROUP, "HelmRelease"), strict=True)
    return {one.chart.rpartition("/")[2]: place for one, place in every}


def _place(item: Object, path: list[str]) -> tuple[str | int, ...]:
    """The field in the release's own values; what comes from elsewhere is shown at the release."""
    values = mapping(item, "spec", "values")
    if not path or path[0] not in values:
        return ("spec",)
    return ("spec", "values", *(int(part) if part.isdigit() else part for part in path))
