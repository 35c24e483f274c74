"""What stands in the way of objects that we write: others that own them, other content, a deletion under way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bootstrap.host.errors import Problem
from bootstrap.host.objects import Object, dig, mapping, name_of, namespace_of, objects, text
from gitops import origins
from kube.cluster import FIELD_MANAGER, NAMESPACE, SECRET, Comparison, ObjectRef, Standing
from kube.errors import KubeError, KubeErrorKind
from kube.helm import digest
from kube.namespaces import is_terminating
from phases.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from kube.cluster import Cluster

# By these others say that an object goes when they go; each is a path of keys.
_CLAIMS: Final = (
    ("metadata", "annotations", "meta.helm.sh/release-name"),
    ("metadata", "annotations", "argocd.argoproj.io/tracking-id"),
    ("metadata", "labels", "argocd.argoproj.io/instance"),
    ("metadata", "ownerReferences"),
)
# What a server answers to an apply that it would not take however often it is asked.
_REFUSALS: Final = frozenset({KubeErrorKind.CONFLICT, KubeErrorKind.INVALID})
_PENDING: Final = frozenset({Standing.ABSENT, Standing.DIFFERENT})


@dataclass(frozen=True)
class Survey:
    """Objects that we want beside what is there; nothing was written.

    Attributes:
        pending: what is to be applied; what lies in a namespace that is being deleted counts as absent.
        ending: namespaces that are being deleted, with the live object.
        replaced: Secrets whose other content is to be replaced.
        problems: why nothing may be applied.
    """

    pending: tuple[Comparison, ...] = ()
    ending: tuple[Object, ...] = ()
    replaced: frozenset[ObjectRef] = frozenset()
    problems: tuple[Problem, ...] = ()


def survey(
    api: Cluster, wanted: Sequence[Object], *, root: Path, key: Callable[[], bytes], rotate: bool = False
) -> Survey:
    """Look at every object that is wanted; reads, and tries as a dry run what exists and differs.

    Args:
        api: the cluster.
        wanted: whole objects, secrets resolved.
        root: the repository, for the places of problems.
        key: gives the key of the digests by which secrets are shown.
        rotate: whether Secrets of other content are to be replaced.

    Raises:
        KubeError: the cluster cannot be asked.
    """
    compared = api.compare(wanted)
    ending = tuple(one.live for one in compared if _is_ending(one) and one.live is not None)
    names = {name_of(item) for item in ending}
    pairs = [
        (item, one)
        for item, one in zip(wanted, compared, strict=True)
        if namespace_of(item) not in names and not _is_ending(one) and one.standing is Standing.DIFFERENT
    ]
    other = {one.reference: keys for item, one in pairs if (keys := _other_content(item, one))}
    shown = _Shown(root, key)
    problems = [problem for item, one in pairs for problem in shown.claims(item, one)]
    if not rotate:
        problems += [shown.content(item, one, other[one.reference]) for item, one in pairs if one.reference in other]
    ours = [item for item, one in pairs if one.reference not in other]
    problems += shown.refusals(api, ours, force=False)
    if rotate:
        problems += shown.refusals(api, [item for item, one in pairs if one.reference in other], force=True)
    gone = [replace(one, standing=Standing.ABSENT, differences=(), live=None) for one in compared if _in(one, names)]
    pending = [one for one in compared if not _in(one, names) and one.standing in _PENDING]
    return Survey((*gone, *pending), ending, frozenset(other), tuple(problems))


def _is_ending(one: Comparison) -> bool:
    return one.reference.kind == NAMESPACE[1] and is_terminating(one.live)


def _in(one: Comparison, names: set[str]) -> bool:
    """Whether an object is one of these namespaces, or lies in one."""
    return (one.reference.namespace or one.reference.name) in names if names else False


def _other_content(item: Object, one: Comparison) -> tuple[str, ...]:
    """The keys of a Secret under which something else is stored; a key that is missing is no content."""
    if one.reference.kind != SECRET[1]:
        return ()
    live = mapping(one.live, "data")
    return tuple(name for name, value in mapping(item, "data").items() if name in live and live[name] != value)


@dataclass(frozen=True)
class _Shown:
    """Makes problems with their places."""

    root: Path
    key: Callable[[], bytes]

    def claims(self, item: Object, one: Comparison) -> Iterator[Problem]:
        """Who else counts an object as its own, unless we write it already."""
        entries = objects(one.live, "metadata", "managedFields")
        if any(entry.get("manager") == FIELD_MANAGER for entry in entries):
            return
        for path in _CLAIMS:
            found = dig(one.live, *path)
            if not found:
                continue
            holder = text(found, 0, "kind") + " " + text(found, 0, "name") if isinstance(found, list) else str(found)
            managers = [text(entry, "manager") for entry in entries if _holds(entry, path)]
            by = f" ({', '.join(managers)})" if managers else ""
            yield self._problem(
                item, f"{one.reference} belongs to {holder} by {'.'.join(path)}{by}",
                remedy="remove it where it comes from, or take that field away",
            )  # fmt: skip

    def content(self, item: Object, one: Comparison, names: Sequence[str]) -> Problem:
        """What a Secret holds in place of what is wanted: names of keys and keyed digests."""
        key, live, wanted = self.key(), mapping(one.live, "data"), mapping(item, "data")
        found = [f"{name} ({digest(live[name], key)}, wanted {digest(wanted[name], key)})" for name in names]
        words = f"{one.reference} has other content: {', '.join(found)}"
        return self._problem(item, words, at=("stringData", names[0]), remedy="--rotate replaces it")

    def refusals(self, api: Cluster, items: Sequence[Object], *, force: bool) -> list[Problem]:
        """What the server itself says against an apply: fields of other managers, fields that cannot change."""
        try:
            api.dry_run(items, force=force)
        except KubeError as error:
            if error.kind not in _REFUSALS:
                raise
            parts = error.parts or (error,)
            by_name = {f"cannot apply {text(item, 'kind')} {_full_name(item)}": item for item in items}
            words = [(part.fact, f"{part.fact.removeprefix('cannot apply ')}: {part.cause}") for part in parts]
            return [self._problem(by_name.get(fact, {}), said) for fact, said in words]
        return []

    def _problem(self, item: Object, words: str, *, at: tuple[str, ...] = (), remedy: str = "") -> Problem:
        if not item:
            return Problem(words, RESOURCES, remedy=remedy)
        folder = RESOURCES.rpartition("/")[0]
        return origins.problem(words, root=self.root, folder=folder, item=item, at=at, remedy=remedy)


def _full_name(item: Object) -> str:
    namespace = namespace_of(item)
    return f"{namespace}/{name_of(item)}" if namespace else name_of(item)


def _holds(entry: Object, path: Sequence[str]) -> bool:
    return dig(entry, "fieldsV1", *(f"f:{part}" for part in path)) is not None
