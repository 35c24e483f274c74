"""Which readers a run gets, by where its streams lead."""

from __future__ import annotations

import io
import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine.testing import FakeClock, run_phases
from bootstrap.views.readers import Wishes, attach
from tests.unit.engine.world import World, phase
from tests.unit.views.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

ALWAYS = ["LogFile", "ReportWriter"]


@pytest.mark.parametrize(
    ("output", "environment", "names"),
    [
        ("text", {"TERM": "xterm"}, [*ALWAYS, "LiveView"]),
        ("text", {"TERM": "dumb"}, [*ALWAYS, "PlainLines"]),
        ("json", {"TERM": "xterm"}, [*ALWAYS, "JsonLines", "LiveView"]),
        ("json", {"TERM": "xterm", "CI": "true"}, [*ALWAYS, "JsonLines", "PlainLines"]),
        ("text", {"TERM": "xterm", "CI": "1", "GITHUB_ACTIONS": "true"}, [*ALWAYS, "PlainLines", "GitHub"]),
    ],
)
def test_the_readers_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, environment: dict[str, str], names: list[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with ExitStack() as stack:
        wishes = Wishes(folder=tmp_path, output=output, environment=environment)
        readers = attach(stack, wishes, FakeClock())
        assert [type(reader).__name__ for reader in readers] == names


@pytest.mark.parametrize("output", ["text", "json"])
def test_standard_output_holds_data_only(tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str) -> None:
    summary = tmp_path / "summary.md"
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "CI": "true"}
    with ExitStack() as stack:
        wishes = Wishes(folder=tmp_path / "run", output=output, environment=environment, mark="LAB")
        run_phases([phase("a", World().acting("one"))], readers=attach(stack, wishes, FakeClock()))
    said, told = capsys.readouterr()
    events = [json.loads(line)["event"] for line in said.splitlines()]
    assert events[-1:] == (["run-ended"] if output == "json" else [])
    assert "lab: done\n" in told
    assert summary.read_text().startswith("# lab: done\n")
    assert {file.name for file in (tmp_path / "run").iterdir()} == {
        "log.jsonl", "report.json", "report.md", "junit.xml", "timeline.html",
    }  # fmt: skip
