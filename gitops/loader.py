"""Reads the Flux tree of one cluster: what each Kustomization applies, after build and substitution.

The root is FluxInstance's own sync: source and Kustomization both named `flux-system`, path
`kubernetes/clusters/<cluster>`, without substitution. Every Flux Kustomization found is built and followed.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.objects import Object, flag, mapping, name_of, objects, text
from gitops import origins
from gitops.build import BuildError, Kustomize, with_common_metadata
from gitops.refused_folders import refused_folder
from gitops.settings import Settings, misspelt
from gitops.substitution import SubstitutionError, substitute
from gitops.tree import FLUX_SYSTEM, KUSTOMIZE_GROUP, Kustomization, Name, Tree, dependencies, is_kind, name_in, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

_SUBSTITUTE: Final = f"{KUSTOMIZE_GROUP}/substitute"
# As many builds at once as the smallest machine has cores.
_BUILDS: Final = 2


def load(root: Path, cluster: str, kustomize: Kustomize) -> Tree:
    """Build the tree of a cluster from the files.

    Args:
        root: the repository.
        cluster: folder name under `kubernetes/clusters`.
        kustomize: the real one.

    Raises:
        InputError: every problem of every Kustomization that could be reached, with file and line.
    """
    loader = _Loader(root, kustomize)
    loader.follow(_root(cluster))
    tree = Tree(root, cluster, tuple(loader.built))
    sources = {name for one in tree.kustomizations for name, _ in _setting_sources(one)}
    settings = [found for name, found in loader.settings.items() if name in sources]
    problems = [*loader.problems, *_dependency_problems(tree, loader.seen)]
    problems += misspelt(root, settings, used=loader.used, known=loader.known)
    if problems:
        raise InputError(f"the Flux tree of {cluster} is not usable", tuple(dict.fromkeys(problems)))
    return tree


def _root(cluster: str) -> Kustomization:
    path = f"kubernetes/clusters/{cluster}"
    item: Object = {
        "apiVersion": f"{KUSTOMIZE_GROUP}/v1", "kind": "Kustomization",
        "metadata": {"name": FLUX_SYSTEM, "namespace": FLUX_SYSTEM},
        "spec": {"path": path, "sourceRef": {"kind": "GitRepository", "name": FLUX_SYSTEM}},
    }  # fmt: skip
    return Kustomization(Name(FLUX_SYSTEM, FLUX_SYSTEM), path, item, path)


class _Loader:
    """Follows Kustomizations breadth first; one that waits for a ConfigMap waits until it was found."""

    def __init__(self, root: Path, kustomize: Kustomize) -> None:
        self.built: list[Kustomization] = []
        self.problems: list[Problem] = []
        self.settings: dict[Name, Settings] = {}
        self.used: set[str] = set()
        self.known: set[str] = set()
        self.seen: set[Name] = set()
        self._root = root
        self._kustomize = kustomize

    def follow(self, first: Kustomization) -> None:
        self.seen.add(first.name)
        waiting = [(first, documents) for documents in [self._build(first)] if documents is not None]
        with ThreadPoolExecutor(_BUILDS, "kustomize") as pool:
            while waiting:
                ready = [(one, text) for one, text in waiting if self._has_settings(one)]
                if not ready:
                    for one, _ in waiting:
                        self._missing_settings(one)
                    return
                waiting = [pair for pair in waiting if pair not in ready]
                found = [child for one, documents in ready for child in self._finish(one, documents)]
                texts = list(pool.map(self._build, found))
                waiting += [(child, built) for child, built in zip(found, texts, strict=True) if built is not None]

    def _build(self, one: Kustomization) -> list[str] | None:
        if not (self._root / one.path).is_dir():
            self._problem(one, f"{one.path} is not a folder of the repository", ("spec", "path"))
            return None
        try:
            return self._kustomize.build(self._root, one.path, mapping(one.item, "spec"))
        except BuildError as error:
            broken = _broken_files(self._root, one.path)
            self.problems += broken or [refused_folder(self._root, one.path, str(error))]
            return None

    def _has_settings(self, one: Kustomization) -> bool:
        return all(flag(source, "optional") or name in self.settings for name, source in _setting_sources(one))

    def _missing_settings(self, one: Kustomization) -> None:
        for name, source in _setting_sources(one):
            if name in self.settings or flag(source, "optional"):
                continue
            kind = text(source, "kind")
            why = f"{kind} {name} is not in the tree" if kind == "ConfigMap" else "secrets are not in the tree"
            hint = nearest(str(name), [str(known) for known in self.settings])
            self._problem(one, f"variables of {name} are missing: {why}{hint}", ("spec", "postBuild", "substituteFrom"))

    def _finish(self, one: Kustomization, documents: list[str]) -> list[Kustomization]:
        variables = self._variables(one)
        items: list[Object] = []
        unset: set[str] = set()
        for document in documents:
            item, missing = self._substituted(one, document, variables)
            if item is not None:
                items.append(with_common_metadata(item, mapping(one.item, "spec")))
            unset |= missing
        for name in sorted(unset):
            self.problems.append(
                origins.text_problem(
                    f"the variable {name} is not set{nearest(name, [*variables])}", f"${{{name}",
                    root=self._root, folder=one.path,
                )
            )  # fmt: skip
        self.built.append(
            Kustomization(one.name, one.path, one.item, one.parent, one.depends_on, tuple(items), frozenset(unset))
        )
        return [child for item in items for child in self._register(one, item)]

    def _variables(self, one: Kustomization) -> dict[str, str]:
        """Sources in their order, then the Kustomization's own; later ones win."""
        variables: dict[str, str] = {}
        for name, _ in _setting_sources(one):
            found = self.settings.get(name)
            data = mapping(found.item, "data") if found else {}
            variables.update({key: text(value) for key, value in data.items()})
        own = mapping(one.item, "spec", "postBuild", "substitute")
        variables.update({name: text(own, name) for name in own})
        self.known |= variables.keys()
        return variables

    def _substituted(
        self, one: Kustomization, document: str, variables: Mapping[str, str]
    ) -> tuple[Object | None, set[str]]:
        plain = mapping(yaml_io.load(document, source=one.path))
        metadata = mapping(plain, "metadata")
        if "disabled" in {text(metadata, "labels", _SUBSTITUTE), text(metadata, "annotations", _SUBSTITUTE)}:
            return plain, set()
        if not variables or "$" not in document:
            return plain, set()
        try:
            result = substitute(document, variables)
            item = yaml_io.load(result.text, source=f"{one.path} ({plain.get('kind')} {name_of(plain)}, substituted)")
        except SubstitutionError as error:
            self._problem(one, f"{plain.get('kind')} {name_of(plain)}: {error}", item=plain)
            return None, set()
        except InputError as error:
            self.problems.extend(error.problems)
            return None, set()
        self.used |= result.used
        return mapping(item), set(result.unset)

    def _register(self, parent: Kustomization, item: Object) -> list[Kustomization]:
        name = name_in(item)
        if is_kind(item, "", "ConfigMap"):
            self.settings[name] = Settings(item, parent.path)
        if not is_kind(item, KUSTOMIZE_GROUP, "Kustomization") or name in self.seen:
            return []
        self.seen.add(name)
        path = str(PurePosixPath(text(item, "spec", "path") or "."))
        child = Kustomization(name, path, item, parent.path, dependencies(item, name.namespace))
        source = mapping(item, "spec", "sourceRef")
        if (text(source, "kind"), text(source, "name")) != ("GitRepository", FLUX_SYSTEM):
            # Another repository's content is not here to be built.
            self.built.append(child)
            return []
        return [child]

    def _problem(self, one: Kustomization, words: str, at: tuple[str, ...] = (), *, item: Object | None = None) -> None:
        folder = one.path if item is not None else one.parent
        self.problems.append(origins.problem(words, root=self._root, folder=folder, item=item or one.item, at=at))


def _broken_files(root: Path, path: str) -> list[Problem]:
    """What is no YAML below a folder, with line and column, which kustomize does not tell."""
    problems: list[Problem] = []
    for file in sorted((root / path).rglob("*.y*ml")):
        try:
            yaml_io.load_file(file, root=root)
        except InputError as error:
            problems += error.problems
    return problems


def _setting_sources(one: Kustomization) -> list[tuple[Name, Object]]:
    return [
        (Name(one.name.namespace, text(source, "name")), source)
        for source in objects(one.item, "spec", "postBuild", "substituteFrom")
    ]


def _dependency_problems(tree: Tree, names: Collection[Name]) -> Iterator[Problem]:
    for one in tree.kustomizations:
        for other in one.depends_on:
            if other not in names:
                hint = nearest(str(other), [str(name) for name in names])
                words = f"Kustomization {one.name} depends on {other}, which is not in the tree{hint}"
                yield origins.problem(words, root=tree.root, folder=one.parent, item=one.item, at=("spec", "dependsOn"))
