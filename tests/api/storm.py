"""A proxy before an API server that spoils a part of the requests, each in one of the ways that servers have.

It speaks HTTP/1.1, as our client does, so the GOAWAY of HTTP/2 is here a connection that ends without an answer.
"""

from __future__ import annotations

import http.client
import itertools
import socket
import ssl
import struct
import threading
from collections import Counter
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.api.server import ApiServer

# Bytes of an answer passed on at once.
_PIECE = 65536
# Seconds; no request of ours takes longer, a watch included.
_PATIENCE = 60.0


class Fault(StrEnum):
    """What happens to a request."""

    THROTTLED = "429, with a second to wait"
    BROKEN = "500"
    BUSY = "503"
    ENDED = "no answer"
    RESET = "a reset"
    LOST = "no answer after the effect"
    CUT = "half an answer"


_STATUS = {Fault.THROTTLED: 429, Fault.BROKEN: 500, Fault.BUSY: 503}


class Storm:
    """What the proxy does and has done.

    Args:
        rate: the part of requests that is spoiled.
        seed: of the choice of requests, and of the order of faults.
    """

    def __init__(self, rate: float, seed: int) -> None:
        self.rate = rate
        self.fired: Counter[Fault] = Counter()
        self._random = Random(seed)  # noqa: S311 # a choice of tests
        # In turn, so that few requests see them all.
        self._faults = itertools.cycle(self._random.sample(list(Fault), k=len(Fault)))
        self._lock = threading.Lock()

    def next(self) -> Fault | None:
        """The fault of the next request; None lets it through."""
        with self._lock:
            if self._random.random() >= self.rate:
                return None
            fault = next(self._faults)
            self.fired[fault] += 1
            return fault


@contextmanager
def proxy(server: ApiServer, folder: Path, storm: Storm) -> Iterator[str]:
    """The proxy's URL while open; it comes to the API server with the identity of the server's kubeconfig."""
    context = ssl.create_default_context(cadata=server.authority.certificate_pem.decode())
    server.client.write(folder, "storm")
    context.load_cert_chain(folder / "storm.crt", folder / "storm.key")
    address = urlsplit(server.server).netloc

    class Handler(_Handler):
        def connect(self) -> http.client.HTTPSConnection:
            return http.client.HTTPSConnection(address, context=context, timeout=_PATIENCE)

        def fault(self) -> Fault | None:
            return storm.next()

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        listening.server_close()


class _Handler(BaseHTTPRequestHandler):
    # The end of the connection is the end of an answer, so that a watch can be passed on as it comes.
    protocol_version = "HTTP/1.0"

    def connect(self) -> http.client.HTTPSConnection:
        raise NotImplementedError

    def fault(self) -> Fault | None:
        raise NotImplementedError

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.fault()
        if fault in _STATUS:
            self.send_response(_STATUS[fault])
            if fault is Fault.THROTTLED:
                self.send_header("Retry-After", "1")
            self.end_headers()
            return
        if fault is Fault.RESET:
            # Closed at once, with what is left unsent thrown away: the other side gets RST.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if fault in {Fault.RESET, Fault.ENDED}:
            self.connection.shutdown(socket.SHUT_RDWR) if fault is Fault.ENDED else self.connection.close()
            return
        self._pass_on(body, fault)

    def _pass_on(self, body: bytes, fault: Fault | None) -> None:
        upstream = self.connect()
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() in _PASSED}
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            if fault is Fault.LOST:
                answer.read()
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            length = answer.headers.get("Content-Length")
            if length:
                self.send_header("Content-Length", length)
            self.end_headers()
            while piece := answer.read1(_PIECE):
                if fault is Fault.CUT:
                    self.wfile.write(piece[: len(piece) // 2])
                    return
                self.wfile.write(piece)
        except OSError:
            # The client went away, as it does at the end of a watch.
            return
        finally:
            upstream.close()

    do_GET = do_PATCH = do_POST = do_PUT = _serve  # noqa: N815 # names that the base class looks for


_PASSED = {"accept", "content-type", "user-agent"}
