"""Programs on PATH: told apart by what they say, never by their name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.errors import ExitCode, InputError
from bootstrap.host.programs import PROGRAMS
from bootstrap.host.secret import Redactor
from bootstrap.host.toolbox import Finding, Source, Toolbox

if TYPE_CHECKING:
    from tests.unit.tools.workbench import Bench

Shim = Callable[..., str]

# What real programs printed; helm and kubectl as distributions build them, too.
ACCEPTED = [
    ("yq", "yq (https://github.com/mikefarah/yq/) version v4.47.2\n", "4.47.2"),
    ("yq", "yq (https://github.com/mikefarah/yq/) version 4.30.8\n", "4.30.8"),
    ("helm", "v3.19.4+g7cfb6e4\n", "3.19.4"),
    ("helmfile", "helmfile version v1.1.7\n", "1.1.7"),
    ("helmfile", "\n▓▓▓ helmfile\n\n  Version            1.1.7\nhelmfile version 1.1.7\n", "1.1.7"),
    ("talosctl", "Client:\n\tTag:         v1.11.5\n\tSHA:         undefined\n\tGo version:  go1.24.9\n", "1.11.5"),
    ("kubectl", '{\n  "clientVersion": {\n    "major": "1",\n    "gitVersion": "v1.34.3+k3s1"\n  }\n}\n', "1.34.3"),
    ("kustomize", "v5.7.0\n", "5.7.0"),
    ("kubeconform", "v0.7.0\n", "0.7.0"),
]
PINNED_YQ = f"yq (https://github.com/mikefarah/yq/) version v{PROGRAMS['yq'].version}\n"
REJECTED = [
    ("yq", "yq 0.0.0\n", "yq 0.0.0"),
    ("yq", "yq 3.4.3\n", "yq 3.4.3"),
    ("yq", "yq (https://github.com/mikefarah/yq/) version v3.4.1\n", "3.4.1"),
    ("helm", "v4.0.0+g99cd196\n", "4.0.0"),
    ("helm", "v3.19\n", "v3.19"),
    ("helm", "v3.2.0+ge11b7ce\n", "3.2.0"),
    ("helmfile", "helmfile version v1.2.0\n", "1.2.0"),
    ("talosctl", "Client:\n\tTag:         v1.11.4\n", "1.11.4"),
    ("talosctl", "Client:\n\tTag:         v1.11.5-alpha.0\n", "1.11.5-alpha.0"),
    ("kubectl", '{"clientVersion": {"gitVersion": "v1.32.4-dispatcher"}}\n', "1.32.4-dispatcher"),
    ("kubeconform", "development\n", "development"),
    ("kustomize", "", "nothing"),
]


def look(bench: Bench, name: str, search_path: str) -> Finding:
    runner = ShCommandRunner(Redactor())
    (finding,) = Toolbox(bench.root, bench.cache, runner, bench.lines.append, search_path).look([name])
    return finding


@pytest.mark.parametrize(("name", "prints", "version"), ACCEPTED)
def test_a_program_of_the_pinned_version_is_taken(
    bench: Bench, shim: Shim, name: str, prints: str, version: str
) -> None:
    folder = shim(name, prints)
    finding = look(bench, name, folder)
    assert (finding.source, finding.found, str(finding.path)) == (Source.PATH, version, f"{folder}/{name}")


@pytest.mark.parametrize(("name", "prints", "said"), REJECTED)
def test_another_program_is_told_apart(bench: Bench, shim: Shim, name: str, prints: str, said: str) -> None:
    finding = look(bench, name, shim(name, prints))
    assert finding.path is None
    assert [other.said for other in finding.rejected] == [said]


def test_one_that_fails_and_writes_to_standard_error_is_quoted(bench: Bench, shim: Shim) -> None:
    finding = look(bench, "helm", shim("helm", "pyenv: helm: command not found\n", code=127, stream=2))
    assert "pyenv: helm: command not found" in str(finding)


def test_the_right_one_behind_a_wrong_one_is_found(bench: Bench, shim: Shim) -> None:
    wrong, right = shim("yq", "yq 0.0.0\n"), shim("yq", ACCEPTED[0][1])
    finding = look(bench, "yq", f"{wrong}:relative:{right}")
    assert str(finding.path) == f"{right}/yq"
    assert [str(other.path) for other in finding.rejected] == [f"{wrong}/yq"]


def test_a_program_of_the_lab_is_never_taken_from_path(bench: Bench, shim: Shim) -> None:
    assert look(bench, "etcd", shim("etcd", "etcd Version: 3.6.4\n")).path is None


def test_what_was_built_before_is_found_without_go(bench: Bench, shim: Shim) -> None:
    built = {
        text: bench.cache / "programs" / f"yq-{key}" / "yq" for key, text in (("1", "yq 0.0.0\n"), ("2", PINNED_YQ))
    }
    for text, path in built.items():
        shutil.copytree(shim("yq", text), path.parent)
    finding = look(bench, "yq", "")
    assert (finding.source, finding.path) == (Source.CACHE, built[PINNED_YQ])
    shutil.rmtree(built[PINNED_YQ].parent)
    assert look(bench, "yq", "").source is Source.MISSING


@pytest.mark.parametrize(("kind", "said"), [("file", "is no folder"), ("read-only", "cannot be written")])
def test_a_cache_that_cannot_be_built_into_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    if kind == "file":
        bench.cache.write_text("")
    else:
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != bench.cache.parent or mode != os.W_OK)
    with pytest.raises(InputError) as caught:
        bench.toolbox(ShCommandRunner(Redactor())).ensure(["hello"])
    (problem,) = caught.value.problems
    assert said in problem.text
    assert problem.remedy == "FIRSTLIGHT_CACHE names another folder"


def test_all_that_is_missing_is_named_at_once_with_wanted_and_found(bench: Bench, shim: Shim) -> None:
    search_path = ":".join([shim("yq", "yq 0.0.0\n"), shim("helm", "v4.0.0+g99cd196\n")])
    toolbox = Toolbox(bench.root, bench.cache, ShCommandRunner(Redactor()), bench.lines.append, search_path)
    with pytest.raises(InputError) as caught:
        toolbox.ensure(["yq", "helm", "talosctl"])
    texts = [problem.text for problem in caught.value.problems]
    assert [text.split(":")[0] for text in texts] == ["yq", "talosctl", "helm"]
    assert "wanted 4.x" in texts[0]
    assert "yq 0.0.0" in texts[0]
    assert "wanted 1.11.5; found none" in texts[1]
    assert "wanted 3.19.x" in texts[2]
    assert "4.0.0" in texts[2]
    assert all("Go, which is not on PATH" in text for text in texts)
    assert "go.dev" in caught.value.remedy
    assert caught.value.exit_code is ExitCode.INVALID


def test_an_unknown_name_is_refused_with_the_known_ones(bench: Bench) -> None:
    toolbox = Toolbox(bench.root, bench.cache, ShCommandRunner(Redactor()), bench.lines.append, "")
    with pytest.raises(InputError, match="`helmm` is not a pinned program") as caught:
        toolbox.ensure(["helmm"])
    assert "helmfile" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "wanted"), [("talosctl", "1.11.5"), ("helm", "3.19.x"), ("yq", "4.x"), ("pause", "3.10")]
)
def test_a_pin_is_written_as_precisely_as_it_is_meant(name: str, wanted: str) -> None:
    assert PROGRAMS[name].wanted == wanted
