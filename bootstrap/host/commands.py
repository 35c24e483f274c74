"""The one place that starts programs."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Final

import sh  # noqa: TID251 # this module is the one place

from bootstrap.host.command import (
    Command,
    CommandError,
    CommandRunner,
    MemoryFile,
    Result,
    child_environment,
)
from bootstrap.host.files import memory_file
from bootstrap.host.groups import KILL_SECONDS, has_ended, outlast, signal_group
from bootstrap.host.orphans import RUN_VARIABLE
from bootstrap.host.secret import Redactor, Secret
from bootstrap.host.signals import CAUGHT, handled

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

__all__ = ("Command", "CommandError", "CommandRunner", "Daemon", "MemoryFile", "Result", "ShCommandRunner")

# A child that ignores SIGTERM gets this long, in seconds, before SIGKILL: helm needs a moment to write its release.
GRACE_SECONDS: Final = 5.0
# Seconds between two looks whether a signal came: one that comes just before a wait begins does not end the wait.
LOOK_SECONDS: Final = 0.1
# Bytes of output that are read at once, as many as a pipe holds: sh reads line by line, a second for 6 MB.
OUTPUT_BYTES: Final = 65536


class Daemon:
    """A program that stays until it is ended or ends by itself."""

    def __init__(self, name: str, process: sh.RunningCommand) -> None:
        self.name = name
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id, which is its group's as well."""
        return int(self._process.pid)

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return bool(self._process.is_alive())

    def end(self) -> None:
        """Ask it to end, insist after a grace period; no error when it has ended."""
        _end_group(self._process)


class ShCommandRunner:
    """Runs programs for real, each in a process group of its own.

    Args:
        redactor: masks the child's output in errors.
        run: the id of the run that they belong to, by which the next one finds what outlived it; empty outside of runs.
    """

    def __init__(self, redactor: Redactor, *, run: str = "") -> None:
        self._redactor = redactor
        self._mark = {RUN_VARIABLE: run} if run else {}
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._ended_by: signal.Signals | None = None

    def run(self, command: Command) -> Result:
        """Run to the end; see `CommandRunner.run`."""
        if threading.current_thread() is not threading.main_thread():
            return self._run(command)
        # A signal's exception may hit the main thread anywhere, also where a child has begun and nobody knows it yet.
        outcome: Future[Result] = Future()
        worker = threading.Thread(target=self._fulfil, args=(outcome, command), daemon=True)
        try:
            worker.start()
            while not wait([outcome], LOOK_SECONDS).done:
                pass
            return outcome.result()
        except BaseException:
            if not outcome.done():
                self._end_all(outcome)
            raise

    def start(self, command: Command, *, log: Path) -> Daemon:
        """Start a program that stays, in a session of its own, its output appended to a file.

        Args:
            command: what to run; its `timeout`, `allowed` and `stdin` have no meaning here.
            log: receives standard output and error.

        Raises:
            CommandError: it cannot be started.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("ab", buffering=0) as output:
                process = sh.Command(str(command.program))(
                    *map(str, command.arguments),
                    _in=b"",
                    _out=output,
                    _err_to_out=True,
                    _env=child_environment(command.environment),
                    _cwd=str(command.folder) if command.folder else None,
                    _bg=True,
                    _bg_exc=False,
                    _new_session=True,
                    _ok_code=list(range(256)),
                )
        except (sh.CommandNotFound, OSError) as error:
            raise CommandError(f"{command.program.name} cannot be started", cause=str(error)) from None
        return Daemon(command.program.name, process)

    def stop_all(self) -> None:
        """Ask every running child's group to end; none starts any more. Called once when the run is interrupted."""
        self._signal_all(signal.SIGTERM)

    def kill_all(self) -> None:
        """End every running child's group at once; none starts any more."""
        self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: signal.Signals) -> None:
        with self._lock:
            self._ended_by = number
            groups = tuple(self._running)
        for group in groups:
            signal_group(group, number)

    def _fulfil(self, outcome: Future[Result], command: Command) -> None:
        try:
            outcome.set_result(self._run(command))
        except BaseException as error:  # noqa: BLE001 # it is raised where the result is asked for
            outcome.set_exception(error)

    def _end_all(self, outcome: Future[Result]) -> None:
        """Leave no child behind; another signal cuts the grace period short."""
        hurry: list[int] = []
        with handled(dict.fromkeys(CAUGHT, lambda number, _: hurry.append(number))):
            self.stop_all()
            deadline = time.monotonic() + GRACE_SECONDS
            while not hurry and time.monotonic() < deadline and wait([outcome], LOOK_SECONDS).not_done:
                pass
            self.kill_all()
            wait([outcome], KILL_SECONDS)

    def _run(self, command: Command) -> Result:
        with contextlib.ExitStack() as stack:
            arguments, descriptors = _open_memory_files(command, stack)
            stdin = _open_stdin(command, stack)
            return self._start_and_wait(command, arguments, descriptors, stdin)

    def _start_and_wait(
        self, command: Command, arguments: list[str], descriptors: list[int], stdin: bytes | IO[bytes]
    ) -> Result:
        began = time.monotonic()
        if self._ended_by:
            raise CommandError(f"`{command}` was not started", cause="the run is being ended")
        try:
            process = sh.Command(str(command.program))(
                *arguments,
                _in=stdin,
                _env=child_environment({**command.environment, **self._mark}),
                _cwd=str(command.folder) if command.folder else None,
                _bg=True,
                _bg_exc=False,
                _new_session=True,
                _pass_fds=set(descriptors),  # every other descriptor is closed
                _tty_out=False,
                _out_bufsize=OUTPUT_BYTES,
                _ok_code=list(range(256)),
            )
        except (sh.CommandNotFound, OSError) as error:
            raise CommandError(f"{command.program.name} cannot be started", cause=str(error)) from None
        with self._lock:
            self._running.add(process.pid)
            ended_by = self._ended_by
        try:
            if ended_by:
                # It was on its way when the others were told.
                signal_group(process.pid, ended_by)
            self._wait(process, command)
        finally:
            if self._ended_by:
                outlast(process.pid, GRACE_SECONDS)
            with self._lock:
                self._running.discard(process.pid)
        result = Result(int(process.exit_code), bytes(process.stdout), bytes(process.stderr), time.monotonic() - began)
        if result.exit_code not in command.allowed:
            raise self._error(command, result)
        return result

    def _wait(self, process: sh.RunningCommand, command: Command) -> None:
        # sh's own wait with a time limit polls and gives output that is not complete.
        limit = _Limit(process, command.timeout)
        try:
            process.wait()
        except sh.SignalException as error:
            if not limit.expired:
                raise CommandError(f"`{command}` was ended by a signal", cause=type(error).__name__) from None
        finally:
            limit.cancel()
        if limit.expired:
            outlast(process.pid, GRACE_SECONDS)
            stderr = self._redactor.redact(bytes(process.stderr).decode("utf-8", "replace"))
            raise CommandError(
                f"`{command}` gave no answer within {command.timeout:g} s",
                cause=_last_line(stderr, command.hint) or "no output", stderr=stderr, timed_out=True,
            )  # fmt: skip

    def _error(self, command: Command, result: Result) -> CommandError:
        stderr = self._redactor.redact(result.stderr.decode("utf-8", "replace"))
        stdout = self._redactor.redact(result.text)
        return CommandError(
            f"`{command}` failed with exit code {result.exit_code}",
            cause=_last_line(stderr, command.hint) or _last_line(stdout, command.hint) or "it printed nothing",
            stdout=stdout, stderr=stderr, exit_code_seen=result.exit_code,
        )  # fmt: skip


