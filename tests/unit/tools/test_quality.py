"""The linters: nothing of the tree is left out, and one failure does not hide the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrap.host.commands import Command, CommandError, Result
from bootstrap.host.errors import FirstlightError, InputError
from bootstrap.host.quality import Tools, lint, lint_checks

ROOT = Path(__file__).parents[3]
PYTHON = Path("/environment/bin/python")
TOOLS = Tools(PYTHON, Path("/usr/bin/shellcheck"), Path("/go/bin/go"), {"GOWORK": "off"})


class Linters:
    """Programs that succeed, but for those named."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.started: list[str] = []

    def run(self, command: Command) -> Result:
        if command.arguments[:2] == ("env", "-json"):
            answer = b'{"GOVERSION": "go1.26.0", "GOOS": "linux", "GOARCH": "amd64", "GOCACHE": "/cache"}'
            return Result(0, answer, b"", 0.0)
        self.started.append(command.program.name)
        if command.program.name in self.failing:
            raise CommandError(f"`{command}` failed with exit code 1", cause="found 1", stdout="tasks.py:1: bad\n")
        return Result(0, b"", b"", 0.0)


def is_shell(path: Path) -> bool:
    first = path.read_bytes()[:40].partition(b"\n")[0]
    return first.startswith(b"#!") and first.endswith((b"/sh", b" sh", b"bash"))


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name in ("go", "shellcheck"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return {"PATH": str(tmp_path)}


def test_every_shell_script_is_checked() -> None:
    checks = lint_checks(ROOT, TOOLS)
    words = [check.command.arguments for check in checks if check.command.program == TOOLS.shellcheck]
    ours = [path for folder in ("lab", ".ci", "tools") for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert {Path(str(word)) for word in words[0]} == {path for path in ours if is_shell(path)}


def test_every_go_module_of_our_own_is_vetted() -> None:
    vetted = {check.command.folder for check in lint_checks(ROOT, TOOLS) if check.command.program.name == "go"}
    assert vetted == {path.parent for folder in ("lab", "tools") for path in (ROOT / folder).glob("*/main.go")}


def test_every_check_runs_though_the_first_fails(environment: dict[str, str]) -> None:
    linters, lines = Linters("ruff"), list[str]()
    with pytest.raises(FirstlightError, match=r"2 of 10 checks failed: ruff check \.; ruff format --check \."):
        lint(ROOT, PYTHON, linters, lines.append, environment)
    assert linters.started == ["ruff", "ruff", "lint-imports", "shellcheck", "go", "go", "go", "go", "go", "mypy"]
    assert "tasks.py:1: bad" in lines


def test_a_clean_tree_passes(environment: dict[str, str]) -> None:
    lines: list[str] = []
    lint(ROOT, PYTHON, Linters(), lines.append, environment)
    assert lines[0] == "[1/10] ruff check .: rules of the code, each exception with its reason"
    assert lines[8] == "[9/10] go vet ./... in tools/pause: suspicious Go in tools/pause"


def test_without_go_nothing_is_checked(environment: dict[str, str]) -> None:
    Path(environment["PATH"], "go").unlink()
    linters = Linters()
    with pytest.raises(InputError, match="Go is not on PATH"):
        lint(ROOT, PYTHON, linters, lambda _: None, environment)
    assert linters.started == []
