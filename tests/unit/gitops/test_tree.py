"""The Flux tree from files, built by the real kustomize.

Each file of fixtures/tree/refused is a case: it takes the place of the file of `trees.py` that it names, and says
itself with which problems the tree is then refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError
from bootstrap.host.objects import dig, mapping, name_of, text
from gitops import origins, releases
from gitops.loader import load
from gitops.tree import KUSTOMIZE_GROUP, Name
from tests.unit.gitops import trees

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED = sorted((Path(__file__).parents[2] / "fixtures" / "tree" / "refused").iterdir())


def test_releases_have_chart_version_and_values(tmp_path: Path, programs: Callable[[str], Path]) -> None:
    tree = load(trees.write(tmp_path), "lab", trees.kustomize(programs))
    assert [str(one.name) for one in tree.kustomizations] == [
        "flux-system/flux-system", "flux-system/apps", "flux-system/plain",
    ]  # fmt: skip
    one, two = releases.releases(tree)
    assert (one.namespace, one.release_name, one.chart, one.version) == (
        "apps", "one", "oci://ghcr.io/charts/one", "1.2.3",
    )  # fmt: skip
    assert one.values == {
        "id": 250, "components": ["a", "b"], "greeting": "hello world", "escaped": "${CLUSTER}",
    }  # fmt: skip
    assert (two.namespace, two.release_name) == ("elsewhere", "elsewhere-two")
    assert two.values == {"deep": {"own": 1, "default": 2}, "literal": "${CLUSTER}"}
    assert releases.core_releases(tree) == {
        "charts": {
            "apps": {"one": {"chart": "oci://ghcr.io/charts/one", "version": "1.2.3"}},
            "elsewhere": {"elsewhere-two": {"chart": "elsewhere-two/two", "version": "4.5.6"}},
        },
        "repositories": [{"name": "elsewhere-two", "url": "https://charts.example"}],
    }


def test_what_helmfile_reads_is_left_in_a_folder(tmp_path: Path, programs: Callable[[str], Path]) -> None:
    tree = load(trees.write(tmp_path), "lab", trees.kustomize(programs))
    releases.write_core(tree, tmp_path / "core")
    assert sorted(file.name for file in (tmp_path / "core").iterdir()) == [
        "elsewhere-two.yaml", "one.yaml", "releases.yaml",
    ]  # fmt: skip
    (values,) = yaml_io.load_file(tmp_path / "core" / "one.yaml")
    assert values == releases.core_values(tree, "one")


def test_a_kustomizations_own_changes_are_applied(tmp_path: Path, programs: Callable[[str], Path]) -> None:
    tree = load(trees.write(tmp_path), "lab", trees.kustomize(programs))
    plain = {name_of(item): item for item in tree.kustomizations[2].objects}
    assert set(plain) == {"a", "c"}
    assert {text(item, "metadata", "namespace") for item in plain.values()} == {"other"}
    assert {text(item, "data", "patched") for item in plain.values()} == {"yes"}
    # Without any variable nothing is substituted.
    assert text(plain["a"], "data", "k") == "${CLUSTER}"
    assert not (tmp_path / "kubernetes/plain/kustomization.yaml").exists()


def test_everything_that_flux_adds_to_a_folder_is_applied(tmp_path: Path, programs: Callable[[str], Path]) -> None:
    root = trees.write(tmp_path) / "kubernetes"
    (root / "component").mkdir()
    (root / "component" / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
        'patches: [{target: {kind: Pod}, patch: \'[{"op": "add", "path": "/spec/hostNetwork", "value": true}]\'}]\n'
    )
    (root / "plain" / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {own: x, team: theirs}}\n"
        "spec: {containers: [{name: c, image: docker.io/i:1}]}\n"
    )
    apps = root / "clusters" / "lab" / "apps.yaml"
    apps.write_text(
        f"{apps.read_text()}  components: [../component, ../none]\n  ignoreMissingComponents: true\n"
        "  images: [{name: docker.io/i, newName: ghcr.io/j, newTag: '2'}]\n  namePrefix: pre-\n  nameSuffix: -post\n"
        "  commonMetadata: {labels: {team: ours}, annotations: {note: a}}\n"
    )
    tree = load(tmp_path, "lab", trees.kustomize(programs))
    found = {name_of(item): item for item in tree.kustomizations[2].objects}
    assert set(found) == {"pre-a-post", "pre-c-post", "pre-p-post"}
    assert found["pre-p-post"]["metadata"] == {
        "name": "pre-p-post", "namespace": "other", "labels": {"own": "x", "team": "ours"},
        "annotations": {"note": "a"},
    }  # fmt: skip
    assert found["pre-p-post"]["spec"] == {
        "containers": [{"name": "c", "image": "ghcr.io/j:2"}], "hostNetwork": True,
    }  # fmt: skip
    at = origins.problem("it", root=tmp_path, folder="kubernetes/plain", item=found["pre-p-post"], at=("spec",))
    assert str(at) == "kubernetes/plain/pod.yaml:4:7: it"


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.stem)
def test_refused_with_every_problem(tmp_path: Path, programs: Callable[[str], Path], case: Path) -> None:
    content = case.read_text()
    (name,) = re.findall(r"^# file: (.*)$", content, re.MULTILINE)
    wanted = re.findall(r"^# refused: (.*)$", content, re.MULTILINE)
    (trees.write(tmp_path) / "kubernetes" / name).write_text(content)
    with pytest.raises(InputError) as caught:
        releases.releases(load(tmp_path, "lab", trees.kustomize(programs)))
    assert wanted
    assert [str(problem) for problem in caught.value.problems] == wanted


def test_an_unknown_release_gets_the_nearest_names(tmp_path: Path, programs: Callable[[str], Path]) -> None:
    tree = load(trees.write(tmp_path), "lab", trees.kustomize(programs))
    with pytest.raises(InputError, match="did you mean one"):
        releases.release(tree, "on")


def test_an_object_is_found_with_its_kustomization(tmp_path: Path, programs: Callable[[str], Path]) -> None:
    tree = load(trees.write(tmp_path), "lab", trees.kustomize(programs))
    found = tree.find(KUSTOMIZE_GROUP, "Kustomization", Name("flux-system", "apps"))
    assert found is not None
    assert str(found[0].name) == "flux-system/flux-system"
    assert dig(mapping(found[1], "spec"), "path") == "./kubernetes/apps"
