"""The checks over this repository's own tree and what its charts render."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from bootstrap.host import yaml_io
from checks.catalogue import check
from checks.installed import installed
from inventory.loader import load
from phases.resources import load_resources, purposes, unknown_references
from tests.unit.tree.rendered import CLUSTERS, ROOT, Rendered

if TYPE_CHECKING:
    from gitops.tree import Tree


def printed(every: dict[str, Rendered]) -> bytes:
    """As helm prints it."""
    return "".join(
        f"---\n# Source: {name}/templates/a.yaml\n{yaml_io.dump(item)}"
        for name, one in every.items()
        for item in one.objects
    ).encode()


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_release_is_fit_to_be_installed(
    trees: dict[str, Tree], everywhere: dict[str, dict[str, Rendered]], cluster: str
) -> None:
    tree, rendered = trees[cluster], printed(everywhere[cluster])
    assert all(one.objects for one in installed(tree, rendered))
    address = urlsplit(load(ROOT, cluster).endpoint)
    crds = yaml_io.load_file(ROOT / "bootstrap/helmfile.d/00-crds.yaml")
    resources = load_resources(ROOT)
    endpoint = (str(address.hostname), str(address.port))
    assert check(tree, rendered, crds=crds, resources=resources, endpoint=endpoint) == ()
    # What is checked is there: with another endpoint the same tree is refused.
    assert len(check(tree, rendered, crds=crds, resources=resources, endpoint=("other", "6443"))) == 1


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_secret_that_resources_ask_for_is_in_the_inventory(cluster: str) -> None:
    assert unknown_references(ROOT, load_resources(ROOT), purposes(load(ROOT, cluster).secrets)) == ()
