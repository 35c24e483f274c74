"""Where a setting's value comes from, and what is refused on the way."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.configuration import Configuration, resolve
from bootstrap.host.errors import ExitCode, InputError
from bootstrap.host.settings import CACHE, CLUSTER, INTERNAL, OUTPUT, REGISTRY, ROOT, TESTING, WORKERS, YES, AnySetting
from bootstrap.views.configuration import as_json, as_table

if TYPE_CHECKING:
    from collections.abc import Mapping

ORIGINS = {"flag": "--cluster", "variable": "FIRSTLIGHT_CLUSTER", "file": "firstlight.yaml:2:10", "": "default"}


def resolve_in(
    root: Path, variables: Mapping[str, str] = MappingProxyType({}), *, file: str = "", cluster: str | None = None,
    output: str | None = None,
) -> Configuration:  # fmt: skip
    """With a file in a repository, and variables named without their prefix."""
    if file:
        (root / "firstlight.yaml").write_text(file)
    named = {"ROOT": str(root), **variables}
    environment = {f"FIRSTLIGHT_{name}": value for name, value in named.items()}
    return resolve({"cluster": cluster, "output": output}, environment)


def refused(
    root: Path, variables: Mapping[str, str] = MappingProxyType({}), *, file: str = "", output: str | None = None
) -> list[str]:
    with pytest.raises(InputError) as caught:
        resolve_in(root, variables, file=file, output=output)
    assert caught.value.exit_code is ExitCode.INVALID
    return [str(problem) for problem in caught.value.problems]


def origins(configuration: Configuration) -> dict[str, str]:
    return {given.setting.name: given.origin for given in configuration}


@pytest.mark.parametrize("places", [set(some) for n in range(4) for some in itertools.combinations(ORIGINS, n)])
def test_the_first_place_that_gives_a_value_wins(tmp_path: Path, places: set[str]) -> None:
    found = resolve_in(
        tmp_path,
        {"CLUSTER": "variable"} if "variable" in places else {},
        cluster="flag" if "flag" in places else None,
        file="# ours\ncluster: file\n" if "file" in places else "",
    )
    winner = next((place for place in ORIGINS if place in places), "")
    assert found[CLUSTER] == winner
    assert origins(found)["cluster"] == ORIGINS[winner]


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        (YES, "true", True), (YES, "1", True), (YES, "FALSE", False), (YES, "0", False),
        (WORKERS, "1", 1), (WORKERS, "64", 64), (OUTPUT, "json", "json"), (CLUSTER, "any thing", "any thing"),
    ],
)  # fmt: skip
def test_a_variable_s_text_becomes_the_setting_s_kind(
    tmp_path: Path,
    setting: AnySetting,
    text: str,
    value: bool | int | str,  # noqa: FBT001 # a value
) -> None:
    assert resolve_in(tmp_path, {setting.variable.removeprefix("FIRSTLIGHT_"): text})[setting] == value


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("YES", "yeah", 'FIRSTLIGHT_YES: "yeah" is neither true nor false'),
        ("WORKERS", "0", 'FIRSTLIGHT_WORKERS: "0" is not a whole number from 1 to 64'),
        ("WORKERS", "65", 'FIRSTLIGHT_WORKERS: "65" is not a whole number from 1 to 64'),
        ("WORKERS", "-1", 'FIRSTLIGHT_WORKERS: "-1" is not a whole number from 1 to 64'),
        ("WORKERS", "2.0", 'FIRSTLIGHT_WORKERS: "2.0" is not a whole number from 1 to 64'),
        ("OUTPUT", "jsn", 'FIRSTLIGHT_OUTPUT: "jsn" is none of text, json; nearest: json'),
        ("CACHE", "/dev/null", "FIRSTLIGHT_CACHE: /dev/null is no folder"),
        ("OUTPUTS", "x", "FIRSTLIGHT_OUTPUTS is no setting; nearest: FIRSTLIGHT_OUTPUT"),
    ],
)
def test_a_variable_that_cannot_be_is_refused(tmp_path: Path, name: str, text: str, problem: str) -> None:
    assert refused(tmp_path, {name: text}) == [problem]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("wrkers: 3", "firstlight.yaml:2:9: `wrkers` is no setting; nearest: workers"),
        ("workers: 99", 'firstlight.yaml:2:10: "99" is not a whole number from 1 to 64'),
        ("workers: '3'", "firstlight.yaml:2:10: `workers` is not a whole number from 1 to 64, found '3'"),
        ("workers: true", "firstlight.yaml:2:10: `workers` is not a whole number from 1 to 64, found True"),
        ("output: [json]", "firstlight.yaml:2:9: `output` is not one of text, json, found ['json']"),
        ("output: xml", 'firstlight.yaml:2:9: "xml" is none of text, json; known: json, text'),
        ("only: crds", "firstlight.yaml:2:7: `only` is said by FIRSTLIGHT_ONLY or with a command, never by a file"),
        ("root: /x", "firstlight.yaml:2:7: `root` is said by FIRSTLIGHT_ROOT or with a command, never by a file"),
        ("- output", "firstlight.yaml:1:1: the file is not a mapping of keys to values"),
        ("output: text\noutput: json", "firstlight.yaml:3:1: the key 'output' stands twice in one mapping"),
        ("output: {", "firstlight.yaml:3:1: did not find expected node content"),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_the_place(tmp_path: Path, line: str, problem: str) -> None:
    assert refused(tmp_path, file=f"# ours\n{line}\n") == [problem]


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    file = "workers: 0\ntypo: 1\n"
    found = refused(tmp_path, {"WORKERS": "many", "TOKEN": "s3cret", "OUTPUT": "txt"}, file=file, output="jsn")
    assert [problem.partition(" ")[0] for problem in found] == [
        "FIRSTLIGHT_TOKEN", "firstlight.yaml:2:7:", "--output:", "FIRSTLIGHT_OUTPUT:", "FIRSTLIGHT_WORKERS:",
        "firstlight.yaml:1:10:",
    ]  # fmt: skip
    assert "s3cret" not in str(found), "what an unknown variable holds may be a secret"


def test_nothing_is_wrong_with_an_empty_file_or_an_empty_variable(tmp_path: Path) -> None:
    found = resolve_in(tmp_path, {"OUTPUT": "", "WORKERS": ""}, file="# nothing\n")
    assert set(origins(found).values()) == {"default", "FIRSTLIGHT_ROOT"}


def test_what_our_own_children_and_tests_read_is_no_setting_and_not_refused(tmp_path: Path) -> None:
    passed = dict.fromkeys({*INTERNAL, f"{TESTING}SEED"}, "x")
    assert "x" not in {given.value for given in resolve({}, {"FIRSTLIGHT_ROOT": str(tmp_path)} | passed)}


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "away") == [f"FIRSTLIGHT_ROOT: {tmp_path / 'away'} is no folder"]


def test_a_relative_path_counts_from_where_it_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shell").mkdir()
    monkeypatch.chdir(tmp_path / "shell")
    assert resolve_in(tmp_path, {"CACHE": "c"})[CACHE] == tmp_path / "shell" / "c"
    assert resolve_in(tmp_path, file="cache: c\n")[CACHE] == tmp_path / "c"
    assert resolve_in(tmp_path, file="cache: ~/c\n")[CACHE] == Path.home() / "c"
    assert resolve_in(tmp_path, {"ROOT": ".."})[ROOT] == tmp_path


def test_the_cache_is_where_the_system_s_caches_are(tmp_path: Path) -> None:
    root = {"FIRSTLIGHT_ROOT": str(tmp_path)}
    assert resolve({}, {**root, "XDG_CACHE_HOME": "/caches"})[CACHE].as_posix() == "/caches/firstlight"


def test_table_and_json_hold_every_setting_with_its_origin(tmp_path: Path) -> None:
    found = resolve_in(tmp_path, cluster="lab", file="workers: 3\n")
    assert json.loads(as_json(found)) == {
        given.setting.name: {
            "value": given.value if isinstance(given.value, bool | int) else str(given.value),
            "origin": given.origin,
        }
        for given in found
    }
    rows = [line.split() for line in as_table(found).splitlines()]
    assert [row[0] for row in rows] == ["setting", *(setting.name for setting in REGISTRY)]
    assert ["workers", "3", "firstlight.yaml:1:10"] in rows
    assert ["cluster", "lab", "--cluster"] in rows
