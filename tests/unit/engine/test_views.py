"""What a person and a program read of a run."""

from __future__ import annotations

import io
import json
import stat
from typing import TYPE_CHECKING

from bootstrap.engine import Context, Gate, Observation, Phase, Proof, ProofKind
from bootstrap.engine.testing import FakeClock, FakeSignals, Recording, run_phases
from bootstrap.host.errors import FirstlightError, InputError, Problem
from bootstrap.views.encode import encode
from bootstrap.views.failure import render_failure
from bootstrap.views.jsonlines import JsonLines
from bootstrap.views.log import LogFile
from bootstrap.views.plain import PlainLines
from bootstrap.views.report import RENDERINGS, About, Chronicle, ReportWriter
from bootstrap.views.schema import load
from bootstrap.views.summary import duration
from tests.unit.engine.world import World, phase, reading

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.engine.events import Reader
    from bootstrap.engine.verdict import Verdict
    from bootstrap.views.document import Report
    from bootstrap.views.encode import Json


def one_run(*readers: Reader, broken: bool = True) -> Verdict:
    """Done, acted on, waited for, proven by a stand-in, over target, and then a failure."""
    clock = FakeClock()
    looks = iter(["connection refused"] * 17)

    def check(_ctx: Context) -> Observation[str]:
        seen = next(looks, "")
        proof = Proof("a pod network", "the stand-in chart", ProofKind.STAND_IN)
        return Observation(not seen, seen or "1 of 1", "etcd", (proof,))

    def slow(ctx: Context) -> None:
        ctx.note("the machine restarts")
        clock.advance(3.0)

    def refuse(_ctx: Context) -> str:
        problem = Problem("the chart is not there", "kubernetes/app.yaml", 7, 3, "push it")
        raise InputError("a release cannot be installed", (problem,), cause="HTTP 404", remedy="invoke lab.up")

    gate = Gate(description="etcd to be healthy", check=check, timeout=60.0)
    etcd = World().acting("etcd", before=slow, gate=gate)
    last = reading("cilium", refuse) if broken else reading("cilium")
    phases = [
        Phase(name="preflight", title="Programs and secrets", steps=(reading("programs"),), target=30.0),
        Phase(name="talos", title="Talos on every machine", number=-1, steps=(etcd,), target=5.0, deadline=90.0),
        phase("core", last),
        phase("handover", reading("flux")),
    ]
    return run_phases(phases, readers=readers, clock=clock)


PLAIN = """\
     0.0 s  run                        cluster lab, run test; target 10 min 0 s, deadline 20 min 0 s
     0.0 s  preflight                  begins: Programs and secrets; target 30.0 s
     0.0 s  preflight/programs         done: found
     0.0 s  preflight                  done in 0.0 s; target 30.0 s
     0.0 s  talos                      begins (phase -1): Talos on every machine; target 5.0 s
     0.0 s  talos/etcd                 make etcd: etcd is missing
     0.0 s  talos/etcd                 the machine restarts
     3.0 s  talos/etcd                 make etcd: took 3.0 s
     3.0 s  talos/etcd                 waiting for etcd to be healthy, at most 1 min 0 s (limit of the gate)
     3.0 s  talos/etcd                 waiting for etcd to be healthy: connection refused
    18.0 s  talos/etcd                 still waiting for etcd to be healthy: connection refused (15.0 s of 1 min 0 s)
    20.0 s  talos/etcd                 waiting for etcd to be healthy: 1 of 1
    20.0 s  talos/etcd                 waited 17.0 s for etcd to be healthy: 1 of 1
    20.0 s  talos/etcd                 done: 1 of 1
    20.0 s  talos                      done in 20.0 s; target 5.0 s
    20.0 s  core                       begins: Core; target 1 min 0 s
    20.0 s  core/cilium                failed: a release cannot be installed: HTTP 404
    20.0 s  core                       failed in 0.0 s; target 1 min 0 s

phase          state             time      target
preflight      done             0.0 s      30.0 s
talos          done            20.0 s       5.0 s  over target by 15.0 s
  most of it: talos/etcd, waiting for etcd to be healthy, 17.0 s
core           failed           0.0 s   1 min 0 s
handover       aborted              -   1 min 0 s
whole run      failed          20.0 s  10 min 0 s

lab: failed, exit code 3
1 write; 3.0 s of the time was ours, the rest was waiting for others
proofs: 0 proven, 1 by a stand-in, 0 unproven
  stand-in  a pod network: the stand-in chart

error: a release cannot be installed
  cause: HTTP 404
  - kubernetes/app.yaml:7:3: the chart is not there
    next: push it
  next: invoke lab.up

log: .firstlight/lab/runs/test/log
"""


