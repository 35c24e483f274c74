"""Requests to one API server: sent, sent again while that is worth it, and what failed understood."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from random import Random
from typing import TYPE_CHECKING, Final

from bootstrap.engine.retry import REQUEST, Retry
from bootstrap.host.clock import SystemClock
from bootstrap.host.objects import Object, mapping
from kube import errors
from kube.connection import CONNECT_SECONDS
from kube.errors import KubeError, KubeErrorKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from httpx2 import Client, Response

# What the API server's audit log calls us.
USER_AGENT: Final = "firstlight"
# A server that does not even end a watch in time is gone; seconds.
GRACE_SECONDS: Final = 2.0
_APPLY: Final = "application/apply-patch+yaml"
_JSON: Final = "application/json"


class Transport:
    """A connection pool to one API server, for several threads.

    In all calls `what` completes "cannot ...", and `path` begins behind the server's URL.

    Args:
        client: with the identity of a kubeconfig.
        retry: repeats requests; None takes patience with requests on the machine's own clock.
        permit: asked before each request that makes or changes something; what it raises is raised in its place.
    """

    def __init__(self, client: Client, retry: Retry | None = None, permit: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._permit = permit
        self._retry = retry or Retry(REQUEST, clock=SystemClock(), random=Random())  # noqa: S311 # jitter is no secret
        self._server = str(client.base_url).rstrip("/")
        self._lock = threading.RLock()  # a watch that nobody follows any more may be collected under it
        self._users = 0
        self._streams: set[Response] = set()
        self._closing = threading.Event()

    def close(self) -> None:
        """End the watches; whoever is last to use a connection closes them all, and nothing is sent any more.

        The number of a socket that is closed while a thread still reads from it may be another file's by the time
        that OpenSSL reads again, or writes its last word.
        """
        with self._lock:
            self._closing.set()
            is_last = not self._users
            for response in tuple(self._streams):
                _hang_up(response)
        if is_last:
            self._client.close()

    def json(
        self, method: str, path: str, parameters: Mapping[str, str] | None = None, *, what: str,
        body: Object | None = None, body_type: str = _APPLY, accept: str = _JSON,
    ) -> Object:  # fmt: skip
        """As `ask`, and again while the server is there and may answer in a moment; the answer as an object.

        Raises:
            KubeError: see `ask`; also for an answer that is not JSON.
        """
        content = self._retry(
            lambda: self.ask(method, path, parameters or {}, what=what, body=body, body_type=body_type, accept=accept),
            # The same server-side apply twice is one, and so is a delete; a create or a replace would meet its own
            # first work.
            once=method not in {"GET", "PATCH", "DELETE"},
        )
        try:
            document = json.loads(content)
        except ValueError:
            cause = f"{self._server} did not answer with JSON"
            raise KubeError(KubeErrorKind.UNAVAILABLE, f"cannot {what}", cause=cause) from None
        return mapping(document)

    def ask(
        self, method: str, path: str, parameters: Mapping[str, str], *, what: str,
        body: Object | None = None, body_type: str = _APPLY, accept: str = _JSON,
    ) -> bytes:  # fmt: skip
        """Send one request, once.

        Raises:
            KubeError: no answer, or one that is not 2xx.
        """
        from httpx2 import HTTPError

        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        typed = {} if content is None else {"Content-Type": body_type}
        headers = {"Accept": accept, "User-Agent": USER_AGENT, **typed}
        # What is deleted are our own trials alone, and those must not stay behind.
        if method not in {"GET", "DELETE"}:
            self._permit()
        try:
            with self._using(what):
                response = self._client.request(method, path, params=dict(parameters), content=content, headers=headers)
        except HTTPError as error:
            raise errors.from_transport(error, what=what, server=self._server) from None
        if response.is_error:
            raise _status_error(response, what)
        return response.content

    def watch(self, path: str, parameters: Mapping[str, str], *, seconds: int, what: str) -> Iterator[Object]:
        """The events of one watch request, which the server ends after so many seconds, bookmarks among them.

        Raises:
            KubeError: it cannot be opened; one that is cut off only ends.
        """
        from httpx2 import HTTPError, ReadError, ReadTimeout, RemoteProtocolError, Timeout

        query = {**parameters, "watch": "true", "timeoutSeconds": str(seconds), "allowWatchBookmarks": "true"}
        timeout = Timeout(seconds + GRACE_SECONDS, connect=CONNECT_SECONDS)
        headers = {"User-Agent": USER_AGENT}
        try:
            with (
                self._using(what),
                self._client.stream("GET", path, params=query, headers=headers, timeout=timeout) as response,
            ):
                if response.is_error:
                    response.read()
                    raise _status_error(response, what)
                with self._streaming(response):
                    for line in response.iter_lines():
                        yield mapping(json.loads(line))
        except (ReadTimeout, ReadError, RemoteProtocolError):
            return
        except HTTPError as error:
            raise errors.from_transport(error, what=what, server=self._server) from None

    @contextlib.contextmanager
    def _using(self, what: str) -> Iterator[None]:
        with self._lock:
            if self._closing.is_set():
                raise KubeError(KubeErrorKind.UNAVAILABLE, f"cannot {what}", cause="the connection was closed by us")
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                is_last = self._closing.is_set() and not self._users
            if is_last:
                self._client.close()

    @contextlib.contextmanager
    def _streaming(self, response: Response) -> Iterator[None]:
        with self._lock:
            self._streams.add(response)
            if self._closing.is_set():
                _hang_up(response)
        try:
            yield
        finally:
            with self._lock:
                self._streams.discard(response)


def _hang_up(response: Response) -> None:
    """Have whoever reads an answer come to its end; the connection is still the reader's to close."""
    stream = response.extensions.get("network_stream")
    connected = stream.get_extra_info("socket") if stream else None
    if isinstance(connected, socket.socket):
        with contextlib.suppress(OSError):  # it has ended already
            socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _status_error(response: Response, what: str) -> KubeError:
    retry_after = response.headers.get("Retry-After", "")
    return errors.from_status(response.status_code, response.content, what=what, retry_after=retry_after)
