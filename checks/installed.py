"""A HelmRelease beside what its chart makes of its values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.objects import Object, mapping, objects, text
from gitops import origins
from gitops.releases import CoreRelease, releases
from gitops.tree import HELM_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bootstrap.host.errors import Problem
    from gitops.tree import Tree

# Helm begins every document so (helm v3.19.0, pkg/action/action.go); a chart below another has its parent's name.
_HEAD: Final = re.compile(r"^---\n# Source: ([^/\n]+)/", re.MULTILINE)
_TEMPLATED: Final = frozenset({"DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet"})


@dataclass(frozen=True)
class Installed:
    """One release.

    Attributes:
        root: the repository.
        folder: of the Kustomization that applies the HelmRelease, relative to the repository.
        item: the HelmRelease.
        release: chart, version and values.
        objects: what the chart renders; empty for a release that was not rendered.
    """

    root: Path
    folder: str
    item: Object
    release: CoreRelease
    objects: tuple[Object, ...] = ()

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.release.namespace}/{self.release.release_name}"

    @property
    def chart_name(self) -> str:
        """The chart without the place that it comes from."""
        return self.release.chart.rpartition("/")[2]

    def problem(self, words: str, *at: str) -> Problem:
        """A problem at a value of the release; the nearest place that is written down."""
        words = f"{self.name}: {words}"
        return origins.problem(words, root=self.root, folder=self.folder, item=self.item, at=("spec", "values", *at))

    def problem_in_spec(self, words: str, *at: str) -> Problem:
        """A problem at a field of the HelmRelease itself."""
        words = f"{self.name}: {words}"
        return origins.problem(words, root=self.root, folder=self.folder, item=self.item, at=("spec", *at))

    def pods(self) -> Iterator[tuple[str, Object]]:
        """The spec of each pod that its objects make, with kind and name of the object."""
        for item in self.objects:
            name = f"{item.get('kind')} {text(item, 'metadata', 'name')}"
            if item.get("kind") in _TEMPLATED:
                yield name, mapping(item, "spec", "template", "spec")
            elif item.get("kind") == "CronJob":
                yield name, mapping(item, "spec", "jobTemplate", "spec", "template", "spec")
            elif item.get("kind") == "Pod":
                yield name, mapping(item, "spec")


def installed(tree: Tree, rendered: bytes) -> tuple[Installed, ...]:
    """Every release of a tree.

    Args:
        tree: of a cluster.
        rendered: what `helmfile template` printed for some or all of them.

    Raises:
        InputError: a HelmRelease cannot be used, or what was rendered is no YAML.
    """
    by_chart = _by_chart(rendered.decode())
    found = []
    for (kustomization, item), release in zip(tree.of_kind(HELM_GROUP, "HelmRelease"), releases(tree), strict=True):
        one = Installed(tree.root, kustomization.path, item, release)
        made = tuple(by_chart.pop(one.chart_name, ()))
        found.append(Installed(tree.root, kustomization.path, item, release, made))
    return tuple(found)


def containers(pod: Object) -> list[Object]:
    """Every container of a pod's spec, those that end before the others begin included."""
    return [*objects(pod, "initContainers"), *objects(pod, "containers")]


def _by_chart(rendered: str) -> dict[str, list[Object]]:
    """What was rendered, by the name of the chart."""
    # What is before the first head, then each chart's name and what follows it.
    _, *parts = _HEAD.split(rendered)
    found: dict[str, list[Object]] = {}
    for chart, content in zip(parts[::2], parts[1::2], strict=True):
        # The rest of the head's line is a path, and no YAML.
        documents = yaml_io.load_all(f"# {content}", source=f"what {chart} renders")
        found.setdefault(chart, []).extend(one for one in documents if isinstance(one, dict))
    return found
