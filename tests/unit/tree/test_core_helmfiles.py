"""The helmfiles, rendered by the real helmfile from what a run leaves for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import Command, CommandRunner
from bootstrap.host.objects import Object, mapping, name_of, objects, sequence, text
from bootstrap.host.yaml_io import dump, load_all
from phases.refs import CORE_RELEASES
from tests.unit.tree.rendered import CLUSTERS, ROOT, Programs, Rendered

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def helmfile(tmp_path: Path, programs: Programs, runner: CommandRunner, core: Path) -> Helmfile:
    environment = {"FIRSTLIGHT_CORE": str(core), "HELMFILE_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    return Helmfile(programs, runner, "lab", environment)


class Helmfile:
    """The program for a cluster, with one environment."""

    def __init__(self, programs: Programs, runner: CommandRunner, cluster: str, environment: dict[str, str]) -> None:
        self.cluster = cluster
        self.environment = environment
        self._programs = programs
        self._runner = runner

    def documents(self, file: str, *words: str) -> list[Object]:
        flags = ("-f", str(ROOT / "bootstrap/helmfile.d" / file), "-e", self.cluster, "-q")
        words = (*flags, "-b", str(self._programs("helm")), *words)
        output = self._runner.run(Command(self._programs("helmfile"), words, self.environment)).text
        return [item for item in load_all(output, source=file) if isinstance(item, dict)]


def test_releases_come_in_their_order(helmfile: Helmfile) -> None:
    (state,) = helmfile.documents("01-core.yaml.gotmpl", "build")
    needs = {text(release, "name"): sequence(release, "needs") for release in objects(state, "releases")}
    spaces = {one.name: one.namespace for one in CORE_RELEASES}
    ours = {one.name: [f"{spaces[need]}/{need}" for need in one.needs] for one in CORE_RELEASES}
    assert list(needs) == list(ours)
    assert needs == ours


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_helm_gets_the_values_of_the_tree(
    helmfile: Helmfile, cores: dict[str, Path], everywhere: dict[str, dict[str, Rendered]], cluster: str
) -> None:
    helmfile.cluster = cluster
    helmfile.environment["FIRSTLIGHT_CORE"] = str(cores[cluster])
    ours = helmfile.documents("01-core.yaml.gotmpl", "template")
    wanted = [item for one in everywhere[cluster].values() for item in one.objects]
    assert {_key(item): item for item in ours} == {_key(item): item for item in wanted}


def test_what_a_tree_may_do_without_is_left_out(helmfile: Helmfile, core: Path, tmp_path: Path) -> None:
    optional = {one.name for one in CORE_RELEASES if one.optional}
    lean = tmp_path / "lean"
    lean.mkdir()
    for file in core.glob("*.yaml"):
        if file.stem not in optional:
            (lean / file.name).write_bytes(file.read_bytes())
    known = mapping(load_all((core / "releases.yaml").read_bytes(), source="releases")[0])
    for charts in mapping(known, "charts").values():
        for name in optional & mapping(charts).keys():
            del mapping(charts)[name]
    (lean / "releases.yaml").write_text(dump(known))
    helmfile.environment["FIRSTLIGHT_CORE"] = str(lean)
    kinds = [item["kind"] for item in helmfile.documents("01-core.yaml.gotmpl", "template")]
    assert kinds.count("Deployment") == sum(len(one.deployments) for one in CORE_RELEASES if not one.optional)


@pytest.mark.parametrize("by_hand", [True, False])
def test_helm_waits_by_hand_and_leaves_it_to_the_gates_in_a_run(
    helmfile: Helmfile, core: Path, tmp_path: Path, by_hand: object
) -> None:
    launcher = tmp_path / "launcher"
    launcher.write_text(f'#!/bin/sh\nexec cat "{core}/releases.yaml"\n')
    launcher.chmod(0o755)
    if by_hand:
        del helmfile.environment["FIRSTLIGHT_CORE"]
        helmfile.environment["FIRSTLIGHT_INVOKE"] = str(launcher)
    (state,) = helmfile.documents("01-core.yaml.gotmpl", "build")
    defaults = state["helmDefaults"]
    assert isinstance(defaults, dict)
    assert defaults["wait"] is by_hand
    assert defaults["createNamespace"] is False


def _key(item: Object) -> tuple[str, str]:
    return str(item["kind"]), name_of(item)
