"""The Flux tree of one cluster: its Kustomizations and what each applies, after build and substitution."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from bootstrap.host.objects import Object, name_of, namespace_of, objects, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

KUSTOMIZE_GROUP: Final = "kustomize.toolkit.fluxcd.io"
HELM_GROUP: Final = "helm.toolkit.fluxcd.io"
SOURCE_GROUP: Final = "source.toolkit.fluxcd.io"
FLUX_SYSTEM: Final = "flux-system"


class Name(NamedTuple):
    """Namespace and name of an object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Kustomization:
    """A Flux Kustomization with what it applies.

    Attributes:
        name: namespace and name.
        path: its folder, relative to the repository, without a leading `./`.
        item: the object itself.
        parent: folder of the Kustomization that applies this one; its own for the root.
        depends_on: Kustomizations that must be Ready before.
        objects: what it applies, after substitution.
        unset: variables that its objects ask for and that have neither a value nor a default.
    """

    name: Name
    path: str
    item: Object
    parent: str
    depends_on: tuple[Name, ...] = ()
    objects: tuple[Object, ...] = ()
    unset: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Tree:
    """The whole tree.

    Attributes:
        root: the repository.
        cluster: whose tree it is.
        kustomizations: the root first, then in the order in which they were found.
    """

    root: Path
    cluster: str
    kustomizations: tuple[Kustomization, ...]

    def objects(self) -> Iterator[tuple[Kustomization, Object]]:
        """Every object with the Kustomization that applies it."""
        for kustomization in self.kustomizations:
            for item in kustomization.objects:
                yield kustomization, item

    def find(self, group: str, kind: str, name: Name) -> tuple[Kustomization, Object] | None:
        """One object by the group of its API (`""` for the core), kind and name."""
        for kustomization, item in self.objects():
            if is_kind(item, group, kind) and name_in(item) == name:
                return kustomization, item
        return None

    def of_kind(self, group: str, kind: str) -> list[tuple[Kustomization, Object]]:
        """Every object of a kind."""
        return [(kustomization, item) for kustomization, item in self.objects() if is_kind(item, group, kind)]


def is_kind(item: Object, group: str, kind: str) -> bool:
    """Whether an object is of a kind, in any version of its group."""
    found_group, _, _ = text(item, "apiVersion").rpartition("/")
    return found_group == group and item.get("kind") == kind


def name_in(item: Object) -> Name:
    """Namespace and name of an object."""
    return Name(namespace_of(item), name_of(item))


def dependencies(item: Object, namespace: str) -> tuple[Name, ...]:
    """What an object of Flux waits for by `dependsOn`, in its own namespace where none is given."""
    return tuple(
        Name(text(other, "namespace") or namespace, text(other, "name")) for other in objects(item, "spec", "dependsOn")
    )


def nearest(name: str, names: Iterator[str] | Sequence[str]) -> str:
    """`; did you mean a, b?` or nothing."""
    close = difflib.get_close_matches(name, sorted(set(names)), n=3)
    return f"; did you mean {', '.join(close)}?" if close else ""
