"""A webhook of a test: an HTTPS server that does what it is told at each call, and the objects that name it."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from kube.webhooks import CONFIGURATION
from tests.api import pki

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bootstrap.host.objects import Object


class Mood(StrEnum):
    """How the webhook takes a call."""

    FINE = "it judges"
    FOREIGN = "its certificate is of another CA"
    BROKEN = "it answers 500"
    SLOW = "it does not answer"


@dataclass
class Webhook:
    """A webhook that listens on loopback.

    Attributes:
        port: where.
        authority: whom the API server must trust.
        judge: what is wrong with an object; empty accepts it.
        mood: of all calls from here on.
        calls: by name and mood of each.
    """

    port: int
    authority: bytes
    judge: Callable[[Any], str]
    mood: Mood = Mood.FINE
    calls: list[Mood] = field(default_factory=list)
    _released: threading.Event = field(default_factory=threading.Event)

    @property
    def bundle(self) -> str:
        """The authority as a registration holds it."""
        return base64.b64encode(self.authority).decode()

    def configuration(self, name: str, group: str, resource: str, client: Object | None = None) -> Object:
        """The registration, by URL; `client` stands in place of that."""
        by_url: Object = {
            "url": f"https://127.0.0.1:{self.port}/validate",
            "caBundle": self.bundle,
        }
        return {
            "apiVersion": CONFIGURATION[0],
            "kind": CONFIGURATION[1],
            "metadata": {"name": name},
            "webhooks": [
                {
                    "name": f"{name}.test.firstlight",
                    "rules": [
                        {
                            "apiGroups": [group],
                            "apiVersions": ["*"],
                            "operations": ["CREATE"],
                            "resources": [resource],
                        }
                    ],
                    "clientConfig": client or by_url,
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    # The least that the API server takes.
                    "timeoutSeconds": 1,
                    "failurePolicy": "Fail",
                }
            ],
        }


@contextmanager
def listening(folder: Path, judge: Callable[[Any], str]) -> Iterator[Webhook]:
    """A webhook while open."""
    ours, foreign = pki.issue("webhook-ca"), pki.issue("another-ca")
    contexts = {mood: _context(folder, mood.name, ours) for mood in Mood}
    contexts[Mood.FOREIGN] = _context(folder, "foreign", foreign)

    server = _Server(("127.0.0.1", 0), BaseHTTPRequestHandler)
    hook = Webhook(server.server_port, ours.certificate_pem, judge)
    server.hook, server.contexts = hook, contexts
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hook
    finally:
        hook._released.set()
        server.shutdown()
        server.server_close()


def _context(folder: Path, name: str, authority: pki.Pair) -> ssl.SSLContext:
    pki.issue("webhook", authority=authority, addresses=("127.0.0.1",)).write(folder, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


class _Server(ThreadingHTTPServer):
    """Greets each connection with the certificate of the present mood."""

    daemon_threads = True
    hook: Webhook
    contexts: dict[Mood, ssl.SSLContext]

    def finish_request(self, request: Any, client_address: Any) -> None:
        mood = self.hook.mood
        self.hook.calls.append(mood)
        try:
            greeted = self.contexts[mood].wrap_socket(request, server_side=True)
        except OSError:
            # The API server does not trust it and ends the handshake.
            return
        with greeted:
            _Handler(greeted, client_address, self, mood)


class _Handler(BaseHTTPRequestHandler):
    # One call for each connection, so that the next one is greeted anew.
    protocol_version = "HTTP/1.0"

    def __init__(self, request: Any, client_address: Any, server: _Server, mood: Mood) -> None:
        self._hook, self._mood = server.hook, mood
        super().__init__(request, client_address, server)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def do_POST(self) -> None:  # a name that the base class looks for
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._mood is Mood.SLOW:
            self._hook._released.wait()
            return
        if self._mood is Mood.BROKEN:
            self.send_error(500)
            return
        wrong = self._hook.judge(review["request"]["object"])
        response = {"uid": review["request"]["uid"], "allowed": not wrong, "status": {"message": wrong}}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())
