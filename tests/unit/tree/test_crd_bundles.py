"""The bundles of definitions of each cluster: the stand-in charts through the real helmfile, helm and yq."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import yaml_io
from bootstrap.host.commands import CommandError
from bootstrap.host.errors import InputError
from bootstrap.host.objects import name_of, objects, text
from phases.definitions import EXPECTED, disagreements, judge, refuse, unrendered
from tests.unit.tree.bundles import FILE, Bundles
from tests.unit.tree.rendered import ROOT, Programs

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.host.commands import CommandRunner
    from rehearsal.charts import PackagedChart

CLUSTERS = ("apps", "infra", "lab")
# What sets kubectl's client-side apply its limit: the annotation that it would have to write.
LARGEST_ANNOTATION = 262_144
CHANNEL = "gateway.networking.k8s.io/channel"


@pytest.fixture
def bundles(tmp_path: Path, programs: Programs, runner: CommandRunner, charts: dict[str, PackagedChart]) -> Bundles:
    return Bundles(tmp_path, programs, runner, charts)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_charts_bring_what_is_expected(bundles: Bundles, cluster: str) -> None:
    assert judge(bundles.root, cluster, bundles.tree(cluster), bundles.extract(cluster)) == ()


def test_the_charts_are_as_awkward_as_the_real_ones(bundles: Bundles) -> None:
    found = {name_of(item): item for item in bundles.extract("infra")}
    operators = objects(found["alertmanagerconfigs.monitoring.coreos.com"], "spec", "versions")
    assert "'='" in str(operators)
    assert "dnsendpoints.externaldns.k8s.io" in found
    large = [name for name, item in found.items() if len(yaml_io.dump(item)) > LARGEST_ANNOTATION]
    assert len(large) > 1
    assert text(found["httproutes.gateway.networking.k8s.io"], "metadata", "annotations", CHANNEL) == "experimental"


@pytest.mark.parametrize(
    ("switch", "missing"),
    [
        ("- crds:\n          enabled: true\n\n  - name: external-secrets", "cert-manager.io/Certificate"),
        ("- platform:\n          enabled: true", "monitoring.coreos.com/ServiceMonitor"),
    ],
)
def test_a_switch_that_is_off_is_refused_before_anything_is_applied(
    bundles: Bundles, switch: str, missing: str
) -> None:
    content = bundles.file.read_text()
    assert switch in content
    bundles.file.write_text(content.replace(switch, switch.replace("true", "false")))
    with pytest.raises(InputError) as caught:
        refuse(judge(bundles.root, "infra", bundles.tree("infra"), bundles.extract("infra")))
    problems = [one for one in caught.value.problems if one.text.startswith(f"{missing} is expected")]
    assert problems[0].path == EXPECTED
    assert problems[0].line > 1


@pytest.mark.parametrize(
    ("changed", "name", "said"),
    [
        (
            ("oci://docker.io/envoyproxy/gateway-crds-helm", "oci://quay.io/jetstack/charts/cert-manager"),
            "gateway-api", "are of v1.5.4, and cert-manager/cert-manager runs the controller of v1.19.1",
        ),
        (("    version: 13.0.1\n", ""), "prometheus-operator-crds", "come from a chart without a version"),
    ],
)  # fmt: skip
def test_bundles_fit_their_controllers(
    tmp_path: Path, bundles: Bundles, changed: tuple[str, str], name: str, said: str
) -> None:
    assert disagreements(ROOT, bundles.tree("infra")) == ()
    file = tmp_path / "changed" / FILE
    file.parent.mkdir(parents=True)
    file.write_text((ROOT / FILE).read_text().replace(*changed))
    (problem,) = disagreements(tmp_path / "changed", bundles.tree("infra"))
    assert problem.text == f"the definitions of {name} {said}"
    assert problem.path == FILE
    assert problem.line > 1


def test_a_chart_that_cannot_be_pulled_is_named_where_its_version_stands(bundles: Bundles) -> None:
    content = bundles.file.read_text()
    broken = re.sub(r"chart: .*snapshot-controller.*", "chart: oci://127.0.0.1:1/charts/snapshot-controller", content)
    bundles.file.write_text(broken)
    with pytest.raises(CommandError) as caught:
        bundles.extract("infra")
    (found,) = unrendered(bundles.root, caught.value.stderr)
    line = 1 + broken[: broken.index("version: 4.1.0")].count("\n")
    assert str(found).startswith(f"{FILE}:{line}:14: the definitions of snapshot-controller: failed to perform")
