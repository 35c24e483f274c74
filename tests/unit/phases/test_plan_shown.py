"""Where a plan goes: data to standard output, what is wrong to standard error, a summary to GitHub."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.engine.plan import Outlook, Plan, PlannedPhase, PlannedStep
from bootstrap.engine.verdict import Failure
from bootstrap.host.errors import ExitCode, Problem
from inventory.loader import load
from phases import plan
from phases.session import Request

ROOT = Path(__file__).resolve().parents[3]
FAILURE = Failure("two files are wrong", problems=(Problem("no such key", "a.yaml", 3, 5, "drop it"),))


@pytest.fixture
def request_(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Request:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return Request(ROOT, tmp_path, load(ROOT, "lab"), "./invoke bootstrap --cluster lab")


def planned(monkeypatch: pytest.MonkeyPatch, failure: Failure | None) -> Plan:
    outlook = Outlook.REFUSED if failure else Outlook.DONE
    steps = (PlannedStep("a/one", "One", outlook, failure=failure),)
    made = Plan("lab", live=False, target=1.0, deadline=2.0, phases=(PlannedPhase("a", "A", None, 1.0, 2.0, steps),))
    monkeypatch.setattr(plan, "look_ahead", lambda _request, *, live: made if not live else None)
    return made


def test_a_plan_is_data(request_: Request, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    planned(monkeypatch, None)
    assert plan.show(request_, live=False) is ExitCode.DONE
    said = capsys.readouterr()
    assert said.out.startswith("lab: what a run would do, from the files alone")
    assert said.err == ""


def test_what_is_wrong_is_told_to_people_and_to_programs(
    request_: Request, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planned(monkeypatch, FAILURE)
    assert plan.show(replace(request_, output="json"), live=False) is ExitCode.INVALID
    said = capsys.readouterr()
    assert json.loads(said.out)["exit_code"] == 3
    assert said.err == "error: two files are wrong\n  - a.yaml:3:5: no such key\n    next: drop it\n"


def test_github_gets_a_summary_and_annotations(
    request_: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    planned(monkeypatch, FAILURE)
    plan.show(request_, live=False)
    assert (tmp_path / "summary.md").read_text().startswith("## lab: what a run would do")
    assert "::error file=a.yaml,line=3,col=5" in capsys.readouterr().err
