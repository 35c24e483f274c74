"""Charts pulled ahead: what installs releases takes them from there, and what was rendered is not rendered again."""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.objects import mapping
from bootstrap.host.secret import Redactor
from gitops.releases import releases, write_core
from inventory.loader import load
from kube import helm
from phases import foresight
from phases.charts import helmfile, kept, pulled_core, surroundings
from phases.world import World
from talos.client import Talosctl
from tests.unit.tree.rendered import ROOT, Programs

if TYPE_CHECKING:
    from bootstrap.host.commands import Command, CommandRunner, Result
    from gitops.tree import Tree
    from rehearsal.charts import PackagedChart

CORE = "01-core.yaml.gotmpl"


class Counting:
    """Starts programs for real, and counts."""

    def __init__(self, runner: CommandRunner) -> None:
        self.started: list[str] = []
        self._runner = runner

    def run(self, command: Command) -> Result:
        self.started.append(command.program.name)
        return self._runner.run(command)


@pytest.fixture
def world(tmp_path: Path, programs: Programs, runner: CommandRunner) -> World:
    counting = Counting(runner)
    return World(
        root=ROOT, cluster=load(ROOT, "infra"), state=tmp_path / "state", runner=counting,
        programs={name: programs(name) for name in ("helm", "helmfile")}, talosctl=Talosctl(Path("/no"), counting),
        observe=foresight.untouched, connect=foresight.untouched, redactor=Redactor(), environment={}, trust=None,
        overlays=(), commit="", stand_ins=frozenset(), cache=tmp_path / "cache",
    )  # fmt: skip


@pytest.fixture
def pulled(world: World, trees: dict[str, Tree], charts: dict[str, PackagedChart]) -> Path:
    """Preflight's surroundings, the charts in them as helmfile leaves them; gives `CORE_FOLDER`."""
    folder = surroundings(world, "preflight")
    (folder / "cache" / "repository").mkdir(parents=True)
    for one in releases(trees["infra"]):
        chart = charts[one.chart.rpartition("/")[2]]
        if one.repository:
            shutil.copy(chart.file, folder / "cache" / "repository")
            continue
        with tarfile.open(chart.file) as archive:
            archive.extractall(folder / "helmfile" / "oci__somewhere" / one.version, filter="data")
    write_core(trees["infra"], world.state / "core")
    return world.state / "core"


@pytest.mark.parametrize("release", ["cilium", "coredns", "flux-instance"])
def test_a_release_is_installed_from_the_chart_that_was_pulled(
    world: World, pulled: Path, trees: dict[str, Tree], release: str
) -> None:
    """The names of the tree's registries lead nowhere here, so only what was pulled can have been rendered."""
    (one,) = (each for each in releases(trees["infra"]) if each.release_name == release)
    chart = helm.pulled_chart(surroundings(world, "preflight"), one.chart, one.version)
    assert chart
    folder = pulled_core(world, trees["infra"], pulled, release)
    rendered = helmfile(world, folder, CORE, kubeconfig=None, purpose=release).template(release)
    assert f"# Source: {chart.name.partition(f'-{one.version}')[0]}/templates/" in rendered.decode()


def test_no_repository_is_asked(world: World, pulled: Path, trees: dict[str, Tree]) -> None:
    folder = pulled_core(world, trees["infra"], pulled, "cilium")
    known = mapping(yaml_io.load((folder / "releases.yaml").read_bytes(), source="releases"))
    assert known["repositories"] == []
    places = [
        str(mapping(one)["chart"]) for space in mapping(known, "charts").values() for one in mapping(space).values()
    ]
    assert all(Path(place).is_relative_to(surroundings(world, "preflight")) for place in places)


def test_a_chart_that_was_not_pulled_is_pulled_when_it_is_installed(
    world: World, pulled: Path, trees: dict[str, Tree]
) -> None:
    shutil.rmtree(surroundings(world, "preflight") / "helmfile")
    assert pulled_core(world, trees["infra"], pulled, "cilium") == pulled


def test_what_was_rendered_starts_no_program_again(world: World, pulled: Path, trees: dict[str, Tree]) -> None:
    local = pulled_core(world, trees["infra"], pulled, "preflight")
    assert isinstance(world.runner, Counting)

    def render(world: World) -> bytes:
        file = helmfile(world, local, CORE, kubeconfig=None, purpose="preflight")
        return kept(world, file, (), lambda: file.template("coredns"), charts=surroundings(world, "preflight"))

    first = render(world)
    assert world.runner.started.count("helmfile") == 1
    shutil.rmtree(surroundings(world, "preflight") / "helmfile")
    assert render(world) == first
    assert world.runner.started.count("helmfile") == 1
    assert pulled_core(world, trees["infra"], pulled, "coredns") != pulled
    virtual = replace(world, cluster=replace(world.cluster, virtual=True))
    for other in (virtual, replace(world, cache=None)):
        before = world.runner.started.count("helmfile")
        assert render(other) == first
        assert world.runner.started.count("helmfile") == before + 1
    for served, more in (("one", 1), ("one", 0), ("another", 1)):
        before = world.runner.started.count("helmfile")
        assert render(replace(virtual, charts=served)) == first
        assert world.runner.started.count("helmfile") == before + more
