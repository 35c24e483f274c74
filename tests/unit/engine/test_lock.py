"""One run a cluster on one machine."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import secrets
import shutil
import signal
import subprocess  # noqa: TID251 # a program that belongs to no run
import threading
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine.lock import LOCK_FILE, OWNER_FILE, Owner, RunLock, read_owner
from bootstrap.engine.testing import run_phases
from bootstrap.host import orphans
from bootstrap.host.commands import Command, ShCommandRunner
from bootstrap.host.errors import ExitCode, InputError, LockedError
from bootstrap.host.locks import is_held, try_lock
from bootstrap.host.process import this_process
from bootstrap.host.secret import Redactor
from tests.unit.engine.world import World, phase

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Barrier

    from bootstrap.engine import Context

# Forked from a server that has no threads; what it has imported its children have as well.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.unit.engine.test_lock"])
SHELL = Path(shutil.which("sh") or "/bin/sh")
ROUNDS = 20
# Seconds; only a broken lock lets a test wait that long.
PATIENCE = 60.0


def owner(**changes: Any) -> Owner:
    now = datetime(2026, 11, 21, 13, 40, tzinfo=UTC)
    return replace(Owner.of_this_process("run-1", "./invoke bootstrap --cluster lab", now), **changes)


def lock(folder: Path, **changes: Any) -> RunLock:
    return RunLock(folder, owner(user="karl", **changes), cluster="lab")


def test_a_second_run_is_refused_and_told_who_works(tmp_path: Path) -> None:
    with lock(tmp_path), pytest.raises(LockedError) as caught, lock(tmp_path, run="run-2"):
        pass
    here = this_process()
    assert caught.value.exit_code is ExitCode.LOCKED
    assert caught.value.fact == "another run works on cluster lab"
    assert caught.value.cause == (
        f"karl, pid {here.pid} on {here.host}, since 2026-11-21T13:40:00+00:00, before its first phase, "
        "run run-1: ./invoke bootstrap --cluster lab"
    )
    assert caught.value.remedy == "./invoke status --cluster lab"


def test_a_pid_of_another_namespace_is_named_as_such() -> None:
    other = replace(owner(), process=replace(this_process(), namespace=1, pid=7))
    assert f"pid 7 of another PID namespace on {this_process().host}" in str(other)


def test_the_refused_run_changes_nothing(tmp_path: Path) -> None:
    with lock(tmp_path):
        before = (tmp_path / OWNER_FILE).read_bytes()
        with pytest.raises(LockedError), lock(tmp_path, run="run-2"):
            pass
        assert (tmp_path / OWNER_FILE).read_bytes() == before
        assert read_owner(tmp_path) == owner(user="karl")


def test_the_owner_is_told_while_the_lock_is_held_and_not_longer(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "lab"
    assert read_owner(folder) is None
    with lock(folder):
        assert read_owner(folder) == owner(user="karl")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / OWNER_FILE).stat().st_mode & 0o777 == 0o600
    assert read_owner(folder) is None
    assert not (folder / OWNER_FILE).exists()
    with lock(folder) as again:
        assert again.left_behind is None


def test_the_owner_file_follows_the_phases(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(_ctx: Context) -> None:
        found = read_owner(tmp_path)
        seen.append(found.phase if found else "nobody")

    world = World()
    with lock(tmp_path) as held:
        phases = [phase(name, world.acting(f"step-{name}", before=look)) for name in ("talos", "core")]
        run_phases(phases, readers=[held])
    assert seen == ["talos", "core"]


@pytest.mark.parametrize("changes", [{"boot": "another boot"}, {"pid": 0x7FFFFFFF}, {"namespace": 1}])
def test_what_a_dead_run_left_is_taken_over_and_told(tmp_path: Path, changes: dict[str, object]) -> None:
    gone = replace(owner(run="run-0"), process=replace(this_process(), **changes))  # type: ignore[arg-type]
    (tmp_path / OWNER_FILE).write_text(json.dumps(asdict(gone)))
    assert read_owner(tmp_path) is None
    with lock(tmp_path) as held:
        assert held.left_behind == gone
        assert read_owner(tmp_path) == owner(user="karl")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"user": "karl"}', '{"process": 1}', "\x00"])
def test_an_owner_file_that_says_nothing_hinders_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / OWNER_FILE).write_text(content)
    with lock(tmp_path) as held:
        assert held.left_behind is None


def test_a_holder_that_does_not_say_who_it_is_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootstrap.engine.lock.INTRODUCTION_SECONDS", 0.05)
    with (tmp_path / LOCK_FILE).open("w") as file:
        assert try_lock(file)
        with pytest.raises(LockedError, match="it has not said who it is"), lock(tmp_path):
            pass


def test_who_only_looks_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lock(tmp_path):
        pass
    looker = (tmp_path / LOCK_FILE).open()
    fcntl.flock(looker, fcntl.LOCK_SH)
    monkeypatch.setattr("bootstrap.engine.lock.time.sleep", lambda _: looker.close())
    with lock(tmp_path):
        assert looker.closed


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(_file: object) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("bootstrap.engine.lock.try_lock", refuse)
    with pytest.raises(InputError) as caught, lock(tmp_path):
        pass
    assert str(caught.value.problems[0]) == f"{tmp_path / LOCK_FILE}: {os.strerror(number)}"
    assert caught.value.remedy == "put the repository on a local file system"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as caught, lock(tmp_path / "file" / "lab"):
        pass
    assert caught.value.exit_code is ExitCode.INVALID
    assert str(tmp_path / "file") in str(caught.value)


def test_an_owner_that_cannot_be_written_is_refused_and_the_lock_is_free(tmp_path: Path) -> None:
    (tmp_path / OWNER_FILE).mkdir()
    with pytest.raises(InputError), lock(tmp_path):
        pass
    with (tmp_path / LOCK_FILE).open() as file:
        assert not is_held(file)


def compete(folder: Path, barrier: Barrier, results: Connection) -> None:
    """Be one of two that begin a run at the same moment, again and again."""
    for number in range(ROUNDS):
        place = folder / str(number)
        barrier.wait(PATIENCE)
        try:
            with RunLock(place / "state", owner(run=f"run-{os.getpid()}"), cluster="lab"):
                run_phases([phase("a", World().acting("one", before=partial(write, place)))])
                results.send("ran")
                barrier.wait(PATIENCE)
        except LockedError as error:
            results.send(error.cause)
            barrier.wait(PATIENCE)


def write(folder: Path, _ctx: Context) -> None:
    with (folder / "writes").open("a") as file:
        file.write(f"{os.getpid()}\n")


def test_of_two_at_a_barrier_exactly_one_runs(tmp_path: Path) -> None:
    barrier = PROCESSES.Barrier(2)
    pipes = [PROCESSES.Pipe(duplex=False) for _ in range(2)]
    racers = [PROCESSES.Process(target=compete, args=(tmp_path, barrier, sender)) for _, sender in pipes]
    for racer in racers:
        racer.start()
    for number in range(ROUNDS):
        told = [receiver.recv() for receiver, _ in pipes if receiver.poll(PATIENCE)]
        winner = (tmp_path / str(number) / "writes").read_text().split()
        assert len(winner) == 1
        assert sorted(text == "ran" for text in told) == [False, True]
        refusal = next(text for text in told if text != "ran")
        assert f"pid {winner[0]} on" in refusal
    for racer in racers:
        racer.join(PATIENCE)
        assert racer.exitcode == 0


def hold(folder: Path, results: Connection) -> None:
    with RunLock(folder, owner(), cluster="lab"):
        results.send(os.getpid())
        signal.pause()


def test_a_killed_run_frees_the_lock_and_is_named_to_the_next(tmp_path: Path) -> None:
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=hold, args=(tmp_path, sender))
    process.start()
    assert receiver.poll(PATIENCE)
    pid = receiver.recv()
    found = read_owner(tmp_path)
    assert found
    assert found.process.pid == pid
    os.kill(pid, signal.SIGKILL)
    process.join(PATIENCE)
    assert read_owner(tmp_path) is None
    with lock(tmp_path) as held:
        assert held.left_behind
        assert held.left_behind.process.pid == pid


def leave_programs(folder: Path, run: str, results: Connection) -> None:
    """A run with a program that minds a request to end, one that does not, and what both have started."""
    with RunLock(folder, owner(run=run), cluster="lab"):
        runner = ShCommandRunner(Redactor(), run=run)
        for line in ("sleep 600 & wait", "trap '' TERM; sleep 600 & while :; do wait; done"):
            started = threading.Thread(target=runner.run, args=(Command(SHELL, ("-c", line), timeout=600.0),))
            started.start()
        results.send("began")
        signal.pause()


def test_the_programs_of_a_killed_run_are_ended_before_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bootstrap.engine.lock.GRACE_SECONDS", 0.2)
    receiver, sender = PROCESSES.Pipe(duplex=False)
    # Others may test on this machine at the same time.
    run = secrets.token_hex(8)
    process = PROCESSES.Process(target=leave_programs, args=(tmp_path, run, sender))
    process.start()
    assert receiver.poll(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while len(orphans._of(run)) < 4:
        assert time.monotonic() < deadline
    process.kill()
    process.join(PATIENCE)
    mine = subprocess.Popen([SHELL, "-c", "sleep 600"], env={orphans.RUN_VARIABLE: f"{run}0"})
    try:
        with lock(tmp_path, run="run-2") as held:
            assert orphans._of(run) == []
            assert sorted(one.partition(" (pid ")[0] for one in held.ended) == ["sh", "sh", "sleep", "sleep"]
        assert mine.poll() is None, "a program of another run was ended"
    finally:
        mine.kill()
        mine.wait()
    with lock(tmp_path, run="run-3") as again:
        assert again.ended == ()
