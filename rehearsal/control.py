"""How commands talk to the lab's supervisor: one JSON line each way over a Unix socket."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bootstrap.host.errors import FirstlightError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A snapshot of several machines takes minutes on a slow disk; everything else answers within seconds.
ANSWER_SECONDS = 600.0


def listen(path: Path, handle: Callable[[str, dict[str, Any]], object]) -> None:
    """Answer requests, each in a thread of its own, until the process ends.

    Args:
        path: the socket; made with mode 0600.
        handle: gets the request's name and arguments, gives what is answered; a FirstlightError is passed on.
    """
    server = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        server.bind(str(path))
    finally:
        os.umask(mask)
    server.listen()

    def accept() -> None:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_answer, args=(connection, handle), daemon=True).start()

    threading.Thread(target=accept, name="control", daemon=True).start()


def ask(path: Path, request: str, /, *, patience: float = ANSWER_SECONDS, **arguments: object) -> Any:
    """Send one request and wait for its answer.

    Args:
        path: the supervisor's socket.
        request: its name.
        patience: seconds to wait.
        arguments: what the request takes.

    Raises:
        FirstlightError: the supervisor refused, or does not answer.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(patience)
            connection.connect(str(path))
            with connection.makefile("rw") as stream:
                stream.write(json.dumps({"request": request, "arguments": arguments}) + "\n")
                stream.flush()
                line = stream.readline()
    except OSError as error:
        raise FirstlightError(f"the lab does not answer {request!r}", cause=str(error)) from None
    if not line:
        raise FirstlightError(f"the lab ended while it was asked {request!r}")
    answer = json.loads(line)
    if "error" in answer:
        raise FirstlightError(answer["error"], cause=answer["cause"], remedy=answer["remedy"])
    return answer["answer"]


def supervisor_pid(path: Path) -> int | None:
    """The supervisor's process id as we see it from outside of its namespaces; None when nobody listens."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return None
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def _answer(connection: socket.socket, handle: Callable[[str, dict[str, Any]], object]) -> None:
    # Whoever asked may have gone before the answer.
    with suppress(OSError), connection, connection.makefile("rw") as stream:
        line = stream.readline()
        if not line:
            return
        try:
            request = json.loads(line)
            answer: dict[str, object] = {"answer": handle(request["request"], request["arguments"])}
        except FirstlightError as error:
            answer = {"error": error.fact, "cause": error.cause, "remedy": error.remedy}
        except Exception as error:  # noqa: BLE001 # whoever asked must get an answer
            answer = {
                "error": "the lab's supervisor failed",
                "cause": f"{type(error).__name__}: {error}",
                "remedy": "",
            }
        stream.write(json.dumps(answer) + "\n")
