"""Signals, closed terminals and stops against real processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import pty
import random
import secrets
import signal
import subprocess  # noqa: TID251 # a whole run in a process of its own
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.engine import journal_contents
from bootstrap.engine.interrupts import ECHO_SECONDS
from bootstrap.engine.journal import FILE
from bootstrap.engine.lock import LOCK_FILE, OWNER_FILE
from bootstrap.host.commands import GRACE_SECONDS
from bootstrap.host.locks import try_lock
from bootstrap.host.signals import CAUGHT
from tests.unit.engine.signalled import ENDLESS, GENTLE, STUBBORN, TOKEN, Plan, interrupted, told_afterwards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[..., subprocess.Popen[bytes]]

# Forked from a server that has no threads and has imported all that is needed.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.unit.engine.signalled"])
# Runs a kind of interrupt, and how many of them at the same time; most of it is sleep.
RUNS, AT_ONCE = 20, 10
# A program that runs on its own has fewer moments than a run.
ALONE = 10
# Seconds in which a run gets from its beginning to its endless programs; signals come within them.
LIVELY_SECONDS = 0.6
# Seconds; only a broken run lets a test wait that long.
PATIENCE = 60.0


def of_token(token: str, words: bytes = b"") -> list[int]:
    """The processes that a run started and that still live, those whose command line begins with the words."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            ours = entry.name.isdigit() and f"{TOKEN}={token}".encode() in (entry / "environ").read_bytes()
            if ours and (entry / "cmdline").read_bytes().startswith(words):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture
def token() -> Iterator[str]:
    """Marks the programs of a test; what it leaves behind is ended."""
    made = secrets.token_hex(8)
    yield made
    for pid in of_token(made):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def dice() -> random.Random:
    """Dice whose seed a failing test prints; `FIRSTLIGHT_TEST_SEED` repeats it."""
    seed = os.environ.get("FIRSTLIGHT_TEST_SEED") or secrets.token_hex(4)
    sys.stdout.write(f"FIRSTLIGHT_TEST_SEED={seed}\n")
    return random.Random(seed)  # noqa: S311 # moments, no secrets


def await_true(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def play(plans: list[Plan]) -> list[int | None]:
    """Run each plan in a process of its own; their exit codes."""
    codes: list[int | None] = []
    for first in range(0, len(plans), AT_ONCE):
        processes = [PROCESSES.Process(target=interrupted, args=(plan,)) for plan in plans[first : first + AT_ONCE]]
        for process in processes:
            process.start()
        for process in processes:
            process.join(PATIENCE)
            codes.append(process.exitcode)
            process.kill()
    return codes


def plans_for(folder: Path, token: str, dice: random.Random, *, twice: bool, within: bool = True) -> Iterator[Plan]:
    for index in range(RUNS if within else ALONE):
        place = folder / str(index)
        place.mkdir()
        moment = dice.uniform(0.0, LIVELY_SECONDS if within else 0.1)
        sent = tuple((moment + 0.1 * step, dice.choice(CAUGHT)) for step in range(1 + twice))
        yield Plan(place, token, dice.choice(STUBBORN) if twice else GENTLE, sent, within)


def log_of(folder: Path) -> list[dict[str, Any]]:
    # A run that goes on may be in the middle of a line.
    whole, _, _ = (folder / "log.jsonl").read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def notes(folder: Path) -> list[str]:
    return [line["holds"]["text"] for line in log_of(folder) if line["event"] == "note"]


def noted(folder: Path, beginning: str) -> bool:
    return any(note.startswith(beginning) for note in notes(folder))


def check_traces(plan: Plan, code: int | None) -> None:
    """What a run that was ended by a signal leaves: no lock, a readable journal, a verdict, the way to go on."""
    # Which of two comes first is the interpreter's to say: of those that it finds waiting it takes the lower number.
    assert code in {128 + number for _, number in plan.signals}
    told = signal.Signals(code - 128).name
    assert not (plan.folder / OWNER_FILE).exists()
    with (plan.folder / LOCK_FILE).open("a") as file:
        assert try_lock(file)
    said = (plan.folder / "stderr").read_text()
    assert "Traceback" not in said
    if not (plan.folder / "log.jsonl").exists() or not said:
        return  # it was told before it had begun
    next_ = "next: ./invoke bootstrap --cluster lab"
    assert f"error: the run was interrupted by {told}\n  {next_}\n" in said, said
    last = journal_contents.read(plan.folder / FILE, cluster="lab").last
    assert last
    assert last.end
    assert log_of(plan.folder)[-1]["event"] == "run-ended"


@pytest.mark.parametrize("twice", [False, True])
def test_a_signal_at_any_moment_ends_a_run_and_leaves_nothing(
    tmp_path: Path, token: str, dice: random.Random, *, twice: bool
) -> None:
    plans = list(plans_for(tmp_path, token, dice, twice=twice))
    codes = play(plans)
    assert of_token(token) == []
    for plan, code in zip(plans, codes, strict=True):
        check_traces(plan, code)


@pytest.mark.parametrize(("first", "second"), [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)])
def test_the_first_signal_names_the_exit_code_when_another_comes_after_the_run(first: int, second: int) -> None:
    process = PROCESSES.Process(target=told_afterwards, args=(first, second))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 128 + first