def test_plain_lines_of_a_run_that_fails() -> None:
    stream = io.StringIO()
    one_run(PlainLines(stream, log=".firstlight/lab/runs/test/log"))
    assert stream.getvalue() == PLAIN


def test_a_second_run_says_that_there_was_nothing_to_do() -> None:
    stream = io.StringIO()
    run_phases([phase("a", reading("one"))], readers=[PlainLines(stream, log="a log")])
    assert stream.getvalue().endswith(
        "lab: nothing to do, everything was found done\n"
        "0 writes; 0.0 s of the time was ours, the rest was waiting for others\n"
    )


def test_an_error_outside_a_run_reads_the_same() -> None:
    error = InputError("no such cluster", (Problem("`lap`; nearest: lab"),), remedy="invoke --list")
    assert render_failure(error) == "error: no such cluster\n  - `lap`; nearest: lab\n  next: invoke --list"


def test_json_lines_hold_every_event_and_the_report() -> None:
    stream, recording = io.StringIO(), Recording()
    one_run(JsonLines(stream), recording)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["sequence"] for line in lines] == [stamped.sequence for stamped in recording.stamped]
    assert (lines[0]["event"], lines[0]["cluster"]) == ("run-started", "lab")
    moved = next(line for line in lines if line["event"] == "step-moved")
    assert (moved["step"], moved["before"], moved["after"]) == ("preflight/programs", "pending", "probing")
    chronicle = Chronicle()
    report = [chronicle.read(stamped) for stamped in recording.stamped][-1]
    assert lines[-1]["event"] == "run-ended"
    # Memory in use grows between the two.
    assert {**lines[-1]["report"], "peak_memory_bytes": 0} == {**encoded(report), "peak_memory_bytes": 0}


def encoded(report: Report | None) -> dict[str, Json]:
    found = encode(report)
    assert isinstance(found, dict)
    return found


