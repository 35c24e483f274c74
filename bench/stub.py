"""An API server of custom resource definitions that costs nothing but a fixed time for each request.

A process of its own, so that it shares no interpreter with whom it serves. Whatever is applied is established.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_PLURAL: Final = "customresourcedefinitions"
_LIST: Final = f"/apis/apiextensions.k8s.io/v1/{_PLURAL}"
_DISCOVERY: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# What the server adds to an object that was applied.
_ESTABLISHED: Final = (
    b',"status":{"conditions":[{"type":"NamesAccepted","status":"True"},{"type":"Established","status":"True"}]}}'
)
_BRIEF: Final = (
    b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"%s","resourceVersion":"1"}}'
)
_LIST_HEAD: Final = (
    b'"kind":"CustomResourceDefinitionList","apiVersion":"apiextensions.k8s.io/v1","metadata":{"resourceVersion":"1"}'
)
_NAMES: Final = re.compile(rb'"group":"([^"]+)","names":({[^}]*}),"scope":"([^"]+)"')


@contextmanager
def stub(latency: float) -> Iterator[str]:
    """The stub's URL while open.

    Args:
        latency: seconds that each answer takes.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, latency), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.kill()
        process.join()


def _serve(ready: Connection, latency: float) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(latency))
    server.daemon_threads = True
    ready.send(server.server_port)
    server.serve_forever()


def _handler(latency: float) -> type[BaseHTTPRequestHandler]:
    # As they came: a stub that parses 6 MB would be slower than what it stands for.
    stored: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Without it the delayed acknowledgement of a small answer costs 40 ms.
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

        def do_GET(self) -> None:
            time.sleep(latency)
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            if url.path in {"/api", "/apis"}:
                self._answer(json.dumps(_groups(url.path, list(stored.values()))).encode(), _DISCOVERY)
            elif url.path == _LIST and query.get("watch"):
                self._hold(float(query.get("timeoutSeconds", "60")))
            elif url.path == _LIST:
                name = query.get("fieldSelector", "").removeprefix("metadata.name=")
                items = [item for key, item in list(stored.items()) if name in {"", key}]
                self._answer(b'{%s,"items":[%s]}' % (_LIST_HEAD, b",".join(items)))
            else:
                self._answer(stored.get(url.path.rpartition("/")[2]))

        def do_PATCH(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            name = urlsplit(self.path).path.rpartition("/")[2]
            time.sleep(latency)
            stored[name] = body.strip()[:-1] + _ESTABLISHED
            is_brief = "PartialObjectMetadata" in self.headers["Accept"]
            self._answer(_BRIEF % name.encode() if is_brief else stored[name])

        def _answer(self, body: bytes | None, content_type: str = "application/json") -> None:
            status = "404 Not Found" if body is None else "200 OK"
            content = body or b'{"kind":"Status","apiVersion":"v1","code":404}'
            head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}\r\n\r\n"
            self.wfile.write(head.encode() + content)

        def _hold(self, seconds: float) -> None:
            """A watch in which nothing happens."""
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
            self.close_connection = True
            time.sleep(seconds)

    return Handler


def _groups(path: str, definitions: list[bytes]) -> object:
    """Aggregated discovery of definitions and of what they define, all of it as v1."""
    groups: dict[str, list[object]] = {}
    if path == "/apis":
        own = _resource(_PLURAL, "CustomResourceDefinition", "Cluster", "apiextensions.k8s.io")
        groups["apiextensions.k8s.io"] = [own]
    for item in definitions if groups else ():
        found = _NAMES.search(item)
        if found:
            group, names, scope = found[1].decode(), json.loads(found[2]), found[3].decode()
            groups.setdefault(group, []).append(_resource(names["plural"], names["kind"], scope, group))
    items = [
        {"metadata": {"name": group}, "versions": [{"version": "v1", "resources": found, "freshness": "Current"}]}
        for group, found in groups.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _resource(plural: str, kind: str, scope: str, group: str) -> object:
    kinds = {"group": group, "version": "v1", "kind": kind}
    names = {"resource": plural, "singularResource": kind.lower()}
    return {**names, "responseKind": kinds, "scope": scope, "verbs": ["get", "list", "patch", "watch"]}