def _open_memory_files(command: Command, stack: contextlib.ExitStack) -> tuple[list[str], list[int]]:
    arguments: list[str] = []
    descriptors: list[int] = []
    for argument in command.arguments:
        if isinstance(argument, MemoryFile):
            descriptor = memory_file("secret", argument.secret.reveal())
            stack.callback(os.close, descriptor)
            descriptors.append(descriptor)
            arguments.append(f"{argument.prefix}/dev/fd/{descriptor}")
        else:
            arguments.append(argument)
    return arguments, descriptors


def _open_stdin(command: Command, stack: contextlib.ExitStack) -> bytes | IO[bytes]:
    """What sh takes for standard input: a file, because it writes bytes a kilobyte at a time."""
    if command.stdin is None:
        return b""
    content = command.stdin.reveal() if isinstance(command.stdin, Secret) else command.stdin
    return stack.enter_context(os.fdopen(memory_file("input", content), "rb"))


class _Limit:
    """Ends a child's group when its time is over: first it is asked, then it is made to."""

    def __init__(self, process: sh.RunningCommand, seconds: float) -> None:
        self.expired = False
        self._process = process
        self._timers = [
            threading.Timer(seconds, self._expire),
            threading.Timer(seconds + GRACE_SECONDS, signal_group, (process.pid, signal.SIGKILL)),
        ]
        for timer in self._timers:
            timer.daemon = True
            timer.start()

    def cancel(self) -> None:
        """The child ended."""
        for timer in self._timers:
            timer.cancel()

    def _expire(self) -> None:
        # After a stop of this process, the child may have ended long ago, and only its end was not seen yet.
        if not has_ended(self._process.pid):
            self.expired = True
            signal_group(self._process.pid, signal.SIGTERM)


def _end_group(process: sh.RunningCommand) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        signal_group(process.pid, number)
        with contextlib.suppress(sh.TimeoutException, sh.SignalException):
            process.wait(timeout=GRACE_SECONDS)
            return


def _last_line(text: str, hint: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if not hint or not line.startswith(hint)), "")
