"""How programs end that do not end by themselves."""

from __future__ import annotations

import _thread
import os
import secrets
import shutil
import subprocess  # noqa: TID251 # a child whose end nobody has seen yet
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.host import commands
from bootstrap.host.commands import Command, CommandError, ShCommandRunner
from bootstrap.host.groups import has_ended
from bootstrap.host.secret import Redactor, Secret

SHELL = Path(shutil.which("sh") or "/bin/sh")
# Its shell ends when it is asked to, what the shell started does not.
LINGERING = "(trap '' TERM; sleep 60) & wait"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> ShCommandRunner:
    # Programs here have nothing to finish.
    monkeypatch.setattr(commands, "GRACE_SECONDS", 0.2)
    return ShCommandRunner(Redactor())


def shell(line: str, *, token: str = "", timeout: float = 60.0) -> Command:
    return Command(SHELL, ("-c", line), {"FIRSTLIGHT_TEST_TOKEN": token}, timeout=timeout)


def living(token: str) -> int:
    count = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            count += f"FIRSTLIGHT_TEST_TOKEN={token}".encode() in (entry / "environ").read_bytes()
        except OSError:
            continue
    return count


def test_the_cause_of_a_failure_is_no_hint_behind_it(runner: ShCommandRunner) -> None:
    line = "printf 'Error: YAML parse error on a.yaml\\n\\nUse --debug flag to render out invalid YAML\\n' >&2; exit 1"
    with pytest.raises(CommandError) as caught:
        runner.run(replace(shell(line), hint="Use --debug"))
    assert caught.value.cause == "Error: YAML parse error on a.yaml"


def test_a_time_limit_ends_all_that_a_program_started(runner: ShCommandRunner) -> None:
    token = secrets.token_hex(8)
    with pytest.raises(CommandError) as caught:
        runner.run(shell(LINGERING, token=token, timeout=0.2))
    assert caught.value.timed_out
    assert living(token) == 0


def test_an_interrupt_ends_all_that_a_program_started(runner: ShCommandRunner) -> None:
    token = secrets.token_hex(8)
    errors: list[CommandError] = []

    def run() -> None:
        try:
            runner.run(shell(LINGERING, token=token))
        except CommandError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while living(token) < 2:
        assert thread.is_alive()
    runner.stop_all()
    thread.join()
    assert "was ended by a signal" in errors[0].fact
    assert living(token) == 0


def test_what_the_main_thread_is_torn_away_from_is_ended(runner: ShCommandRunner) -> None:
    token = secrets.token_hex(8)
    timer = threading.Timer(0.2, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        runner.run(shell(LINGERING, token=token))
    assert living(token) == 0


@pytest.mark.parametrize("end", [ShCommandRunner.stop_all, ShCommandRunner.kill_all])
def test_once_all_are_ended_none_starts(runner: ShCommandRunner, tmp_path: Path, end: object) -> None:
    assert callable(end)
    end(runner)
    with pytest.raises(CommandError, match="was not started"):
        runner.run(shell(f"touch {tmp_path / 'file'}"))
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_a_program_is_raised_as_it_is(runner: ShCommandRunner) -> None:
    with pytest.raises(CommandError, match="failed with exit code 3") as caught:
        runner.run(shell("echo why >&2; exit 3"))
    assert (caught.value.exit_code_seen, caught.value.cause) == (3, "why")
    assert runner.run(shell("echo fine")).text == "fine\n"


def test_a_child_that_ended_unseen_has_not_run_out_of_time() -> None:
    command = [sys.executable, "-S", "-c", "input()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdin
    assert not has_ended(process.pid)
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert has_ended(process.pid)
    process.wait()
    assert has_ended(process.pid)


@pytest.mark.parametrize("size", [0, 1, 65_536, 6_000_001])
def test_a_program_gets_and_gives_everything(runner: ShCommandRunner, size: int) -> None:
    content = (b"line\n\0" * size)[:size]
    assert runner.run(Command(Path("/bin/cat"), stdin=Secret(content, "content"))).stdout == content