def test_only_the_log_holds_tracebacks(tmp_path: Path) -> None:
    path, stream, plain = tmp_path / "runs" / "log", io.StringIO(), io.StringIO()

    def burst(_ctx: Context) -> str:
        raise ValueError("a bug")

    with LogFile(path) as log:
        run_phases([phase("a", reading("one", burst))], readers=[log, JsonLines(stream), PlainLines(plain)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    trouble = next(line for line in lines if line["event"] == "unexpected-error")
    assert "Traceback" in trouble["holds"]["traceback"]
    assert (trouble["level"], trouble["run"]) == ("error", "test")
    assert "Traceback" not in stream.getvalue() + plain.getvalue()
    assert "error: unexpected error: ValueError: a bug\n" in plain.getvalue()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_log_that_finds_no_room_is_told_once_and_ends_nothing(tmp_path: Path) -> None:
    path, plain = tmp_path / "log", io.StringIO()
    path.symlink_to("/dev/full")
    with LogFile(path) as log:
        verdict = run_phases([phase("a", reading("one"))], readers=[log, PlainLines(plain)])
    assert verdict.exit_code == 0
    assert plain.getvalue().count("LogFile failed") == 1


def test_the_report_is_written_on_failure_too(tmp_path: Path) -> None:
    about = About("LAB", "invoke bootstrap", ("core",), identity={"UID": "u-1"}, inputs={"core/a": "12"})
    verdict = one_run(ReportWriter(tmp_path / "run", lambda: about))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    head = {
        "schema": 1, "run": "test", "cluster": "lab", "mark": "LAB", "command": "invoke bootstrap",
        "selection": {"only": ["core"], "start": "", "skip": []}, "identity": {"UID": "u-1"},
        "inputs": {"core/a": "12"}, "changed_inputs": {}, "state": "failed", "exit_code": 3, "nothing_to_do": False,
        "writes": 1, "seconds": 20.0, "target_seconds": 600.0, "deadline_seconds": 1200.0, "slack_seconds": 580.0,
        "ours_seconds": 3.0, "outside_seconds": {"gate": 17.0},
        "proofs": {"proven": 0, "stand-in": 1, "unproven": 0},
        "notes": [{"seconds": 0.0, "step": "talos/etcd", "text": "the machine restarts"}],
    }  # fmt: skip
    assert {key: report[key] for key in head} == head
    assert report["started"] <= report["ended"]
    assert report["failures"][0]["problems"][0]["line"] == 7
    talos = report["phases"][1]
    assert (talos["name"], talos["number"], talos["state"], talos["over_target"]) == ("talos", -1, "done", True)
    assert (talos["deadline_seconds"], talos["slack_seconds"]) == (90.0, -15.0)
    assert sum(share["seconds"] for share in talos["critical"]) == 20.0
    step = talos["steps"][0]
    assert step["actions"][0] == {
        "description": "make etcd", "reason": "etcd is missing", "kill_safety": "repeatable", "writes": True,
        "began_seconds": 0.0, "seconds": 3.0, "ours_seconds": 3.0, "error": "",
    }  # fmt: skip
    wait = step["waits"][0]
    assert wait["ours_seconds"] + wait["doubt_seconds"] <= wait["seconds"]
    assert {key: wait[key] for key in wait if key not in {"ours_seconds", "doubt_seconds"}} == {
        "description": "etcd to be healthy", "began_seconds": 3.0, "seconds": 17.0, "limit_seconds": 60.0,
        "usual_seconds": None, "seen": "1 of 1", "held": True,
    }  # fmt: skip
    assert step["proofs"] == [{"criterion": "a pod network", "evidence": "the stand-in chart", "kind": "stand-in"}]
    assert len(report["phases"]) == len(verdict.phases)


def test_what_lies_beside_the_report_is_made_of_it_alone(tmp_path: Path) -> None:
    one_run(ReportWriter(tmp_path))
    report = load(tmp_path / "report.json")
    assert {name: (tmp_path / name).read_text() for name in RENDERINGS} == {
        name: render(report) for name, render in RENDERINGS.items()
    }


def test_a_report_that_cannot_be_written_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    stream = io.StringIO()
    verdict = one_run(ReportWriter(tmp_path / "runs"), PlainLines(stream), broken=False)
    assert int(verdict.exit_code) == 0
    assert "lab: done\n" in stream.getvalue()
    assert "ReportWriter failed: " in stream.getvalue().splitlines()[-1]


def test_an_interrupted_run_names_the_resume_command() -> None:
    signals, stream = FakeSignals(), io.StringIO()

    def check(_ctx: Context) -> Observation[str]:
        signals.send(2)
        raise FirstlightError("no answer")

    gate = Gate(description="etcd", check=check, timeout=1e9)
    run_phases(
        [phase("a", World().acting("one", gate=gate))], signals=signals, readers=[PlainLines(stream)], target=1e9
    )
    assert "no new action starts" in stream.getvalue()
    assert "error: the run was interrupted by SIGINT\n  next: invoke bootstrap --cluster lab\n" in stream.getvalue()


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.04, 59.9, 60.0, 61.6, 3600.0)] == [
        "0.0 s", "59.9 s", "1 min 0 s", "1 min 2 s", "60 min 0 s",
    ]  # fmt: skip
