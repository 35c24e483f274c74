"""What `./invoke status` says of a cluster without asking it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bootstrap.engine import Action, Changes, KillSafety
from bootstrap.engine.inputs import read_inputs
from bootstrap.engine.journal import Journal
from bootstrap.engine.lock import Owner, RunLock
from bootstrap.engine.machine import State
from bootstrap.engine.verdict import Failure, PhaseResult, StepResult, Verdict
from bootstrap.host.errors import InputError
from inventory.loader import load
from phases.session import Request, check_journal, journal_path, outline
from phases.status import look, show

ROOT = Path(__file__).resolve().parents[3]
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
COMMAND = "./invoke bootstrap --cluster lab"
UNFINISHED = (
    "unfinished talos/etcd: bootstrap etcd on lab-01 (cut off, begun 2026-11-21T12:00:00Z); once: the next run "
    "probes it, and does it only where that shows that it never happened (etcd is healthy)"
)


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    """For a repository with the machine configuration of the lab."""
    for name in ("inventory/lab.yaml", "talos/base.yaml", "talos/lab/cluster.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".firstlight" / "lab").mkdir(parents=True)
    return Request(tmp_path, tmp_path / "cache", load(tmp_path, "lab"), COMMAND)


def journal(request: Request) -> Journal:
    opened = Journal.open(journal_path(request), cluster="lab", tool="0.1.0", redact=str, wall=lambda: NOON)
    opened.follow(read_inputs(outline(request), request.root), accept=False)
    return opened


def action(description: str, kill_safety: KillSafety) -> Action:
    return Action(
        description=description,
        reason="",
        run=lambda _ctx: None,
        recognised_by="etcd is healthy",
        kill_safety=kill_safety,
        changes=Changes.MACHINES,
    )


def begin(opened: Journal, request: Request, run: str = "run-1") -> None:
    opened.run_begins(run, f"{COMMAND} --yes", read_inputs(outline(request), request.root).steps)


def cut_off_at_etcd(request: Request) -> None:
    with journal(request) as opened:
        begin(opened, request)
        opened.identify("Talos cluster id", "0123")
        opened.step_moved("preflight/charts", State.PROBING, "", 0.0)
        opened.step_moved("preflight/charts", State.DONE, "4 releases", 0.1)
        opened.phase_ended("preflight", State.DONE, 4.2)
        opened.step_moved("talos/etcd", State.PROBING, "", 0.0)
        opened.step_moved("talos/etcd", State.ACTING, "", 0.1)
        opened.action_begins("talos/etcd", 1, action("bootstrap etcd on lab-01", KillSafety.ONCE))


def verdict(state: State, *failures: Failure) -> Verdict:
    step = StepResult("talos/etcd", "etcd", state, "", 0.0, 1.0)
    phase = PhaseResult("talos", "Talos", -1, state, 0.0, 1.0, 1.0, (step,))
    return Verdict("run-1", "lab", state, (phase,), failures, 185.0, 1200.0, 1.0, {})


def said(request: Request, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show(request)
    return capsys.readouterr().out.splitlines()


def as_data(request: Request, capsys: pytest.CaptureFixture[str]) -> Any:
    show(replace(request, output="json"))
    return json.loads(capsys.readouterr().out)


def test_a_cluster_without_a_journal_has_had_no_run(request_: Request, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(request_, capsys)
    assert "phase      talos: not begun" in lines
    assert lines[-2:] == [
        "next       no run has been made; the first one probes every step and does what is missing",
        f"command    {COMMAND}",
    ]
    assert not journal_path(request_).exists()


def test_a_run_that_was_cut_off(request_: Request, capsys: pytest.CaptureFixture[str]) -> None:
    cut_off_at_etcd(request_)
    before = journal_path(request_).read_bytes()
    lines = said(request_, capsys)
    assert lines == [
        "cluster    lab",
        f"journal    {journal_path(request_)}, 1 run",
        "identity   Talos cluster id: 0123",
        "running    nobody works on it",
        "last run   run-1, 2026-11-21T12:00:00Z: cut off at talos/etcd",
        f"           {COMMAND} --yes",
        "phase      preflight: done in 4.2 s",
        "phase      talos: cut off",
        "phase      prerequisites: not begun",
        "phase      crds: not begun",
        "phase      core: not begun",
        "phase      handover: not begun",
        UNFINISHED,
        "next       it probes every step before anything is done and goes on at talos/etcd",
        f"command    {COMMAND} --yes",
    ]
    assert journal_path(request_).read_bytes() == before


def test_changed_files_of_begun_steps_are_said_to_be_refused(
    request_: Request, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off_at_etcd(request_)
    with (request_.root / "inventory" / "lab.yaml").open("a") as file:
        file.write("# more\n")
    data = as_data(request_, capsys)
    (etcd,) = [one for one in data["changed_inputs"] if one["step"] == "talos/etcd"]
    assert etcd == {"step": "talos/etcd", "files": {"inventory/lab.yaml": "changed"}, "begun": "run-1"}
    assert data["next"].startswith("files changed that talos/etcd follow from")
    assert data["command"] == f"{COMMAND} --accept-changed-plan"
    with pytest.raises(InputError) as refused:
        journal(request_)
    assert [str(problem) for problem in refused.value.problems] == [
        "inventory/lab.yaml: changed since talos/etcd was begun"
    ]


def test_changed_files_after_a_run_that_is_done_are_taken(
    request_: Request, capsys: pytest.CaptureFixture[str]
) -> None:
    with journal(request_) as opened:
        begin(opened, request_)
        opened.action_begins("talos/etcd", 1, action("bootstrap", KillSafety.ONCE))
        opened.action_ended("talos/etcd", 1, 1.0, "")
        opened.step_moved("talos/etcd", State.DONE, "", 1.0)
        opened.phase_ended("talos", State.DONE, 61.0)
        opened.run_ended(verdict(State.DONE))
    (request_.root / "talos" / "lab" / "cluster.yaml").write_text("")
    lines = said(request_, capsys)
    assert "last run   run-1, 2026-11-21T12:00:00Z: done after 3 min 5 s, exit code 0" in lines
    assert "phase      talos: done in 1 min 1 s" in lines
    assert "changed    talos/install: talos/lab/cluster.yaml changed" in lines
    assert lines[-2].endswith("another one probes every step with the files as they are and does what is missing")
    assert lines[-1] == f"command    {COMMAND}"


def test_a_failed_run_says_where_and_why(request_: Request, capsys: pytest.CaptureFixture[str]) -> None:
    with journal(request_) as opened:
        begin(opened, request_)
        opened.phase_ended("preflight", State.DONE, 4.2)
        opened.run_ended(verdict(State.DONE))
        begin(opened, request_, "run-2")
        opened.action_begins("talos/etcd", 1, action("bootstrap", KillSafety.ONCE))
        opened.action_ended("talos/etcd", 1, 1.0, "the wire is cut")
        opened.step_moved("talos/etcd", State.FAILED, "the wire is cut", 1.0)
        opened.run_ended(verdict(State.FAILED, Failure("the wire\x1b[2J is cut")))
    lines = said(request_, capsys)
    assert "last run   run-2, 2026-11-21T12:00:00Z: failed at talos/etcd after 3 min 5 s, exit code 1" in lines
    assert "           the wire [2J is cut" in lines
    assert "phase      preflight: done in 4.2 s (run run-1)" in lines
    assert any(line.startswith("unfinished talos/etcd: bootstrap (failed: the wire is cut); once") for line in lines)


def test_who_works_on_it_is_named(request_: Request, capsys: pytest.CaptureFixture[str]) -> None:
    cut_off_at_etcd(request_)
    owner = Owner.of_this_process("run-1", COMMAND, NOON)
    with RunLock(journal_path(request_).parent, owner, cluster="lab"):
        lines = said(request_, capsys)
        data = as_data(request_, capsys)
    assert f"running    {owner}" in lines
    assert "phase      talos: under way" in lines
    assert lines[-1] == "next       a run is under way; no other one can begin"
    assert data["running"]["run"] == "run-1"
    assert data["command"] == ""


def test_the_data_holds_what_the_text_says(request_: Request, capsys: pytest.CaptureFixture[str]) -> None:
    cut_off_at_etcd(request_)
    data = as_data(request_, capsys)
    assert data["last_run"] == {
        "id": "run-1",
        "command": f"{COMMAND} --yes",
        "at": "2026-11-21T12:00:00Z",
        "state": "",
        "exit_code": None,
        "seconds": None,
        "stopped_at": ["talos/etcd"],
        "failures": [],
    }
    (left,) = data["unfinished_actions"]
    assert (left["step"], left["kill_safety"], left["changes"]) == ("talos/etcd", "once", "machines")
    assert data["phases"][1] == {"name": "talos", "state": "cut off", "seconds": None, "run": "run-1"}


def test_a_damaged_journal_is_refused_by_status_and_before_a_run(request_: Request) -> None:
    cut_off_at_etcd(request_)
    path = journal_path(request_)
    path.write_bytes(path.read_bytes().replace(b"preflight", b"preflighT"))
    for ask in (look, check_journal):
        with pytest.raises(InputError) as refused:
            ask(request_)
        assert "--rebuild-journal" in refused.value.remedy
    check_journal(replace(request_, rebuild_journal=True))


@pytest.mark.parametrize("kind", list(KillSafety))
def test_every_kill_safety_says_what_comes_next(
    request_: Request, capsys: pytest.CaptureFixture[str], kind: KillSafety
) -> None:
    with journal(request_) as opened:
        begin(opened, request_)
        opened.action_begins("talos/etcd", 1, action("bootstrap", kind))
    (line,) = [line for line in said(request_, capsys) if line.startswith("unfinished")]
    assert f"{kind.value}: the next run probes it" in line


def test_steps_that_change_the_world_name_what_they_follow_from(request_: Request) -> None:
    graph = outline(request_)
    changing = {path for path, node in graph.nodes.items() if node.step.inputs}
    assert {
        "talos/install",
        "talos/etcd",
        "prerequisites/resources",
        "crds/definitions",
        "core/cilium",
        "core/coredns",
        "core/flux-operator",
        "core/flux-instance",
    } <= changing
    named = {name for node in graph.nodes.values() for name in node.step.inputs}
    assert {name for name in named if not (ROOT / name).exists()} <= {"kubernetes/components"}
