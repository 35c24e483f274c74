"""Requests to one API server: sent, sent again while that is worth it, and what failed understood."""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Final

from bootstrap.engine.retry import REQUEST, Retry
from bootstrap.host.clock import SystemClock
from bootstrap.host.objects import Object, mapping
from kube import errors
from kube.connection import CONNECT_SECONDS
from kube.errors import KubeError, KubeErrorKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from httpx2 import Client, Response

# What the API server's audit log calls us.
USER_AGENT: Final = "firstlight"
# A server that does not even end a watch in time is gone; seconds.
GRACE_SECONDS: Final = 2.0
_APPLY: Final = "application/apply-patch+yaml"
_JSON: Final = "application/json"


class Transport:
    """A connection pool to one API server.

    In all calls `what` completes "cannot ...", and `path` begins behind the server's URL.

    Args:
        client: with the identity of a kubeconfig.
        retry: repeats requests; None takes patience with requests on the machine's own clock.
    """

    def __init__(self, client: Client, retry: Retry | None = None) -> None:
        self._client = client
        self._retry = retry or Retry(REQUEST, clock=SystemClock(), random=Random())  # noqa: S311 # jitter is no secret
        self._server = str(client.base_url).rstrip("/")

    def close(self) -> None:
        """Close the connections."""
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
        try:
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
            with self._client.stream("GET", path, params=query, headers=headers, timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    raise _status_error(response, what)
                for line in response.iter_lines():
                    yield mapping(json.loads(line))
        except (ReadTimeout, ReadError, RemoteProtocolError):
            return
        except HTTPError as error:
            raise errors.from_transport(error, what=what, server=self._server) from None


def _status_error(response: Response, what: str) -> KubeError:
    retry_after = response.headers.get("Retry-After", "")
    return errors.from_status(response.status_code, response.content, what=what, retry_after=retry_after)