@pytest.mark.parametrize("twice", [False, True])
def test_a_stubborn_program_has_its_grace_until_the_second_signal(tmp_path: Path, token: str, *, twice: bool) -> None:
    plans = [Plan(tmp_path / str(index), f"{token}-{index}", line, ()) for index, line in enumerate(STUBBORN)]
    processes = [PROCESSES.Process(target=interrupted, args=(plan,)) for plan in plans]
    for plan, process in zip(plans, processes, strict=True):
        plan.folder.mkdir()
        process.start()
    await_true(lambda: all(len(of_token(plan.token, b"sleep\x0060")) == ENDLESS for plan in plans))
    sent = time.monotonic()
    for process in processes:
        os.kill(process.pid or 0, signal.SIGTERM)
    await_true(lambda: all(noted(plan.folder, "SIGTERM: no new action") for plan in plans))
    time.sleep(2 * ECHO_SECONDS)
    for process in processes if twice else ():
        os.kill(process.pid or 0, signal.SIGTERM)
    for plan, process in zip(plans, processes, strict=True):
        process.join(PATIENCE)
        assert bool(noted(plan.folder, "second signal")) is twice
        assert (time.monotonic() - sent < GRACE_SECONDS) is twice
        check_traces(replace(plan, signals=((0.0, signal.SIGTERM),)), process.exitcode)
    assert of_token(token) == []


@pytest.mark.parametrize("twice", [False, True])
def test_outside_of_a_run_a_signal_takes_the_program_along(
    tmp_path: Path, token: str, dice: random.Random, *, twice: bool
) -> None:
    plans = list(plans_for(tmp_path, token, dice, twice=twice, within=False))
    codes = play(plans)
    allowed = [{128 + number for _, number in plan.signals} for plan in plans]
    assert [(code, codes) for code, codes in zip(codes, allowed, strict=True) if code not in codes] == []
    assert of_token(token) == []
    assert ["Traceback" in (plan.folder / "stderr").read_text() for plan in plans] == [False] * ALONE


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Begins a run that waits for the file `go`, and returns when it does; limit and gap in seconds."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(*, limit: float = PATIENCE, gap: float = PATIENCE, **streams: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.unit.engine.signalled", str(tmp_path), str(limit), str(gap)]
        process = subprocess.Popen(command, **streams)
        processes.append(process)
        await_true(lambda: (tmp_path / "begun").exists() or process.poll() is not None)
        assert process.poll() is None
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def test_a_reader_that_goes_away_does_not_end_the_run(tmp_path: Path, start: Start) -> None:
    process = start(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout
    assert process.stdout.readline()
    process.stdout.close()
    (tmp_path / "go").touch()
    assert process.wait(PATIENCE) == 0
    assert log_of(tmp_path)[-1]["event"] == "run-ended"
    assert sorted(note.split()[0] for note in notes(tmp_path)) == ["JsonLines", "PlainLines"]


def test_one_stream_that_goes_away_leaves_the_other(tmp_path: Path, start: Start) -> None:
    process = start(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    process.stdout.close()
    (tmp_path / "go").touch()
    assert process.stderr
    said = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(PATIENCE) == 0
    assert "last-19" in said
    assert said.count("JsonLines failed") == 1
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_a_run_outlives_its_terminal(tmp_path: Path, start: Start) -> None:
    master, slave = pty.openpty()
    process = start(stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    os.close(master)
    (tmp_path / "go").touch()
    assert process.wait(PATIENCE) == 0
    assert (tmp_path / "signals").read_text() == "SIGHUP"
    assert log_of(tmp_path)[-1]["event"] == "run-ended"
    assert sorted(note.split()[0] for note in notes(tmp_path)) == ["JsonLines", "PlainLines"]


def test_a_stop_does_not_count(tmp_path: Path, start: Start) -> None:
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = start(limit=2.5, gap=1.0, **quiet)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(3.0)
    os.kill(process.pid, signal.SIGCONT)
    # Some looks that still see nothing.
    time.sleep(0.2)
    (tmp_path / "go").touch()
    assert process.wait(PATIENCE) == 0
    assert any(note.startswith("this process did not run for 3 s") for note in notes(tmp_path))
