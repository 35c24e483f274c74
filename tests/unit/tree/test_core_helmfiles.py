"""The helmfiles, rendered by the real helmfile from what a run leaves for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import Command, CommandRunner
from bootstrap.host.objects import Object, name_of, objects, sequence, text
from bootstrap.host.yaml_io import load_all
from phases.refs import CORE_RELEASES
from tests.unit.tree.rendered import ROOT, Programs, Rendered

if TYPE_CHECKING:
    from pathlib import Path

FLUX_OPERATOR_DEFINITIONS = {
    "fluxinstances.fluxcd.controlplane.io",
    "fluxreports.fluxcd.controlplane.io",
    "resourcesetinputproviders.fluxcd.controlplane.io",
    "resourcesets.fluxcd.controlplane.io",
}


@pytest.fixture
def helmfile(tmp_path: Path, programs: Programs, runner: CommandRunner, core: Path) -> Helmfile:
    environment = {"FIRSTLIGHT_CORE": str(core), "HELMFILE_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    return Helmfile(programs, runner, environment)


class Helmfile:
    """The program with one environment."""

    def __init__(self, programs: Programs, runner: CommandRunner, environment: dict[str, str]) -> None:
        self.environment = environment
        self._programs = programs
        self._runner = runner

    def documents(self, file: str, *words: str) -> list[Object]:
        flags = ("-f", str(ROOT / "bootstrap/helmfile.d" / file), "-e", "lab", "-b", str(self._programs("helm")), "-q")
        output = self._runner.run(Command(self._programs("helmfile"), (*flags, *words), self.environment)).text
        return [item for item in load_all(output, source=file) if isinstance(item, dict)]


def test_definitions_are_exactly_those_of_flux_operator(helmfile: Helmfile) -> None:
    documents = helmfile.documents("00-crds.yaml", "template")
    definitions = {name_of(item) for item in documents if item["kind"] == "CustomResourceDefinition"}
    assert definitions == FLUX_OPERATOR_DEFINITIONS


def test_releases_bring_no_definitions(rendered: dict[str, Rendered]) -> None:
    kinds = {str(item["kind"]) for one in rendered.values() for item in one.objects}
    assert "CustomResourceDefinition" not in kinds


def test_releases_come_in_their_order(helmfile: Helmfile) -> None:
    (state,) = helmfile.documents("01-core.yaml.gotmpl", "build")
    needs = {text(release, "name"): sequence(release, "needs") for release in objects(state, "releases")}
    spaces = {one.name: one.namespace for one in CORE_RELEASES}
    ours = {one.name: [f"{spaces[need]}/{need}" for need in one.needs] for one in CORE_RELEASES}
    assert list(needs) == list(ours)
    assert needs == ours


def test_helm_gets_the_values_of_the_tree(helmfile: Helmfile, rendered: dict[str, Rendered]) -> None:
    ours = helmfile.documents("01-core.yaml.gotmpl", "template")
    wanted = [item for one in rendered.values() for item in one.objects]
    assert {_key(item): item for item in ours} == {_key(item): item for item in wanted}


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
