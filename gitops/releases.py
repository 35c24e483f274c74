"""HelmReleases of the tree as helm needs them: chart, exact version, values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.files import write_atomically
from bootstrap.host.objects import Object, mapping, objects, text
from gitops import origins, values
from gitops.tree import HELM_GROUP, SOURCE_GROUP, Kustomization, Name, Tree, dependencies, name_in, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bootstrap.host.yaml_io import Yaml

_EXACT: Final = re.compile(r"v?\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")
# helmfile's templates read this file, and one file a release beside it.
RELEASES_FILE: Final = "releases.yaml"


@dataclass(frozen=True)
class CoreRelease:
    """What helm installs for a HelmRelease.

    Attributes:
        name: the HelmRelease's own name.
        namespace: where the release is installed and stored.
        release_name: the name that helm knows.
        chart: `oci://...` without the version, or the chart's name in a repository.
        repository: URL of the HTTP chart repository; empty for OCI.
        version: exact.
        values: after substitution, from every place.
    """

    name: str
    namespace: str
    release_name: str
    chart: str
    repository: str
    version: str
    values: Object

    @property
    def helmfile_chart(self) -> str:
        """The chart as helmfile wants it."""
        return f"{self.namespace}-{self.name}/{self.chart}" if self.repository else self.chart


def releases(tree: Tree) -> list[CoreRelease]:
    """Every HelmRelease of the tree.

    Raises:
        InputError: a chart, version, source or values are missing or wrong; all of them at once.
    """
    found: list[CoreRelease] = []
    problems: list[Problem] = []
    for kustomization, item in tree.of_kind(HELM_GROUP, "HelmRelease"):
        reader = _Reader(tree, kustomization, item, problems)
        found.append(reader.read())
    if problems:
        raise InputError(f"the HelmReleases of {tree.cluster} are not usable", tuple(problems))
    return found


def release(tree: Tree, name: str) -> CoreRelease:
    """One HelmRelease by its name.

    Raises:
        InputError: as `releases`, and when there is none or more than one of the name.
    """
    every = releases(tree)
    found = [one for one in every if one.name == name]
    if len(found) != 1:
        hint = nearest(name, [one.name for one in every])
        words = f"{len(found)} HelmReleases of this name are in the tree of {tree.cluster}, 1 is wanted{hint}"
        raise InputError(f"no release {name} to read", (Problem(words, f"kubernetes/clusters/{tree.cluster}"),))
    return found[0]


def core_values(tree: Tree, release_name: str) -> Object:
    """The values of one release: what `invoke core.values` prints.

    Raises:
        InputError: as `release`.
    """
    return release(tree, release_name).values


def core_releases(tree: Tree, pulled: Mapping[tuple[str, str], Path] = MappingProxyType({})) -> Object:
    """Chart and version of every release by namespace and name, and the HTTP repositories: `invoke core.releases`.

    Args:
        tree: of the cluster.
        pulled: charts that were pulled before, by namespace and name of the release; with them no repository is
            listed, so that none is asked.

    Raises:
        InputError: as `releases`.
    """
    charts: dict[str, Yaml] = {}
    repositories: list[Yaml] = []
    for one in releases(tree):
        place = charts.setdefault(one.namespace, {})
        local = pulled.get((one.namespace, one.release_name))
        if isinstance(place, dict):
            place[one.release_name] = {"chart": str(local or one.helmfile_chart), "version": one.version}
        if one.repository and not pulled:
            repositories.append({"name": f"{one.namespace}-{one.name}", "url": one.repository})
    return {"charts": charts, "repositories": repositories}


def core_files(tree: Tree, pulled: Mapping[tuple[str, str], Path] = MappingProxyType({})) -> dict[str, bytes]:
    """What helmfile's templates would ask for (`FIRSTLIGHT_CORE`): content by name, one file a release.

    Args:
        tree: of the cluster.
        pulled: as `core_releases` has it.

    Raises:
        InputError: as `releases`.
    """
    values = {f"{one.release_name}.yaml": yaml_io.dump(one.values).encode() for one in releases(tree)}
    return {RELEASES_FILE: yaml_io.dump(core_releases(tree, pulled)).encode(), **values}


def write_core(tree: Tree, folder: Path) -> None:
    """Leave `core_files` in a folder.

    Raises:
        InputError: as `releases`.
        OSError: the folder cannot be written.
    """
    for name, content in core_files(tree).items():
        write_atomically(folder / name, content)


@dataclass
class _Reader:
    """Reads one HelmRelease and collects what is wrong with it."""

    tree: Tree
    kustomization: Kustomization
    item: Object
    problems: list[Problem]

    def read(self) -> CoreRelease:
        own = name_in(self.item)
        target = text(self.item, "spec", "targetNamespace")
        composed = f"{target}-{own.name}" if target else own.name
        chart, repository, version = self._chart(own)
        self._require_dependencies(own)
        return CoreRelease(
            name=own.name,
            namespace=target or own.namespace,
            release_name=text(self.item, "spec", "releaseName") or composed,
            chart=chart,
            repository=repository,
            version=version,
            values=self._values(own),
        )

    def _chart(self, own: Name) -> tuple[str, str, str]:
        reference = mapping(self.item, "spec", "chartRef")
        if reference:
            return self._by_reference(own, reference)
        chart = mapping(self.item, "spec", "chart", "spec")
        if not text(chart, "chart"):
            self._problem("neither chart nor chartRef is given", "spec")
            return "", "", ""
        source = self._source(own, mapping(chart, "sourceRef"), "HelmRepository", "spec", "chart", "spec", "sourceRef")
        if not text(chart, "version"):
            self._problem(f"the chart {text(chart, 'chart')} has no version", "spec", "chart", "spec")
        self._require_exact(text(chart, "version"), self.item, "spec", "chart", "spec", "version")
        url = text(source, "spec", "url").rstrip("/")
        if text(source, "spec", "type") == "oci" or url.startswith("oci://"):
            return f"{url}/{text(chart, 'chart')}", "", text(chart, "version")
        return text(chart, "chart"), url, text(chart, "version")

    def _by_reference(self, own: Name, reference: Object) -> tuple[str, str, str]:
        source = self._source(own, reference, "OCIRepository", "spec", "chartRef")
        wanted = mapping(source, "spec", "ref")
        key = "tag" if text(wanted, "tag") else "semver"
        version = text(wanted, key)
        if source and not version:
            self._problem(f"the version of {text(source, 'spec', 'url')} is not given", "spec", "ref", item=source)
        self._require_exact(version, source, "spec", "ref", key)
        return text(source, "spec", "url").rstrip("/"), "", version

    def _require_dependencies(self, own: Name) -> None:
        for index, other in enumerate(dependencies(self.item, own.namespace)):
            if self.tree.find(HELM_GROUP, "HelmRelease", other) is None:
                known = [str(name_in(item)) for _, item in self.tree.of_kind(HELM_GROUP, "HelmRelease")]
                words = f"it depends on {other}, which is not in the tree{nearest(str(other), known)}"
                self._problem(words, "spec", "dependsOn", index)

    def _require_exact(self, version: str, item: Object, *at: str) -> None:
        if version and not _EXACT.fullmatch(version):
            self._problem(f"the version {version!r} is not exact", *at, item=item)

    def _source(self, own: Name, reference: Object, kind: str, *at: str) -> Object:
        if text(reference, "kind") != kind:
            self._problem(f"{kind} is wanted, not {text(reference, 'kind') or 'nothing'}", *at)
            return {}
        name = Name(text(reference, "namespace") or own.namespace, text(reference, "name"))
        if name.namespace != own.namespace:
            self._problem(f"{kind} {name} is in another namespace, which the controllers refuse", *at)
            return {}
        found = self.tree.find(SOURCE_GROUP, kind, name)
        if found is None:
            known = [str(name_in(item)) for _, item in self.tree.of_kind(SOURCE_GROUP, kind)]
            self._problem(f"{kind} {name} is not in the tree{nearest(str(name), known)}", *at)
            return {}
        return found[1]

    def _values(self, own: Name) -> Object:
        """`valuesFrom` in its order, the release's own values over them."""

        def find(kind: str, name: str) -> Object | None:
            found = self.tree.find("", kind, Name(own.namespace, name))
            return found[1] if found else None

        references = [values.Reference.of(entry, own.namespace) for entry in objects(self.item, "spec", "valuesFrom")]
        composed = values.compose(mapping(self.item, "spec", "values"), references, find)
        for index, words in composed.problems.items():
            self._problem(words, "spec", "valuesFrom", index)
        if "values" not in mapping(self.item, "spec") and not references:
            self._problem("no values are given; `values: {}` says that none are wanted", "spec")
        return composed.values

    def _problem(self, words: str, *at: str | int, item: Object | None = None) -> None:
        what = item or self.item
        self.problems.append(
            origins.problem(
                f"{what.get('kind')} {name_in(what)}: {words}",
                root=self.tree.root, folder=self.kustomization.path, item=what, at=at,
            )
        )  # fmt: skip
