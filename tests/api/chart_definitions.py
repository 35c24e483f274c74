"""The custom resource definitions of a lab chart, as its recipe takes them from the component's own Go module."""

from __future__ import annotations

import json
import os
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.objects import name_of, objects, text
from bootstrap.host.secret import Redactor
from bootstrap.host.yaml_io import load, load_file
from kube import crds
from kube.cluster import CUSTOM_RESOURCE_DEFINITION

if TYPE_CHECKING:
    from bootstrap.host.objects import Object
    from kube.lightkube_cluster import LightkubeCluster

CHARTS = Path(__file__).parents[2] / "lab" / "charts"
# Where definitions stand that the recipe takes as templates: cert-manager's module has them plain as well.
PLAIN = {"cert-manager": "deploy/crds/*.yaml"}
# Seconds; an API server of a test establishes a definition within one.
_PATIENCE = 30.0


@cache
def definitions(chart: str, *wanted: str) -> tuple[Object, ...]:
    """Those of a chart's definitions that have these names."""
    recipe = load((CHARTS / chart / "lab.yaml").read_bytes(), source=chart)
    entry = objects(recipe, "files")[0]
    pattern = PLAIN.get(chart, text(entry, "path"))
    found = [
        cast("Object", item)
        for file in sorted(_folder(text(entry, "module"), text(entry, "version")).glob(pattern))
        for item in load_file(file, root=file.parent)
        if name_of(cast("Object", item)) in wanted
    ]
    assert {name_of(item) for item in found} == set(wanted)
    return tuple(found)


def establish(cluster: LightkubeCluster, items: tuple[Object, ...]) -> None:
    """Put definitions into a cluster and wait until what they define is served."""
    cluster.apply(items)
    names = {name_of(item) for item in items}
    assert any(look.holds for look in crds.watch_established(cluster, names, seconds=_PATIENCE))
    assert crds.established(cluster.list_objects(CUSTOM_RESOURCE_DEFINITION), names).holds
    while not crds.served(cluster, items).holds:
        pass


def _folder(module: str, version: str) -> Path:
    go = shutil.which("go")
    assert go, "go is not installed"
    environment = {name: value for name, value in os.environ.items() if name.startswith("GO")}
    command = Command(Path(go), ("mod", "download", "-json", f"{module}@{version}"), environment, timeout=300)
    return Path(json.loads(ShCommandRunner(Redactor()).run(command).text)["Dir"])
