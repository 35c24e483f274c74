"""What can go wrong between us and an API server, in the kinds that decide what to do next."""

from __future__ import annotations

import json
import ssl
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from bootstrap.engine.retry import retry_after_seconds, row_of
from bootstrap.engine.retry_table import Again
from bootstrap.host.errors import FirstlightError
from bootstrap.host.objects import dig, objects, text

if TYPE_CHECKING:
    from collections.abc import Sequence


class KubeErrorKind(StrEnum):
    """The kinds of errors."""

    UNREACHABLE = "unreachable"
    CUT_OFF = "cut off"
    FOREIGN = "foreign identity"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not found"
    CONFLICT = "conflict"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    EXPIRED = "expired"
    INVALID = "invalid"


_BY_STATUS: Final = {
    400: KubeErrorKind.INVALID, 401: KubeErrorKind.FORBIDDEN, 403: KubeErrorKind.FORBIDDEN,
    404: KubeErrorKind.NOT_FOUND, 405: KubeErrorKind.INVALID, 409: KubeErrorKind.CONFLICT,
    410: KubeErrorKind.EXPIRED, 415: KubeErrorKind.INVALID, 422: KubeErrorKind.INVALID,
    429: KubeErrorKind.THROTTLED,
}  # fmt: skip
# Server-side apply answers 500 to an object that its schema does not allow (apimachinery, managedfields).
_NOT_IN_SCHEMA: Final = "typed patch object"
# A proxy's HTML page helps nobody beyond its first words.
_LONGEST_BODY: Final = 300


class KubeError(FirstlightError):
    """A call to the Kubernetes API failed.

    Attributes:
        kind: decides what to do next.
        retry_after: seconds that the server asked us to wait; 0 when it did not ask.
        parts: the errors of single calls that were made together; empty for one call.
    """

    def __init__(
        self, kind: KubeErrorKind, fact: str, *, cause: str, remedy: str = "", retry_after: float = 0.0,
        parts: tuple[KubeError, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__(fact, cause=cause, remedy=remedy)
        self.parts = parts
        self.kind = kind
        self.error_class = f"kubernetes/{kind}"
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed later without anybody changing anything."""
        return row_of(self).again is not Again.NEVER


def from_status(status: int, body: bytes, *, what: str, retry_after: str = "") -> KubeError:
    """The error of an answer that is not 2xx.

    Args:
        status: the HTTP status code.
        body: a `Status` object, or whatever a proxy sent.
        what: the call, completes "cannot ...".
        retry_after: the header of that name; empty when it was not sent.
    """
    is_servers_fault = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = _BY_STATUS.get(status, KubeErrorKind.UNAVAILABLE if is_servers_fault else KubeErrorKind.INVALID)
    cause = _status_text(body) or f"the API server answered {status}"
    if _NOT_IN_SCHEMA in cause:
        kind = KubeErrorKind.INVALID
    unknown_user = status == HTTPStatus.UNAUTHORIZED
    remedy = "renew the kubeconfig: the API server does not know its user" if unknown_user else ""
    seconds = retry_after_seconds(retry_after)
    return KubeError(kind, f"cannot {what}", cause=cause, remedy=remedy, retry_after=seconds)


def merged(failed: Sequence[KubeError]) -> KubeError:
    """One error for several calls that were made together: of the kind that no other attempt mends, if there is one."""
    if len(failed) == 1:
        return failed[0]
    worst = min(failed, key=lambda error: error.transient)
    parts = [part for part in failed if part.kind is worst.kind]
    others = "" if len(parts) == len(failed) else f"; {len(failed) - len(parts)} calls failed otherwise"
    return KubeError(
        worst.kind,
        f"{worst.fact} and {len(failed) - 1} more",
        cause="; ".join(dict.fromkeys(part.cause for part in parts)) + others,
        remedy=worst.remedy,
        retry_after=max(error.retry_after for error in failed),
        parts=tuple(parts),
    )


def from_transport(error: Exception, *, what: str, server: str) -> KubeError:
    """The error of a call that got no answer: refused, timed out, cut off, or TLS said no."""
    for link in _chain(error):
        if isinstance(link, ssl.SSLCertVerificationError):
            return KubeError(
                KubeErrorKind.FOREIGN, f"cannot {what}",
                cause=f"{server} is not the API server of this kubeconfig: {link.verify_message}",
                remedy="compare the kubeconfig's certificate authority and the clock with the cluster's",
            )  # fmt: skip
        if isinstance(link, ssl.SSLError) and "ALERT" in str(link.reason or ""):
            return KubeError(
                KubeErrorKind.FOREIGN, f"cannot {what}",
                cause=f"{server} refuses the kubeconfig's certificate: {link.reason}",
                remedy="renew the kubeconfig",
            )  # fmt: skip
    from httpx2 import ReadError, RemoteProtocolError, WriteError  # 0.2 s that `--list` must not pay

    # It was up and took the connection, which then ended: GOAWAY, a reset, an answer that breaks off.
    is_cut_off = isinstance(error, ReadError | RemoteProtocolError | WriteError)
    kind = KubeErrorKind.CUT_OFF if is_cut_off else KubeErrorKind.UNREACHABLE
    text = str(error) or type(error).__name__
    return KubeError(kind, f"cannot {what}", cause=f"{server}: {text}")


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in found:
        found.append(link)
        link = link.__cause__ or link.__context__
    return found


def _status_text(body: bytes) -> str:
    try:
        document = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace").strip()[:_LONGEST_BODY]
    if dig(document, "kind") != "Status":
        return ""
    causes = [
        f"{text(cause, 'field')}: {text(cause, 'message')}".strip(": ")
        for cause in objects(document, "details", "causes")
    ]
    message = text(document, "message")
    return "; ".join([message, *(cause for cause in causes if cause not in message)])
