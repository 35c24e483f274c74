"""The lab serves every image that the tree's releases ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.host.objects import objects, text
from bootstrap.host.programs import Use
from bootstrap.host.yaml_io import load_file
from rehearsal.image import is_wanted
from tests.unit.tree.rendered import CLUSTERS, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.host.objects import Object
    from tests.unit.tree.rendered import Rendered


def asked_for(item: Object) -> Iterator[str]:
    for key in ("containers", "initContainers"):
        yield from (text(one, "image") for one in objects(item, "spec", "template", "spec", key))


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_image_of_every_container_is_served(everywhere: dict[str, dict[str, Rendered]], cluster: str) -> None:
    # A rehearsed cluster has all of them, the lab's own only what its tree has a use for.
    uses = [use for use in Use if cluster != "lab" or use is not Use.REHEARSAL]
    entries = load_file(ROOT / "lab" / "images.yaml")[0]
    served = {text(entry, "image") for entry in entries if is_wanted(entry, uses)}  # type: ignore[union-attr,arg-type]  # a list of mappings
    wanted = {
        image for release in everywhere[cluster].values() for item in release.objects for image in asked_for(item)
    }
    assert {image.partition("@")[0] for image in wanted} <= served
