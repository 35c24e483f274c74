"""The command as a person types it: what it says and how it ends."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

import tasks
from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.secret import Redactor
from bootstrap.views.usage import CommandLine
from tests.unit.cli.typed import ROOT, Answer, invoke

if TYPE_CHECKING:
    from collections.abc import Callable

    from syrupy.assertion import SnapshotAssertion

Typed: TypeAlias = "Callable[[str], Answer]"
HEAVY = {"lightkube", "pydantic", "cryptography", "rich", "structlog", "sh"}


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """The program of the launcher in this process; for lines that are refused."""
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)  # the program sets it
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)  # adds annotations

    def run(line: str) -> Answer:
        with pytest.raises(SystemExit) as caught:
            CommandLine(tasks.namespace).run(["./invoke", *line.split()])
        assert isinstance(caught.value.code, int)
        return Answer(caught.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with an inventory of its own."""
    (tmp_path / "inventory").mkdir()
    shutil.copy(ROOT / "inventory" / "lab.yaml", tmp_path / "inventory" / "lab.yaml")
    return tmp_path


@pytest.mark.parametrize("line", ["--list", "--help", "--help bootstrap", "lab.fault --help", "config"])
def test_what_it_says(line: str, snapshot: SnapshotAssertion) -> None:
    answer = invoke(*line.split())
    assert (answer.code, answer.stderr) == (0, "")
    assert str(answer) == snapshot


@pytest.mark.parametrize(
    "line",
    [
        "bootstrp",
        "bootstrap --clster lab",
        "bootstrap",
        "bootstrap --cluster lba",
        "bootstrap --cluster lab --only crd,talos --from nowhere --skip cor",
    ],
)
def test_what_it_refuses_and_how(line: str, snapshot: SnapshotAssertion) -> None:
    answer = invoke(*line.split())
    assert (answer.code, answer.stdout) == (3, "")
    assert str(answer) == snapshot


@pytest.mark.parametrize(
    "line",
    [
        "lab.dwn",
        "--list cor",
        "--lst",
        "--help bootstrp",
        "bootstrap lab",
        "bootstrap --cluster",
        "bootstrap --cluster lab --output jsn",
        "config --cluster lba",
        "core.values",
        "core.values --release cilium",
        "core.releases --cluster lba",
        "lab.up --cluster lba",
        "lab.fault --name reset --machine one",
        "tools --names ,",
    ],
)
def test_what_the_program_refuses_and_how(line: str, typed: Typed, snapshot: SnapshotAssertion) -> None:
    answer = typed(line)
    assert (answer.code, answer.stdout) == (3, "")
    assert str(answer) == snapshot


def test_settings_that_cannot_be_are_refused_by_every_task(
    repository: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    (repository / "firstlight.yaml").write_text("workers: many\nclster: lab\n")
    for name, value in {"ROOT": str(repository), "OUTPTU": "json", "WORKERS": "0"}.items():
        monkeypatch.setenv(f"FIRSTLIGHT_{name}", value)
    answer = typed("lab.status")
    assert answer.code == 3
    assert str(answer) == snapshot


def test_settings_reach_the_command(repository: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTLIGHT_ROOT", str(repository))
    (repository / "firstlight.yaml").write_text("cluster: lba\n")
    assert 'there is no cluster "lba"' in typed("bootstrap").stderr
    monkeypatch.setenv("FIRSTLIGHT_CLUSTER", "lob")
    assert 'there is no cluster "lob"' in typed("bootstrap").stderr
    assert 'there is no cluster "lib"' in typed("bootstrap --cluster lib").stderr


def test_standard_output_holds_data_only(repository: Path) -> None:
    answer = invoke("config", "--cluster", "lab", "--output", "json", root=repository)
    assert (answer.code, answer.stderr) == (0, "")
    assert answer.stdout.startswith("{\n")


def test_a_list_whose_reader_has_gone_ends_quietly() -> None:
    line = f"{{ '{ROOT}/invoke' --list; echo $? >&2; }} | true"
    result = ShCommandRunner(Redactor()).run(Command(Path("/bin/sh"), ("-c", line), folder=ROOT))
    assert result.stderr == b"0\n"


@pytest.mark.parametrize(
    ("line", "redirection", "code", "said"),
    [
        ("--list", ">/dev/full", 1, "standard output cannot be written\n  cause: No space left on device"),
        ("config", ">/dev/full", 1, "standard output cannot be written\n  cause: No space left on device"),
        ("config --cluster lba", "2>/dev/full", 3, ""),
        ("config --clster lab", "2>/dev/full", 3, ""),
        ("config", ">&-", 0, ""),
        ("config --cluster lba", "2>&-", 3, ""),
        ("config --cluster lba", "<&- >&- 2>&-", 3, ""),
    ],
)
def test_streams_that_cannot_be_written(line: str, redirection: str, code: int, said: str) -> None:
    # Outside the braces nothing is redirected, so the code is always told.
    script = f"{{ '{ROOT}/invoke' {line} {redirection}; }}; echo $? >&2"
    result = ShCommandRunner(Redactor()).run(Command(Path("/bin/sh"), ("-c", script), folder=ROOT))
    assert result.stderr.decode() == (f"error: {said}\n{code}\n" if said else f"{code}\n")


def test_the_list_loads_nothing_heavy() -> None:
    loaded = ShCommandRunner(Redactor()).run(
        Command(
            Path(sys.executable), ("-c", "import sys, tasks, bootstrap.views.usage; print(*sys.modules)"), folder=ROOT
        )
    )
    assert not HEAVY & set(loaded.text.split())


def test_broken_yaml_is_refused_with_its_place(repository: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTLIGHT_ROOT", str(repository))
    path = repository / "inventory" / "lab.yaml"
    path.write_text(path.read_text() + "nodes: [\n")
    answer = typed("bootstrap --cluster lab")
    assert answer.code == 3
    assert "inventory/lab.yaml:" in answer.stderr


def test_real_machines_are_not_changed_without_a_word(repository: Path) -> None:
    source = repository / "inventory" / "lab.yaml"
    text = source.read_text().replace("name: lab\n", "name: metal\n").replace("virtual: true", "virtual: false")
    lines = [line for line in text.splitlines() if not line.strip().startswith(("machine:", "memory:", "cpus:"))]
    kept = [line for line in lines if line != "      disk: 10"]
    (repository / "inventory" / "metal.yaml").write_text("\n".join(kept) + "\n")
    source.unlink()  # the two say the same about their machines
    answer = invoke("bootstrap", "--cluster", "metal", root=repository)
    assert answer.code == 3, answer.stderr
    assert "real machines are about to be changed: lab-01 10.25.13.11" in answer.stderr
    assert "--yes confirms" in answer.stderr


@pytest.mark.parametrize("line", ["--dry lab.down", "lab.down --dry"])
def test_invokes_own_dry_runs_nothing(line: str, tmp_path: Path) -> None:
    left = tmp_path / "firstlight" / "lab" / "run" / "of-a-lab-that-was-killed"
    left.mkdir(parents=True)
    assert invoke(*line.split(), XDG_CACHE_HOME=str(tmp_path)).code == 3
    assert left.exists()
    assert invoke("lab.down", XDG_CACHE_HOME=str(tmp_path)).code == 0
    assert not left.exists(), "without --dry the same command would have removed it"
