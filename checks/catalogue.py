"""Every check, all problems at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks import certificates, definitions, pods, settings
from checks.installed import installed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.host.errors import Problem
    from bootstrap.host.objects import Object
    from bootstrap.host.yaml_io import Yaml
    from gitops.tree import Tree


def check(
    tree: Tree, rendered: bytes, *, crds: Sequence[Yaml], resources: Sequence[Object], endpoint: tuple[str, str]
) -> tuple[Problem, ...]:
    """Everything that is wrong with releases before one of them is installed.

    Args:
        tree: of the cluster.
        rendered: what `helmfile template` printed of its core releases.
        crds: the documents of `00-crds.yaml`.
        resources: the objects of `bootstrap/resources.yaml`.
        endpoint: host and port of the Kubernetes API as machines know it.

    Raises:
        InputError: a release cannot be read at all.
    """
    every = installed(tree, rendered)
    namespaces = [item for item in resources if item.get("kind") == "Namespace"]
    namespaces += [item for _, item in tree.of_kind("", "Namespace")]
    found = [
        *definitions.check(every, definitions.bundles(crds)),
        *settings.check(every, endpoint),
        *pods.check(every, pods.levels(namespaces)),
        *certificates.check(every),
    ]
    return tuple(dict.fromkeys(found))
