"""The Flux tree from files, built by the real kustomize."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError
from bootstrap.host.objects import dig, mapping, name_of, text
from gitops import releases
from gitops.tree import KUSTOMIZE_GROUP, Name, load
from tests.unit.gitops import trees

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("apps/one.yaml", "${CLUSTER_ID}", "${CLUSTER_IDD}",
         "kubernetes/apps/one.yaml:17:9: the variable CLUSTER_IDD is not set; did you mean CLUSTER_ID"),
        ("apps/one.yaml", "${CLUSTER_ID}", "${CLUSTER_ID-1}",
         "kubernetes/apps/one.yaml:10:1: HelmRelease one: missing closing brace"),
        ("clusters/lab/apps.yaml", "./kubernetes/apps", "./kubernetes/aps",
         "kubernetes/clusters/lab/apps.yaml:6:9: kubernetes/aps is not a folder"),
        ("clusters/lab/apps.yaml", "- name: apps", "- name: app",
         "apps.yaml:24:5: Kustomization flux-system/plain depends on flux-system/app, which is not in the tree; did"),
        ("clusters/lab/apps.yaml", "name: cluster-settings", "name: cluster-setting",
         "kubernetes/clusters/lab/apps.yaml:12:7: variables of flux-system/cluster-setting are missing: ConfigMap"),
        ("apps/kustomization.yaml", "one.yaml", "on.yaml", "kubernetes/apps: kustomize refuses the folder: "),
        ("clusters/lab/settings.yaml", "CLUSTER: lab", "CLUSTER: [lab",
         "kubernetes/clusters/lab/settings.yaml:6:13: did not find expected"),
    ],
)  # fmt: skip
def test_a_broken_tree_is_refused_at_its_place(
    tmp_path: Path, programs: Callable[[str], Path], *, file: str, old: str, new: str, expected: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(trees.write(tmp_path, {file: (old, new)}), "lab", trees.kustomize(programs))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("apps/one.yaml", "tag: ${VERSION}", "{}", "kubernetes/apps/one.yaml:8:5: OCIRepository apps/one: the version"),
        ("apps/one.yaml", "tag: ${VERSION}", "tag: 1.x", "the version '1.x' is not exact"),
        ("apps/one.yaml", "chartRef: {kind: OCIRepository, name: one}", "chartRef: {kind: OCIRepository, name: on}",
         "OCIRepository apps/on is not in the tree; did you mean apps/one"),
        ("apps/one.yaml", "  values:", "  valuez:", "kubernetes/apps/one.yaml:14:3: HelmRelease apps/one: no values"),
        ("apps/two.yaml", "      version: 4.5.6\n", "", "the chart two has no version"),
        ("apps/two.yaml", "name: defaults}", "name: default}", "values of ConfigMap apps/default (values.yaml)"),
        ("apps/two.yaml", "name: two}\n  valuesFrom", "name: two, namespace: x}\n  valuesFrom", "another namespace"),
    ],
)  # fmt: skip
def test_a_broken_release_is_refused_at_its_place(
    tmp_path: Path, programs: Callable[[str], Path], *, file: str, old: str, new: str, expected: str
) -> None:
    tree = load(trees.write(tmp_path, {file: (old, new)}), "lab", trees.kustomize(programs))
    with pytest.raises(InputError) as caught:
        releases.releases(tree)
    assert expected in str(caught.value)


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
