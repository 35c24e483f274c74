"""The command as a person types it: what it says and how it ends."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.secret import Redactor

ROOT = Path(__file__).resolve().parent.parent.parent.parent


def invoke(*words: str, root: Path | None = None) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command line."""
    environment = {"FIRSTLIGHT_ROOT": str(root)} if root else {}
    cache = {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", "")}
    command = Command(
        Path(sys.executable), ("-m", "invoke", *words), {**cache, **environment}, folder=ROOT,
        allowed=frozenset(range(256)),
    )  # fmt: skip
    result = ShCommandRunner(Redactor()).run(command)
    return result.exit_code, result.text, result.stderr.decode()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with an inventory of its own."""
    (tmp_path / "inventory").mkdir()
    shutil.copy(ROOT / "inventory" / "lab.yaml", tmp_path / "inventory" / "lab.yaml")
    return tmp_path


def test_the_list_loads_nothing_heavy() -> None:
    code, said, _ = invoke("--list")
    assert code == 0
    assert "bootstrap" in said
    loaded = ShCommandRunner(Redactor()).run(
        Command(Path(sys.executable), ("-c", "import sys, tasks; print(*sys.modules)"), folder=ROOT)
    )
    assert not {"lightkube", "pydantic", "cryptography", "rich", "structlog", "sh"} & set(loaded.text.split())


def test_an_unknown_cluster_is_refused_with_the_nearest(repository: Path) -> None:
    code, said, told = invoke("bootstrap", "--cluster", "lba", root=repository)
    assert (code, said) == (3, "")
    assert 'there is no cluster "lba"' in told
    assert "nearest: lab" in told


def test_an_unknown_phase_is_refused_with_the_nearest() -> None:
    code, _, told = invoke("bootstrap", "--cluster", "lab", "--only", "crd")
    assert code == 3
    assert "nearest: crds" in told


def test_broken_yaml_is_refused_with_its_place(repository: Path) -> None:
    path = repository / "inventory" / "lab.yaml"
    path.write_text(path.read_text() + "nodes: [\n")
    code, _, told = invoke("bootstrap", "--cluster", "lab", root=repository)
    assert code == 3
    assert "inventory/lab.yaml:" in told


def test_real_machines_are_not_changed_without_a_word(repository: Path) -> None:
    source = repository / "inventory" / "lab.yaml"
    text = source.read_text().replace("name: lab\n", "name: metal\n").replace("virtual: true", "virtual: false")
    lines = [line for line in text.splitlines() if not line.strip().startswith(("machine:", "memory:", "cpus:"))]
    kept = [line for line in lines if line != "      disk: 10"]
    (repository / "inventory" / "metal.yaml").write_text("\n".join(kept) + "\n")
    code, _, told = invoke("bootstrap", "--cluster", "metal", root=repository)
    assert code == 3, told
    assert "real machines are about to be changed: lab-01 10.25.13.11" in told
    assert "--yes confirms" in told


def test_invokes_own_dry_runs_nothing() -> None:
    code, _, told = invoke("--dry", "lab.down")
    assert code == 3
    assert "nothing was run" in told
