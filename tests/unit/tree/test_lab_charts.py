"""The lab's charts as they are published."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import Command, CommandError, CommandRunner
from bootstrap.host.errors import FirstlightError, InputError
from gitops import releases
from rehearsal.charts import PackagedChart, package, sources_digest, without_times
from tests.unit.tree.rendered import ROOT, Programs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gitops.tree import Tree


def test_the_charts_that_the_tree_asks_for_are_published_where_it_looks(
    trees: dict[str, Tree], charts: dict[str, PackagedChart]
) -> None:
    for one in (one for tree in trees.values() for one in releases.releases(tree)):
        chart = charts[one.chart.rpartition("/")[2]]
        assert chart.version == one.version
        published = chart.repository if one.repository else f"{chart.repository}/{chart.name}"
        assert published.rstrip("/") == (one.repository or one.chart)


def test_the_same_content_gives_the_same_bytes(
    tmp_path: Path,
    charts: dict[str, PackagedChart],
    programs: Programs,
    runner: CommandRunner,
    module_folder: Callable[[str, str], Path],
) -> None:
    again = package(ROOT / "lab" / "charts", tmp_path, programs("helm"), runner, module_folder)
    for chart in again:
        assert chart.file.read_bytes() == charts[chart.name].file.read_bytes()
        assert chart.file.stat().st_mtime == charts[chart.name].file.stat().st_mtime


def test_times_and_order_are_all_that_is_taken_away() -> None:
    def archive(names: list[str], time: int) -> bytes:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as target:
            for name in names:
                entry = tarfile.TarInfo(name)
                entry.mtime, entry.size = time, len(name)
                target.addfile(entry, io.BytesIO(name.encode()))
        return content.getvalue()

    one = without_times(archive(["a/values.yaml", "a/Chart.yaml"], 1))
    assert one == without_times(archive(["a/Chart.yaml", "a/values.yaml"], 2))
    assert one != without_times(archive(["a/Chart.yaml", "a/other.yaml"], 2))
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(one))) as source:
        assert source.getnames()[0] == "a/Chart.yaml"


@pytest.mark.parametrize(
    ("path", "content", "is_same"),
    [
        pytest.param("one/values.yaml", "a: 1", True, id="the same"),
        pytest.param("one/values.yaml", "a: 2", False, id="other content"),
        pytest.param("one/other.yaml", "a: 1", False, id="another name"),
        pytest.param("two/values.yaml", "a: 1", False, id="another chart"),
    ],
)
def test_charts_are_published_again_when_a_file_differs(
    tmp_path: Path, path: str, content: str, *, is_same: bool
) -> None:
    for folder, name, text in (("before", "one/values.yaml", "a: 1"), ("after", path, content)):
        file = tmp_path / folder / name
        file.parent.mkdir(parents=True)
        file.write_text(text)
    assert (sources_digest(tmp_path / "before") == sources_digest(tmp_path / "after")) is is_same


def test_the_recipe_is_not_part_of_a_package(charts: dict[str, PackagedChart]) -> None:
    for chart in charts.values():
        with tarfile.open(chart.file) as source:
            assert f"{chart.name}/lab.yaml" not in source.getnames()


@pytest.fixture
def render(cores: dict[str, Path], programs: Programs, runner: CommandRunner) -> Callable[..., str]:
    def with_values(release: str, chart: PackagedChart, *extra: Path) -> str:
        files = [cores["infra"] / f"{release}.yaml", *extra]
        values = tuple(word for file in files for word in ("-f", str(file)))
        return runner.run(Command(programs("helm"), ("template", release, str(chart.file), *values))).text

    return with_values


@pytest.mark.parametrize(
    ("release", "wrong"),
    [
        ("cilium", "k8sServiceHosts: misspelt"),
        ("cilium", "operator: {replicas: 0}"),
        ("coredns", "service: {clusterIp: 10.0.0.10}"),
        ("spegel", "service: {registry: {hostport: 29999}}"),
        ("cert-manager", "crds: {enable: false}"),
        ("external-secrets", "installCRDs: perhaps"),
        ("flux-operator", "installCrds: true"),
        ("flux-instance", "instance: {component: []}"),
    ],
)
def test_a_value_that_the_schema_of_its_chart_refuses_is_an_error(
    tmp_path: Path, charts: dict[str, PackagedChart], render: Callable[..., str], release: str, wrong: str
) -> None:
    extra = tmp_path / "wrong.yaml"
    extra.write_text(wrong)
    assert render(release, charts[release])
    with pytest.raises(CommandError):
        render(release, charts[release], extra)


def test_charts_are_lint_free(
    charts: dict[str, PackagedChart], cores: dict[str, Path], programs: Programs, runner: CommandRunner
) -> None:
    for chart in charts.values():
        values = [cores["infra"] / f"{chart.name}.yaml"]
        words = [word for file in values if file.exists() for word in ("-f", str(file))]
        runner.run(Command(programs("helm"), ("lint", "--strict", *words, str(chart.file))))


def test_every_chart_that_cannot_be_packaged_is_named(
    tmp_path: Path, programs: Programs, runner: CommandRunner
) -> None:
    for name, chart, recipe in (("a", "name: a", "repository: oci://x"), ("b", "name: b\nversion: 1.0.0", "files: []")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "Chart.yaml").write_text(chart)
        (folder / "lab.yaml").write_text(recipe)
    with pytest.raises(InputError) as caught:
        package(tmp_path, tmp_path / "out", programs("helm"), runner, lambda _module, _version: tmp_path)
    assert [problem.text for problem in caught.value.problems] == ["no `version`", "no `repository`"]


def test_a_module_without_the_files_is_an_error(tmp_path: Path, programs: Programs, runner: CommandRunner) -> None:
    with pytest.raises(FirstlightError, match="gets no files"):
        package(ROOT / "lab/charts", tmp_path / "out", programs("helm"), runner, lambda _module, _version: tmp_path)
