"""The real programs over the real tree, packaged and rendered once a session."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import Command, CommandRunner, ShCommandRunner
from bootstrap.host.secret import Redactor
from bootstrap.host.yaml_io import load_all
from gitops import releases
from gitops.build import Kustomize
from gitops.loader import load
from rehearsal.charts import PackagedChart, package
from tests.unit.tree.rendered import CLUSTERS, ROOT, Programs, Rendered

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitops.tree import Tree


@pytest.fixture(scope="session")
def runner() -> CommandRunner:
    return ShCommandRunner(Redactor())


@pytest.fixture(scope="session")
def module_folder(runner: CommandRunner) -> Callable[[str, str], Path]:
    go = shutil.which("go")
    assert go, "go is not installed"

    def find(module: str, version: str) -> Path:
        # Go's own settings say where modules come from.
        environment = {name: value for name, value in os.environ.items() if name.startswith("GO")}
        arguments = ("mod", "download", "-json", f"{module}@{version}")
        command = Command(Path(go), arguments, environment, timeout=300)
        return Path(json.loads(runner.run(command).text)["Dir"])

    return find


@pytest.fixture(scope="session")
def trees(programs: Programs, runner: CommandRunner) -> dict[str, Tree]:
    """The tree of every cluster."""
    kustomize = Kustomize(runner, programs("kustomize"))
    return {name: load(ROOT, name, kustomize) for name in CLUSTERS}


@pytest.fixture(scope="session")
def tree(trees: dict[str, Tree]) -> Tree:
    """The lab's."""
    return trees["lab"]


@pytest.fixture(scope="session")
def charts(
    tmp_path_factory: pytest.TempPathFactory,
    programs: Programs,
    runner: CommandRunner,
    module_folder: Callable[[str, str], Path],
) -> dict[str, PackagedChart]:
    folder = tmp_path_factory.mktemp("charts")
    packaged = package(ROOT / "lab" / "charts", folder, programs("helm"), runner, module_folder)
    return {chart.name: chart for chart in packaged}


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory, tree: Tree, charts: dict[str, PackagedChart]) -> Path:
    """What a run leaves for helmfile's templates, with the charts on disk instead of in a registry."""
    return _leave(tmp_path_factory.mktemp("core"), tree, charts)


@pytest.fixture(scope="session")
def rendered(everywhere: dict[str, dict[str, Rendered]]) -> dict[str, Rendered]:
    """The lab's releases."""
    return everywhere["lab"]


@pytest.fixture(scope="session")
def cores(
    tmp_path_factory: pytest.TempPathFactory, trees: dict[str, Tree], charts: dict[str, PackagedChart]
) -> dict[str, Path]:
    """As `core`, for every cluster."""
    return {name: _leave(tmp_path_factory.mktemp(name), tree, charts) for name, tree in trees.items()}


@pytest.fixture(scope="session")
def everywhere(
    programs: Programs,
    runner: CommandRunner,
    trees: dict[str, Tree],
    charts: dict[str, PackagedChart],
    cores: dict[str, Path],
) -> dict[str, dict[str, Rendered]]:
    """Every release as helm renders it, by cluster and name."""
    found: dict[str, dict[str, Rendered]] = {name: {} for name in trees}
    for name, tree in trees.items():
        for one in releases.releases(tree):
            chart = charts[one.chart.rpartition("/")[2]]
            values = str(cores[name] / f"{one.release_name}.yaml")
            arguments = ("template", one.release_name, str(chart.file), "-n", one.namespace, "-f", values)
            text = runner.run(Command(programs("helm"), arguments)).text
            items = tuple(item for item in load_all(text, source=one.name) if isinstance(item, dict))
            found[name][one.release_name] = Rendered(chart, items)
    return found


def _leave(folder: Path, tree: Tree, charts: dict[str, PackagedChart]) -> Path:
    releases.write_core(tree, folder)
    file = folder / "releases.yaml"
    text = file.read_text()
    for one in releases.releases(tree):
        text = text.replace(one.helmfile_chart, str(charts[one.chart.rpartition("/")[2]].file))
    file.write_text(text.partition("repositories:")[0] + "repositories: []\n")
    return folder
