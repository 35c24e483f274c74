"""What helmfile 1.1.7 with helm 3.19 said, and the places that it is about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from checks.rendering import problems
from tests.unit.checks.test_checks import PLACE, tree_of

if TYPE_CHECKING:
    from gitops.tree import Tree

SAID = Path(__file__).parents[2] / "fixtures" / "helmfile"
FILE = "releases.yaml"
RELEASES = """\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: cilium, namespace: kube-system}
spec:
  chart:
    spec: {chart: cilium, sourceRef: {kind: HelmRepository, name: cilium}, version: 1.18.3}
  releaseName: cilium
  values:
    kubeProxyReplacement: false
    ipam:
      mode: cluster-pool
    nonsense: 1
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: cilium, namespace: kube-system}
spec: {url: https://helm.cilium.io/}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: coredns, namespace: kube-system}
spec:
  chartRef: {kind: OCIRepository, name: coredns}
  releaseName: coredns
  values: {}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: coredns, namespace: kube-system}
spec:
  ref: {tag: 1.38.0}
  url: oci://ghcr.io/coredns/charts/coredns
"""


def tree(root: Path) -> Tree:
    (root / PLACE).mkdir(parents=True)
    (root / PLACE / FILE).write_text(RELEASES)
    return tree_of(root, [one for one in yaml_io.load_all(RELEASES, source=FILE) if isinstance(one, dict)])


def test_a_chart_that_cannot_be_pulled_is_named_where_its_version_stands(tmp_path: Path) -> None:
    (found,) = problems(tree(tmp_path), (SAID / "pull-refused.txt").read_text())
    assert str(found).startswith(
        f"{PLACE}/{FILE}:31:8: kube-system/coredns: chart oci://ghcr.io/coredns/charts/coredns 1.38.0: failed to "
    )
    assert str(found).endswith("connect: connection refused")


def test_what_is_about_no_release_is_left_to_others(tmp_path: Path) -> None:
    assert problems(tree(tmp_path), "Error: no such file") == ()


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("execution error at (cilium/templates/validate.yaml:61:3): the mesh needs an id", "9:5"),
        ('chart "cilium" version "1.18.3" not found in https://helm.cilium.io/ repository', "6:85"),
    ],
)
def test_a_template_points_at_the_values_and_a_repository_at_the_version(
    tmp_path: Path, words: str, place: str
) -> None:
    said = (SAID / "pull-refused.txt").read_text().replace('release "coredns"', 'release "cilium"')
    first = said[said.index("failed to perform") : said.index("\n\nCOMBINED")]
    (found,) = problems(tree(tmp_path), said.replace(first, words))
    assert str(found).startswith(f"{PLACE}/{FILE}:{place}: kube-system/cilium: ")
    assert str(found).endswith(words)
