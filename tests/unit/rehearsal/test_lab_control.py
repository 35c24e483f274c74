"""The control socket: answers, errors, and who listens."""

from __future__ import annotations

import os
import socket
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.host.errors import FirstlightError
from rehearsal.control import ask, listen, supervisor_pid

if TYPE_CHECKING:
    from pathlib import Path


def handle(request: str, arguments: dict[str, Any]) -> object:
    match request:
        case "echo":
            return arguments
        case "refuse":
            raise FirstlightError("it is refused", cause="on purpose", remedy="do not ask")
    msg = "nobody expected this"
    raise ValueError(msg)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    listen(tmp_path / "s", handle)
    return tmp_path / "s"


def test_a_request_is_answered(path: Path) -> None:
    assert ask(path, "echo", name="x", number=1.5) == {"name": "x", "number": 1.5}
    assert ask(path, "echo") == {}


def test_an_error_arrives_as_it_was(path: Path) -> None:
    with pytest.raises(FirstlightError) as seen:
        ask(path, "refuse")
    assert (seen.value.fact, seen.value.cause, seen.value.remedy) == ("it is refused", "on purpose", "do not ask")


def test_an_unexpected_error_is_an_answer_too(path: Path) -> None:
    with pytest.raises(FirstlightError, match="supervisor failed: ValueError: nobody expected this"):
        ask(path, "other")


@pytest.mark.parametrize("line", [b"no json\n", b"{}\n", b"[]\n"])
def test_nonsense_is_answered_with_an_error(path: Path, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(line)
        assert b"the lab's supervisor failed" in connection.makefile("rb").readline()


def test_who_hangs_up_does_not_disturb_others(path: Path) -> None:
    for words in (b"", b'{"request": "echo", "arguments": {}}\n'):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(words)
    assert ask(path, "echo", still="there") == {"still": "there"}


def test_only_its_owner_may_ask(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_listeners_pid_is_known(path: Path) -> None:
    assert supervisor_pid(path) == os.getpid()


def test_nobody_listens(tmp_path: Path) -> None:
    left = tmp_path / "left"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(left))
    for path in (left, tmp_path / "none"):
        assert supervisor_pid(path) is None
        with pytest.raises(FirstlightError, match="the lab does not answer 'status'"):
            ask(path, "status")


def test_a_supervisor_that_ends_while_it_is_asked(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()

        def hang_up() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1000)

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(FirstlightError, match="the lab ended while it was asked 'stop'"):
            ask(tmp_path / "s", "stop")
        thread.join()
