"""A run of the session and its journal: what it is told, and what it refuses before anything is done."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.engine.journal_contents import Contents, read
from bootstrap.engine.machine import State
from bootstrap.engine.seams import NoLease
from bootstrap.host.commands import ShCommandRunner
from bootstrap.host.errors import FirstlightError, InputError
from bootstrap.host.product import version
from bootstrap.host.secret import Redactor
from inventory.loader import load
from phases import session
from phases.session import Request, journal_path, run
from tests.unit.cli.typed import invoke
from tests.unit.engine.world import World, phase

if TYPE_CHECKING:
    from bootstrap.engine import Context

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    (tmp_path / "input").write_text("1")
    return Request(tmp_path, tmp_path / "cache", load(ROOT, "lab"), "./invoke bootstrap --cluster lab", life="a lab")


class Stage:
    """A world of one step whose failure can be mended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World()
        self.broken = True
        redactor = Redactor()
        real = session._world
        monkeypatch.setattr(
            session,
            "open_world",
            lambda request, *_: real(request, ShCommandRunner(redactor), redactor, {"talosctl": Path()}),
        )
        step = replace(self.world.acting("one", before=self._maybe), inputs=("input",))
        monkeypatch.setattr(session, "build", lambda _world: [phase("a", step)])

    def _maybe(self, _ctx: Context) -> None:
        if self.broken:
            raise FirstlightError("not yet")


class Free(NoLease):
    """A cluster that nobody else knows of."""

    def permit(self) -> None:
        """Let every write go on."""


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    # Steps of the stage change the cluster, which wants a lease.
    monkeypatch.setattr(session, "_lease", lambda *_: Free())
    return Stage(monkeypatch)


def contents(request: Request) -> Contents:
    return read(journal_path(request), cluster="lab")


def test_fail_mend_a_file_run_again_needs_the_flag(request_: Request, stage: Stage) -> None:
    failed = run(request_)
    last = contents(request_).last
    assert last is not None
    assert (last.id, last.command, list(last.files)) == (failed.run_id, request_.command, ["input"])
    assert last.end is not None
    assert (last.end.state, last.end.failures, last.stopped_at) == (State.FAILED, ("not yet",), ("a/one",))
    (request_.root / "input").write_text("2")
    stage.broken = False
    with pytest.raises(InputError) as refused:
        run(request_)
    assert [str(problem) for problem in refused.value.problems] == ["input: changed since a/one was begun"]
    assert (stage.world.effects, len(contents(request_).runs)) == ([], 1)
    assert run(replace(request_, accept_changed_plan=True)).state is State.DONE
    (request_.root / "input").write_text("3")
    assert run(request_).nothing_to_do


def test_a_damaged_journal_is_moved_aside_when_that_is_asked_for(
    request_: Request, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    run(request_)
    path = journal_path(request_)
    damaged = path.read_bytes()[1:]
    path.write_bytes(damaged)
    stage.broken = False
    with pytest.raises(InputError, match="the journal is damaged"):
        run(request_)
    assert stage.world.effects == []
    assert run(replace(request_, rebuild_journal=True)).state is State.DONE
    (aside,) = path.parent.glob("journal.jsonl.damaged-*")
    assert aside.read_bytes() == damaged
    assert f"the journal was moved to {aside}" in capsys.readouterr().err
    assert len(contents(request_).runs) == 1


def test_another_lab_is_another_life(request_: Request, stage: Stage) -> None:
    run(request_)
    assert contents(request_).begun != {}
    (request_.root / "input").write_text("2")
    stage.broken = False
    assert run(replace(request_, life="another lab")).state is State.DONE
    assert (contents(request_).life, len(contents(request_).runs)) == ("another lab", 2)


def test_a_journal_that_cannot_be_used_is_refused_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "inventory").mkdir()
    text = (ROOT / "inventory" / "lab.yaml").read_text()
    text = text.replace("name: lab\n", "name: metal\n").replace("virtual: true", "virtual: false")
    machine = ("machine:", "memory:", "cpus:", "disk: 10")
    kept = [line for line in text.splitlines() if not line.strip().startswith(machine)]
    (tmp_path / "inventory" / "metal.yaml").write_text("\n".join(kept) + "\n")
    journal = tmp_path / ".firstlight" / "metal" / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("hello\n")
    for words in (("bootstrap",), ("status",)):
        answer = invoke(*words, "--cluster", "metal", root=tmp_path)
        assert answer.code == 3, answer
        assert f"{journal}:1: it is no journal" in answer.stderr
        assert "next: bootstrap with --rebuild-journal" in answer.stderr
    # With the flag the next question is asked: whether real machines may be changed.
    answer = invoke("bootstrap", "--cluster", "metal", "--rebuild-journal", root=tmp_path)
    assert (answer.code, "--yes confirms" in answer.stderr) == (3, True)
    assert journal.read_text() == "hello\n"


def test_we_know_our_own_version() -> None:
    assert version() == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
