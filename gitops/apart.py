"""Kustomizations that the hand-over does not wait for: workloads, and what needs the other cluster.

A workload is what stands below `kubernetes/workloads`. What needs the other cluster says so by the annotation
`firstlight.dev/waits-for-peer` with that cluster's name, because no `dependsOn` can. Whatever depends on either, or
is applied by it, is apart for the same reason.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from bootstrap.host.objects import Object, mapping, text
from gitops.tree import KUSTOMIZE_GROUP, Name, dependencies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitops.tree import Tree

PEER: Final = "firstlight.dev/waits-for-peer"
# kustomize-controller puts them on what it applies.
_ORIGIN: Final = (f"{KUSTOMIZE_GROUP}/namespace", f"{KUSTOMIZE_GROUP}/name")
WORKLOADS: Final = PurePosixPath("kubernetes/workloads")


def reasons(found: Mapping[Name, Object]) -> dict[Name, str]:
    """Why each Kustomization that is apart is so: `workload`, or `waiting for peer infra`; the others are left out.

    Args:
        found: Kustomizations, of the tree or of the live cluster.
    """
    result = {name: why for name, item in found.items() if (why := _own_reason(item))}
    while True:
        further = {
            name: why
            for name, item in found.items()
            if name not in result and (why := next((result[one] for one in _before(item, name) if one in result), ""))
        }
        if not further:
            return result
        result |= further


def of_tree(tree: Tree) -> dict[Name, str]:
    """As `reasons`, for the Kustomizations of the files, which do not carry the labels of who applies them."""
    appliers = {one.path: one.name for one in tree.kustomizations}
    found = {}
    for one in tree.kustomizations:
        applier = appliers[one.parent]
        labels: Object = dict(zip(_ORIGIN, applier, strict=True))
        found[one.name] = {**one.item, "metadata": {**mapping(one.item, "metadata"), "labels": labels}}
    return reasons(found)


def _own_reason(item: Object) -> str:
    peer = text(item, "metadata", "annotations", PEER)
    if peer:
        return f"waiting for peer {peer}"
    return "workload" if PurePosixPath(text(item, "spec", "path")).is_relative_to(WORKLOADS) else ""


def _before(item: Object, name: Name) -> list[Name]:
    """What a Kustomization depends on, and the one that applies it."""
    applier = Name(*(text(item, "metadata", "labels", label) for label in _ORIGIN))
    return [*dependencies(item, name.namespace), *([applier] if applier != name else [])]
