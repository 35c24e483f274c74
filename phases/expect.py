"""`invoke crds.expect`: what the charts of a cluster bring, written down for people to review."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.files import write_atomically
from bootstrap.host.secret import Redactor
from bootstrap.host.streams import write_data
from gitops.build import Kustomize
from gitops.loader import load as load_tree
from gitops.releases import write_core
from kube.crd_audit import renewed, served_versions
from kube.crds import extract
from phases.charts import helmfile
from phases.definitions import EXPECTED, HELMFILE, disagreements, expected, refuse
from phases.plan import aside
from phases.session import open_world

if TYPE_CHECKING:
    from phases.session import Request


def expect(request: Request) -> None:
    """Renew a cluster's part of `bootstrap/expected-crds.yaml` from its charts; says how many there are.

    Raises:
        InputError: the tree, a chart or a definition is not usable.
        CommandError: helmfile or yq failed.
    """
    redactor = Redactor()
    runner = ShCommandRunner(redactor)
    world = open_world(request, runner, runner, redactor)
    cluster = request.cluster.name
    tree = load_tree(world.root, cluster, Kustomize(runner, world.programs["kustomize"]))
    refuse(disagreements(world.root, tree))
    with tempfile.TemporaryDirectory(prefix="firstlight-expect-") as folder:
        apart = aside(world, Path(folder) / cluster, live=False)
        write_core(tree, apart.state / "core")
        found = extract(helmfile(apart, apart.state / "core", HELMFILE, kubeconfig=None), world.programs["yq"])
    text = renewed(expected(world.root), found, cluster=cluster, source=EXPECTED)
    write_atomically(world.root / EXPECTED, text.encode())
    write_data(f"{EXPECTED}: {len(served_versions(found))} definitions of {cluster}\n")
