"""Charts that an operator gives the lab: which are taken, which are refused, and what is published of them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Never

import pytest

from bootstrap.host.errors import InputError
from bootstrap.host.locks import try_lock
from rehearsal.charts import package
from rehearsal.given_charts import choose
from rehearsal.lab import Lab
from rehearsal.settings import from_json
from tests.unit.rehearsal.bench import make_settings, runner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WANTED = {"demo": "1.2.3", "web": "v4.5.6"}


def archive(folder: Path, name: str, version: str, **files: str) -> Path:
    """What `helm package` makes of a chart, here and there with a chart inside it."""
    texts = {"charts/inner/Chart.yaml": "name: inner\nversion: 9.9.9\n", **files}
    texts["Chart.yaml"] = f"apiVersion: v2\nname: {name}\nversion: {version}\n"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as target:
        for place, text in texts.items():
            entry = tarfile.TarInfo(f"{name}/{place}")
            entry.size = len(text)
            target.addfile(entry, io.BytesIO(text.encode()))
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}-{version}.tgz"
    path.write_bytes(content.getvalue())
    return path


def chart(folder: Path, name: str, version: str, *, key: str = "") -> Path:
    """A chart's folder."""
    made = folder / f"the-{name}"
    (made / "templates").mkdir(parents=True)
    (made / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: {version}\n")
    (made / "templates" / "a.yaml").write_text(f"kind: ConfigMap\n{key}")
    return made


def test_archives_and_folders_take_the_place_of_stand_ins(tmp_path: Path) -> None:
    given = tmp_path / "given"
    chart(given, "demo", "1.2.3")
    archive(given, "else", "0.1.0")
    choice = choose(WANTED, given)
    assert set(choice.given) == {"demo"}
    assert choice.told(given) == (
        f"charts of {given}: demo 1.2.3; stand-ins of the lab: web; not asked for by any file: else"
    )
    archive(given, "web", "v4.5.6")
    assert choose(WANTED, given).stand_ins == ()
    assert choose(WANTED, None).stand_ins == ("demo", "web")


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


REFUSED: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "another version": (lambda folder: archive(folder, "demo", "1.2.4"), "version 1.2.4, the tree wants 1.2.3"),
    "another spelling": (lambda folder: archive(folder, "web", "4.5.6"), "version 4.5.6, the tree wants v4.5.6"),
    "version of a folder": (lambda folder: chart(folder, "demo", "0.0.1"), "version 0.0.1, the tree wants 1.2.3"),
    "no folder": (lambda folder: folder, "there is no such folder"),
    "nothing in it": (lambda folder: folder.mkdir(), "no chart is in it"),
    "no archive": (lambda folder: write(folder / "demo-1.2.3.tgz", b"404 not found"), "it is no archive of a chart"),
    "half an archive": (
        lambda folder: write(folder / "demo-1.2.3.tgz", archive(folder, "demo", "1.2.3").read_bytes()[:60]),
        "it is no archive of a chart",
    ),
    "another archive": (
        lambda folder: write(folder / "a.tgz", gzip.compress(tarfile.TarInfo("a/b").tobuf() + bytes(1024))),
        "there is no Chart.yaml in it",
    ),
    "no version": (lambda folder: archive(folder, "demo", "''"), "its Chart.yaml has no version"),
    "no YAML": (lambda folder: archive(folder, "demo", "[").rename(folder / "a.tgz"), "a.tgz"),
}


@pytest.mark.parametrize("cause", REFUSED)
def test_what_cannot_be_published_is_refused(tmp_path: Path, cause: str) -> None:
    make, told = REFUSED[cause]
    make(tmp_path / "given")
    with pytest.raises(InputError) as caught:
        choose(WANTED, tmp_path / "given")
    (problem,) = caught.value.problems
    assert told in str(problem)


def test_every_chart_that_is_refused_is_named_at_once(tmp_path: Path) -> None:
    archive(tmp_path / "given", "demo", "1.2.3")
    chart(tmp_path / "given", "demo", "1.2.3")
    archive(tmp_path / "given", "web", "v0.0.0")
    with pytest.raises(InputError) as caught:
        choose(WANTED, tmp_path / "given")
    assert [problem.text for problem in caught.value.problems] == [
        "demo is also in demo-1.2.3.tgz", "web is of version v0.0.0, the tree wants v4.5.6",
    ]  # fmt: skip


def no_module(_module: str, _version: str) -> Never:
    raise AssertionError("the files of a stand-in are asked for")


def test_a_given_chart_is_published_where_the_stand_in_was(tmp_path: Path, programs: Callable[[str], Path]) -> None:
    own, given = tmp_path / "own", tmp_path / "given"
    recipe = "repository: oci://ghcr.io/charts\nfiles: [{module: m, version: v1, path: '*', to: ./}]\n"
    for name, version in WANTED.items():
        (chart(own, name, version) / "lab.yaml").write_text(recipe)
    theirs = archive(given, "demo", "1.2.3")
    chart(given, "web", "v4.5.6", key="given: true\n")
    packages = package(own, tmp_path / "out", programs("helm"), runner(), no_module, given=given)
    assert [(one.name, one.version, one.repository) for one in packages] == [
        ("demo", "1.2.3", "oci://ghcr.io/charts"), ("web", "v4.5.6", "oci://ghcr.io/charts"),
    ]  # fmt: skip
    assert packages[0].file.read_bytes() == theirs.read_bytes()
    with tarfile.open(packages[1].file) as content:
        file = content.extractfile("web/templates/a.yaml")
        assert file
        assert b"given: true" in file.read()


@pytest.mark.parametrize("charts", [None, Path("/somewhere")])
def test_the_supervisor_reads_where_they_are(tmp_path: Path, charts: Path | None) -> None:
    settings = replace(make_settings(tmp_path, tmp_path, {}), charts=charts)
    assert from_json(settings.to_json()).charts == charts


def test_a_running_lab_keeps_its_charts(tmp_path: Path) -> None:
    settings = replace(make_settings(tmp_path, tmp_path, {}), charts=tmp_path / "given")
    lab = Lab(tmp_path)
    lab.folder.mkdir(parents=True)
    with (lab.cache / "lock").open("w") as lock:
        json.dump({"root": str(settings.root), "cluster": "lab", "inputs": settings.inputs, "since": "noon"}, lock)
        lock.flush()
        assert try_lock(lock)
        with pytest.raises(InputError, match="the running lab has other charts"):
            lab.up(settings, runner(), list[str]().append)
