"""QEMU's control protocol (QMP): commands, and the events that tell how a machine is."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from bootstrap.host.errors import FirstlightError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

# One socket takes one conversation at a time, so whoever listens for events has one of its own.
COMMANDS_SOCKET, EVENTS_SOCKET = "qmp.sock", "events.sock"
# savevm writes about 1.5 GiB; five minutes are a slow disk.
SNAPSHOT_SECONDS: Final = 300.0
# QEMU answers QMP at once unless the machine swaps.
QMP_SECONDS: Final = 30.0
# Bytes: with as much room again a machine that a full disk stopped goes on for minutes, not for one write.
ROOM: Final = 1 << 30
# Room is made by a person; every two seconds is soon enough and costs nothing.
ROOM_SECONDS: Final = 2.0


class Monitor:
    """One conversation with QEMU over QMP.

    Args:
        path: the machine's QMP socket.
    """

    _lock = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._path = path

    def execute(self, command: str, **arguments: object) -> Any:
        """Run one QMP command and give what it returns.

        Raises:
            FirstlightError: QEMU does not answer or refuses.
        """
        request = {
            "execute": command,
            **({"arguments": {_dashed(k): v for k, v in arguments.items()}} if arguments else {}),
        }
        try:
            with self._lock, socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(SNAPSHOT_SECONDS if command == "human-monitor-command" else QMP_SECONDS)
                connection.connect(str(self._path))
                with connection.makefile("rw") as stream:
                    _greet(stream)
                    return _ask(stream, request)
        except OSError as error:
            raise FirstlightError(f"the machine does not answer {command}", cause=str(error)) from None

    def human(self, line: str) -> str:
        """Run a command of QEMU's human monitor, where QMP has none as simple.

        Raises:
            FirstlightError: QEMU reports an error.
        """
        answer = str(self.execute("human-monitor-command", command_line=line))
        if answer.lower().startswith("error"):
            raise FirstlightError(f"`{line}` failed", cause=answer.strip())
        return answer


class State(StrEnum):
    """How a machine is, as its QEMU tells."""

    RUNNING = "running"
    PAUSED = "paused"
    DISK_FULL = "stopped by a full disk"
    OFF = "off"
    ENDED = "ended"


class Watch:
    """Follows the events of one QEMU; a machine that a full disk stopped goes on when there is room again.

    Args:
        path: a QMP socket that nobody else uses.
        resume: lets the machine's processors go on.
        report: told when the disk is full and when there is room again.
    """

    def __init__(self, path: Path, resume: Callable[[], None], report: Callable[[str], None]) -> None:
        self._path = path
        self._resume = resume
        self._report = report
        self._state = State.RUNNING

    @property
    def state(self) -> State:
        """What the last event made of it; `ENDED` when QEMU closed the conversation."""
        return self._state

    def start(self, lives: Callable[[], bool]) -> None:
        """Follow until QEMU ends.

        Args:
            lives: whether QEMU runs; it opens its sockets a moment after it was started.
        """
        threading.Thread(target=self._follow, args=(lives,), name="events", daemon=True).start()

    def _follow(self, lives: Callable[[], bool]) -> None:
        while lives() and self._state is not State.ENDED:
            try:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(self._path))
                    self._listen(connection)
            except (OSError, FirstlightError):
                time.sleep(0.1)  # a local socket: trying ten times a second costs nothing
        self._state = State.ENDED

    def _listen(self, connection: socket.socket) -> None:
        with connection.makefile("rw") as stream:
            _greet(stream)
            for line in stream:
                self._note(json.loads(line))
        self._state = State.ENDED

    def _note(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"event": "BLOCK_IO_ERROR", "data": {"action": "stop"}} if self._state is not State.DISK_FULL:
                self._state = State.DISK_FULL
                self._report(f"the disk is full: the machine is stopped until {self._path.parent} has room")
                threading.Thread(target=self._await_room, name="room", daemon=True).start()
            case {"event": "STOP"} if self._state is not State.DISK_FULL:
                self._state = State.PAUSED
            case {"event": "RESUME"}:
                self._state = State.RUNNING

    def _await_room(self) -> None:
        while shutil.disk_usage(self._path.parent).free < ROOM:
            time.sleep(ROOM_SECONDS)
        if self._state is State.DISK_FULL:
            self._report("the disk has room again: the machine goes on")
            with suppress(FirstlightError):  # QEMU may have ended meanwhile
                self._resume()


def _greet(stream: Any) -> None:
    stream.readline()  # QEMU speaks first
    _ask(stream, {"execute": "qmp_capabilities"})


def _ask(stream: Any, request: Mapping[str, object]) -> object:
    stream.write(json.dumps(request) + "\n")
    stream.flush()
    for line in stream:
        answer = json.loads(line)
        if "return" in answer:
            returned: object = answer["return"]
            return returned
        if "error" in answer:
            raise FirstlightError(f"the machine refused {request['execute']}", cause=answer["error"].get("desc", ""))
    raise FirstlightError("the machine ended the conversation")


def _dashed(name: str) -> str:
    return name.replace("_", "-")
