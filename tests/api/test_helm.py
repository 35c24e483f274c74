"""helm, helmfile and yq as they are, and what they leave in a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.errors import InputError
from bootstrap.host.objects import name_of
from bootstrap.host.secret import Redactor
from kube import crds, helm
from kube.cluster import CUSTOM_RESOURCE_DEFINITION, Outcome
from kube.helmfile import Helmfile
from tests.api import charts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kube.lightkube_cluster import LightkubeCluster
    from tests.api.conftest import ApiServer

KEY = b"a key of the run"


@pytest.fixture
def helmfile(tmp_path: Path, api_server: ApiServer, programs: Callable[[str], Path]) -> Helmfile:
    return Helmfile(
        runner=ShCommandRunner(Redactor()),
        helmfile=programs("helmfile"),
        helm=programs("helm"),
        file=charts.write(tmp_path),
        cluster="lab",
        environment=helm.helm_environment(tmp_path / "helm"),
        kubeconfig=api_server.kubeconfig_path,
    )


def test_needs_are_read_in_the_files_order(helmfile: Helmfile) -> None:
    assert helmfile.needs() == {"first": (), "second": ("first",)}


def test_a_release_is_synced_alone_and_read_back(helmfile: Helmfile, cluster: LightkubeCluster) -> None:
    assert helm.latest(cluster, "second", "default") is None
    helmfile.sync("second")
    assert helm.latest(cluster, "first", "default") is None
    release = helm.latest(cluster, "second", "default")
    assert release is not None
    assert (release.revision, release.status, release.deployed_by) == (1, "deployed", "Helm")
    assert (release.chart, release.version, release.values) == ("app", "1.2.3", {})
    assert [name_of(item) for item in release.objects()] == ["second-settings", "second"]
    helmfile.sync("first")
    helmfile.sync("first")
    first, second = helm.history(cluster, "first", "default")
    assert (first.status, second.status, second.revision) == ("superseded", "deployed", 2)
    assert first.values == {"greeting": "hello"}
    assert first.deployed_by == "Helm"
    assert first.chart_digest(KEY) == second.chart_digest(KEY)
    assert first.values_digest(KEY) == second.values_digest(KEY)
    assert first.values_digest(KEY) != release.values_digest(KEY)
    assert helm.statuses(cluster, "default")["default", "first"] == (2, "deployed")


def test_a_dry_run_renders_one_release(helmfile: Helmfile) -> None:
    rendered = helmfile.template("first", kube_version="1.34.1").decode()
    assert "first-settings" in rendered
    assert "second" not in rendered


def test_definitions_come_out_alone_and_are_established(
    helmfile: Helmfile, tmp_path: Path, cluster: LightkubeCluster, programs: Callable[[str], Path]
) -> None:
    file = charts.write_definitions(tmp_path, enabled=True)
    source = Helmfile(helmfile.runner, helmfile.helmfile, helmfile.helm, file, "lab", environment=helmfile.environment)
    found = crds.extract(source, programs("yq"))
    assert [name_of(item) for item in found] == ["gadgets.test.firstlight"]
    assert crds.served_kinds(found) == {("test.firstlight/v1", "Gadget")}
    names = {name_of(item) for item in found}
    seen = crds.established(cluster.list_objects(CUSTOM_RESOURCE_DEFINITION), names)
    assert (seen.holds, seen.seen) == (False, "0 of 1 established; gadgets.test.firstlight is not there")
    assert [result.outcome for result in cluster.apply(found)] == [Outcome.CREATED]
    assert any(seen.holds for seen in crds.watch_established(cluster, names, seconds=10))
    assert crds.established(cluster.list_objects(CUSTOM_RESOURCE_DEFINITION), names).seen == "1 of 1 established"
    assert [result.outcome for result in cluster.apply(found)] == [Outcome.UNCHANGED]
    assert cluster.get(CUSTOM_RESOURCE_DEFINITION, "gadgets.test.firstlight") is not None
    assert ("test.firstlight/v1", "Gadget") in cluster.discover()


def test_no_definitions_are_an_error(helmfile: Helmfile, tmp_path: Path, programs: Callable[[str], Path]) -> None:
    file = charts.write_definitions(tmp_path, enabled=False)
    source = Helmfile(helmfile.runner, helmfile.helmfile, helmfile.helm, file, "lab")
    with pytest.raises(InputError, match="no custom resource definition came out"):
        crds.extract(source, programs("yq"))
