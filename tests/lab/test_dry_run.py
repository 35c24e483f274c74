"""`--dry-run` of the lab as a person types it: charts from the lab's internet, no machine, nothing left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.secret import Redactor
from bootstrap.host.toolbox import default_cache
from tests.lab.processes import processes_of
from tests.unit.rehearsal.bench import git

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.host.commands import Result

CODE = Path(__file__).resolve().parents[2]
PROGRAMS = ("helm", "helmfile", "kubeconform", "kustomize", "registry", "talosctl", "yq")
WORDS = ("bootstrap", "--cluster", "lab", "--dry-run")
# Two interpreters, servers, four charts, two renderings: ten seconds on an idle machine.
SECONDS = 300.0


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the command puts what it throws away; short, for the sockets in it."""
    return Path(tempfile.mkdtemp(prefix="t", dir=tmp_path))


@pytest.fixture
def type_it(temporary: Path, programs: Callable[[str], Path]) -> Callable[..., Result]:
    """Types a command; every exit code is an answer."""
    for name in PROGRAMS:
        programs(name)
    runner = ShCommandRunner(Redactor())

    def run(*words: str, root: Path = CODE, **environment: str) -> Result:
        return runner.run(command(temporary, *words, root=root, **environment))

    return run


def command(temporary: Path, *words: str, root: Path = CODE, **environment: str) -> Command:
    added = {
        "FIRSTLIGHT_ROOT": str(root), "FIRSTLIGHT_CACHE": str(default_cache(os.environ)), "TMPDIR": str(temporary),
        **{name: value for name, value in os.environ.items() if name.startswith("GO")}, **environment,
    }  # fmt: skip
    arguments = ("-P", str(CODE / "tasks.py"), *words)
    return Command(Path(sys.executable), arguments, added, timeout=SECONDS, allowed=frozenset(range(256)))


def test_it_is_the_same_twice_and_leaves_nothing(type_it: Callable[..., Result], temporary: Path) -> None:
    summary = temporary / "summary.md"
    first = type_it(*WORDS, "--output", "json", GITHUB_STEP_SUMMARY=str(summary))
    assert first.exit_code == 0, first.stderr.decode()
    plan: dict[str, Any] = json.loads(first.stdout)
    assert plan["actions"] == {"all": 15, "nothing": 0, "files": 4, "machines": 3, "cluster": 8}
    assert [phase["name"] for phase in plan["phases"]] == [
        "preflight", "talos", "prerequisites", "crds", "core", "handover",
    ]  # fmt: skip
    steps = {step["path"]: step for phase in plan["phases"] for step in phase["steps"]}
    assert "fluxinstances.fluxcd.controlplane.io" in steps["crds/definitions"]["actions"][0]["description"]
    assert "cilium: chart 1.18.3 (" in steps["preflight/releases-render"]["text"]
    assert summary.read_text().startswith("## lab: what a run would do, from the files alone: 15 actions")
    summary.unlink()
    second = type_it(*WORDS, "--output", "json")
    assert second.stdout == first.stdout
    assert list(temporary.iterdir()) == []
    assert processes_of(temporary) == []


def test_wrong_files_end_with_3_and_every_place(type_it: Callable[..., Result], tmp_path: Path) -> None:
    root = tmp_path / "worktree"
    for name in ("bootstrap/helmfile.d", "inventory", "kubernetes", "lab", "talos", "tools"):
        shutil.copytree(CODE / name, root / name, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name in ("expected-crds.yaml", "probe.yaml", "resources.yaml"):
        shutil.copy(CODE / "bootstrap" / name, root / "bootstrap")
    node = root / "talos" / "lab" / "controlplane" / "lab-01.yaml"
    node.write_text(node.read_text().replace("machine:\n", "machine:\n  spelled: wrong\n", 1))
    release = root / "kubernetes" / "infrastructure" / "networking" / "coredns" / "ocirepository.yaml"
    release.write_text(release.read_text().replace("tag: 1.38.0", "tag: 0.0.1"))
    git(root, "init", "--quiet", "--initial-branch=main")
    found = type_it(*WORDS, root=root)
    told = found.stderr.decode()
    assert found.exit_code == 3, told
    assert "talos/lab/controlplane/lab-01.yaml:" in told
    assert "a core release cannot be rendered" in told
    assert "0.0.1" in told
    assert "refused for" in found.text


def test_given_charts_are_rendered_in_place_of_stand_ins(type_it: Callable[..., Result], tmp_path: Path) -> None:
    given = tmp_path / "given"
    shutil.copytree(CODE / "lab" / "charts" / "coredns", given / "coredns")
    template = given / "coredns" / "templates" / "given.yaml"
    template.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: given\n")

    def rendered(*words: str) -> str:
        found = type_it(*WORDS, "--output", "json", *words)
        assert found.exit_code == 0, found.stderr.decode()
        assert ("charts of " in found.stderr.decode()) is bool(words)
        plan: dict[str, Any] = json.loads(found.stdout)
        (text,) = (
            step["text"]
            for phase in plan["phases"]
            for step in phase["steps"]
            if step["path"].endswith("releases-render")
        )
        return str(text).partition(" objects")[0]

    number = int(rendered().rpartition(" ")[2])
    assert int(rendered("--charts", str(given)).rpartition(" ")[2]) == number + 1


def test_definitions_come_from_given_charts(type_it: Callable[..., Result], tmp_path: Path) -> None:
    chart = tmp_path / "given" / "flux-operator"
    (chart / "templates").mkdir(parents=True)
    shutil.copy(CODE / "lab" / "charts" / "flux-operator" / "Chart.yaml", chart)
    (chart / "templates" / "crds.yaml").write_text(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: things.example.org\n"
        "spec:\n  group: example.org\n  names: {kind: Thing, plural: things}\n"
        "  versions: [{name: v1, served: true, storage: true}]\n"
    )
    found = type_it(*WORDS, "--charts", str(tmp_path / "given"))
    told = found.stderr.decode()
    assert found.exit_code == 3, told
    assert f"charts of {tmp_path / 'given'}: flux-operator 0.58.1; stand-ins of the lab: cert-manager, cilium" in told
    assert "example.org/Thing (v1) is not expected" in told
    assert "fluxcd.controlplane.io/FluxInstance is expected, and no chart brings it" in told


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_of_it_outlives_the_command(
    temporary: Path, type_it: Callable[..., Result], number: signal.Signals
) -> None:
    assert type_it("--list").exit_code == 0
    daemon = ShCommandRunner(Redactor()).start(command(temporary, *WORDS), log=temporary / "log")
    deadline = time.monotonic() + SECONDS
    while not any("registry" in words for words in processes_of(temporary)):
        assert daemon.running, (temporary / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if number is signal.SIGKILL:
        os.kill(daemon.pid, number)
    else:
        os.killpg(daemon.pid, number)
    while daemon.running or processes_of(temporary):
        assert time.monotonic() < deadline, processes_of(temporary)
        time.sleep(0.05)
