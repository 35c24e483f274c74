"""Writes `recorded/` from the real programs: `.venv/bin/pytest -q tests/scripted/record.py`.

The file's name keeps it out of the test run. It takes a native API server, because only a helm that installs
leaves what helm stores.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.objects import mapping, text
from bootstrap.host.yaml_io import load
from gitops.build import Kustomize
from kube import helm
from kube.cluster import NAMESPACE, SECRET
from kube.helmfile import Helmfile
from phases.refs import core_releases
from talos.client import Talosctl
from tests.api.conftest import ApiServer, api_server, cluster
from tests.scripted.recordings import ROOT, Recordings, charts_digest, of_the_machine, of_the_tree
from tests.unit.tree.bundles import Bundles
from tests.unit.tree.conftest import charts, core, module_folder, runner, tree, trees

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.commands import CommandRunner
    from bootstrap.host.objects import Object
    from gitops.tree import Tree
    from kube.lightkube_cluster import LightkubeCluster
    from rehearsal.charts import PackagedChart
    from tests.unit.tree.rendered import Programs

# Fixtures of other rings, used here.
__all__ = ["api_server", "charts", "cluster", "core", "module_folder", "runner", "tree", "trees"]

RECORDED = Recordings()
KEPT = frozenset({"ConfigMap", "DaemonSet", "Deployment", "FluxInstance"})


@pytest.fixture
def definitions(
    tmp_path: Path, programs: Programs, runner: CommandRunner, charts: dict[str, PackagedChart]
) -> list[Object]:
    return Bundles(tmp_path / "bundles", programs, runner, charts).extract("lab")


def test_record_what_needs_no_cluster(tree: Tree, programs: Programs, runner: CommandRunner) -> None:
    kustomize, talosctl = Kustomize(runner, programs("kustomize")), Talosctl(programs("talosctl"), runner)
    for name, content in {**of_the_tree(tree, kustomize), **of_the_machine(talosctl), **charts_digest()}.items():
        RECORDED.write(name, content)


def test_record_the_releases(
    programs: Programs, api_server: ApiServer, cluster: LightkubeCluster, core: Path, tmp_path: Path,
    *, tree: Tree, definitions: list[Object],
) -> None:  # fmt: skip
    RECORDED.write("definitions.jsonl", "".join(f"{json.dumps(item)}\n" for item in definitions))
    file = _helmfile(programs, core, tmp_path, "01-core.yaml.gotmpl", api_server.kubeconfig_path)
    RECORDED.write("releases.yaml", file.template(kube_version="1.34.1").decode())
    cluster.apply([_namespace(name) for name in {one.namespace for one in core_releases(tree)} - {"kube-system"}])
    cluster.apply(definitions)
    for one in core_releases(tree):
        file.sync(one.name)
        (stored,) = cluster.list_objects(SECRET, one.namespace, labels=f"owner=helm,name={one.name}")
        packed = base64.b64decode(base64.b64decode(text(stored, "data", "release")))
        release = json.loads(gzip.decompress(packed))
        assert helm.decode(stored).deployed_by == "Helm"
        RECORDED.write(f"release-{one.name}.json", json.dumps(_lean(release), indent=1, sort_keys=True))


def _helmfile(programs: Programs, core: Path, tmp_path: Path, name: str, kubeconfig: Path | None = None) -> Helmfile:
    from bootstrap.host.commands import ShCommandRunner
    from bootstrap.host.secret import Redactor

    environment = {"FIRSTLIGHT_CORE": str(core), "FIRSTLIGHT_HELM_WAIT": "false"}
    return Helmfile(
        ShCommandRunner(Redactor()), programs("helmfile"), programs("helm"), ROOT / "bootstrap" / "helmfile.d" / name,
        "lab", environment={**helm.helm_environment(tmp_path / "helm"), **environment}, kubeconfig=kubeconfig,
    )  # fmt: skip


def _namespace(name: str) -> Object:
    return {"apiVersion": NAMESPACE[0], "kind": NAMESPACE[1], "metadata": {"name": name}}


def _lean(release: Object) -> Object:
    """What is read a thousand times: the chart without its files, of its objects those that something is asked of."""
    chart = release["chart"]
    assert isinstance(chart, dict)
    for place in ("templates", "files"):
        chart[place] = [{"name": "all", "data": "recorded"}] if chart.get(place) else chart.get(place)
    chart["schema"] = None
    documents = text(release, "manifest").split("---\n")
    release["manifest"] = "---\n".join(
        one for one in documents if mapping(load(one, source="manifest")).get("kind") in KEPT
    )
    return release
