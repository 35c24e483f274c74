"""The lab's web: Git over HTTPS, HTTP chart repositories and 1Password Connect."""

from __future__ import annotations

import gzip
import json
import ssl
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from bootstrap.host.commands import Command
from bootstrap.host.errors import FirstlightError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bootstrap.host.commands import CommandRunner
    from rehearsal.vault import Vault


@dataclass(frozen=True)
class Request:
    """What a handler gets: method, host without port, path, query and body."""

    method: str
    host: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Response:
    """What a handler gives."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


NOT_FOUND = Response(404, (("Content-Type", "text/plain"),), b"not found\n")


def serve(
    address: str, port: int, handle: Callable[[Request], Response], *, tls: tuple[Path, Path] | None = None
) -> None:
    """Answer requests in threads of their own until the process ends.

    Args:
        address: an address of the lab, without prefix.
        port: TCP port.
        handle: turns a request into a response.
        tls: certificate and key files; None serves plain HTTP.
    """
    server = _Server((address, port), _bridge(handle))
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        # The handshake belongs to the connection's own thread: a silent client must not hold up the others.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, name=f"web-{address}", daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 # socketserver's signature
        """One line in the log: clients hang up in the middle, or do not trust the lab's CA."""
        sys.stderr.write(f"web: {client_address}: {sys.exception()!r}\n")


def serve_files(folders: Mapping[str, Path]) -> Callable[[Request], Response]:
    """A handler that gives the files of a folder for each host."""

    def handle(request: Request) -> Response:
        folder = folders.get(request.host)
        if folder is None:
            return NOT_FOUND
        path = (folder / unquote(request.path).lstrip("/")).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            return NOT_FOUND
        kind = "text/yaml" if path.suffix == ".yaml" else "application/octet-stream"
        return Response(200, (("Content-Type", kind),), path.read_bytes())

    return handle


def serve_git(folder: Path, git: Path, runner: CommandRunner) -> Callable[[Request], Response]:
    """A handler that serves the bare repositories of a folder by `git http-backend`, the smart protocol only."""

    def handle(request: Request) -> Response:
        body = gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body
        environment = {
            "GIT_PROJECT_ROOT": str(folder), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": request.path,
            "QUERY_STRING": request.query, "REQUEST_METHOD": request.method, "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        }  # fmt: skip
        # The repository is small; a minute means that the machine is stuck.
        command = Command(git, ("-c", "safe.directory=*", "http-backend"), environment, stdin=body, timeout=60)
        return _cgi(runner.run(command).stdout)

    return handle


def serve_connect(vault: Vault, token: Callable[[], str]) -> Callable[[Request], Response]:
    """A handler that answers as 1Password Connect does: vaults, items by title, one item, heartbeat, storing.

    Args:
        vault: the one vault.
        token: the bearer token that is asked for.
    """

    def handle(request: Request) -> Response:
        if request.path in {"/heartbeat", "/health"}:
            return _json(200, {"name": "1Password Connect API", "version": "1.8.1"})
        if request.headers.get("authorization") != f"Bearer {token()}":
            return _json(401, {"status": 401, "message": "Invalid token signature"})
        return _answer_connect(vault, request) if request.method in {"GET", "HEAD"} else _store(vault, request)

    return handle


def by_host(handlers: Mapping[str, Callable[[Request], Response]]) -> Callable[[Request], Response]:
    """A handler that chooses by the host's name."""

    def handle(request: Request) -> Response:
        handler = handlers.get(request.host)
        return handler(request) if handler else NOT_FOUND

    return handle


def _answer_connect(vault: Vault, request: Request) -> Response:
    wanted = parse_qs(request.query).get("filter", [""])[0].partition(" eq ")[2].strip('"')
    match request.path.strip("/").split("/"):
        case ["v1", "vaults"]:
            return _json(200, [vault.describe()] if wanted in {"", vault.name} else [])
        case ["v1", "vaults", identity] if identity == vault.identity:
            return _json(200, vault.describe())
        case ["v1", "vaults", identity, "items"] if identity == vault.identity:
            return _json(200, vault.overviews(wanted))
        case ["v1", "vaults", identity, "items", item] if identity == vault.identity:
            found = vault.item(item)
            return _json(200, found) if found else _json(404, {"status": 404, "message": "Item not found"})
    return _json(404, {"status": 404, "message": "not found"})


def _store(vault: Vault, request: Request) -> Response:
    """A further item, or one field of an item by a JSON patch: what the tool's own provider sends."""
    found = None
    content = json.loads(request.body)
    match request.method, request.path.strip("/").split("/"):
        case "POST", ["v1", "vaults", identity, "items"] if identity == vault.identity:
            found = vault.create(content["title"], {each["label"]: each["value"] for each in content["fields"]})
        case "PATCH", ["v1", "vaults", identity, "items", item] if identity == vault.identity:
            (patch,) = content
            if patch["op"] == "add" and patch["path"] == "/fields":
                found = vault.change(item, patch["value"]["label"], patch["value"]["value"])
            elif patch["op"] == "replace":
                found = vault.change(item, patch["path"].split("/")[2], patch["value"])
    return _json(200, found) if found else _json(400, {"status": 400, "message": "not understood"})


def _json(status: int, value: object) -> Response:
    return Response(status, (("Content-Type", "application/json"),), json.dumps(value).encode())


def _cgi(output: bytes) -> Response:
    head, _, body = output.partition(b"\r\n\r\n")
    pairs = [line.partition(":") for line in head.decode("latin-1").split("\r\n") if line]
    headers = [(name, value.strip()) for name, _, value in pairs]
    status = next((int(value.split()[0]) for name, value in headers if name.lower() == "status"), 200)
    return Response(status, tuple((name, value) for name, value in headers if name.lower() != "status"), body)


def _bridge(handle: Callable[[Request], Response]) -> type[BaseHTTPRequestHandler]:
    class Bridge(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # One write per answer, sent at once: header and body apart would wait for the peer's delayed ACK.
        wbufsize = -1
        disable_nagle_algorithm = True
        # A machine that was reset leaves half-open connections behind.
        timeout = 120

        def answer(self) -> None:
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            host = headers.get("host", "").partition(":")[0]
            request = Request(self.command, host, url.path, url.query, headers, self.read_body(headers))
            try:
                response = handle(request)
            except FirstlightError as error:
                response = Response(500, (("Content-Type", "text/plain"),), f"{error}\n".encode())
            self.send_response(response.status)
            for name, value in response.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.body)

        def read_body(self, headers: Mapping[str, str]) -> bytes:
            if "chunked" not in headers.get("transfer-encoding", ""):
                return self.rfile.read(int(headers.get("content-length") or 0))
            body = b""
            while size := int(self.rfile.readline().strip(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_HEAD = do_PATCH = do_POST = answer  # noqa: N815 # the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Requests are not logged: their headers carry tokens."""

    return Bridge
