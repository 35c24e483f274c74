"""What talosctl's error texts mean: one table, held against every text that a real node was seen to give."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bootstrap.host.errors import FirstlightError

if TYPE_CHECKING:
    from bootstrap.host.commands import CommandError


class Kind(StrEnum):
    """The kinds of failure that decide what to do next."""

    MAINTENANCE = "maintenance"
    FOREIGN = "foreign"
    UNKNOWN_AUTHORITY = "unknown_authority"
    NEEDS_CLIENT_CERTIFICATE = "needs_client_certificate"
    CERTIFICATE_DATES = "certificate_dates"
    WRONG_NAME = "wrong_name"
    REFUSED = "refused"
    CUT_OFF = "cut_off"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed_out"
    NOT_IN_SYNC = "not_in_sync"
    TIME_SERVER = "time_server"
    ALREADY_EXISTS = "already_exists"
    NOT_AVAILABLE_YET = "not_available_yet"
    BUSY = "busy"
    ETCD_NOT_STARTED = "etcd_not_started"
    QUORUM = "quorum"
    WRONG_ROLE = "wrong_role"
    NOT_AUTHORIZED = "not_authorized"
    INVALID_CONFIG = "invalid_config"
    IMAGE = "image"
    NOT_SUPPORTED = "not_supported"
    NOT_REGISTERED = "not_registered"
    NOT_FOUND = "not_found"
    UNHEALTHY = "unhealthy"
    UNIMPLEMENTED = "unimplemented"
    USAGE = "usage"
    UNKNOWN = "unknown"


# Order matters: the first that matches decides, so what is more special stands higher.
_TABLE: Final[tuple[tuple[Kind, str], ...]] = (
    (Kind.USAGE, r"^(?:unknown (?:shorthand )?flag|unknown command|please provide)"),
    (Kind.USAGE, r"nodes are not set for the command|is not supported with multiple nodes"),
    (Kind.USAGE, r"failed to determine endpoints"),
    (Kind.UNHEALTHY, r"^healthcheck error:"),
    (Kind.MAINTENANCE, r"API is not implemented in maintenance mode|is not supported in maintenance mode"),
    # A server that wants a certificate may close the connection while the client still writes.
    (Kind.NEEDS_CLIENT_CERTIFICATE, r"tls: certificate required|write tcp [^\n]*: write: broken pipe"),
    # The rejected certificate is ours: the node has other secrets.
    (Kind.FOREIGN, r"remote error: tls: (?:unknown certificate|bad certificate)"),
    # Every Talos CA is called `talos`, so a signature that does not fit means another cluster's Talos.
    (Kind.FOREIGN, r"signed by unknown authority \(possibly because of [^\n]*Ed25519 verification"),
    # Maintenance mode has a CA of its own making with another name, as has every server that is not Talos.
    (Kind.UNKNOWN_AUTHORITY, r"certificate signed by unknown authority"),
    # Ours is the one that expired where the node says so.
    (Kind.CERTIFICATE_DATES, r"certificate has expired or is not yet valid|remote error: tls: expired certificate"),
    (Kind.WRONG_NAME, r"x509: (?:certificate is valid for|cannot validate certificate for)"),
    (Kind.NOT_IN_SYNC, r"time is not in sync yet"),
    (Kind.TIME_SERVER, r"error querying NTP server"),
    (Kind.REFUSED, r"dial tcp [^\n]*connect: connection refused"),
    (Kind.CUT_OFF, r"connection reset by peer|error reading from server: EOF|transport is closing"),
    (Kind.UNREACHABLE, r"dial tcp [^\n]*(?:no route to host|is unreachable|i/o timeout|host is down)"),
    (Kind.ALREADY_EXISTS, r"code = AlreadyExists"),
    (Kind.NOT_AVAILABLE_YET, r"bootstrap is not available yet"),
    (Kind.BUSY, r"(?i)another apply\b[^\n]* in progress"),
    (Kind.ETCD_NOT_STARTED, r"open /system/secrets/etcd/[^\n]*no such file or directory"),
    (Kind.QUORUM, r"not enough started members|cannot forfeit leadership"),
    (Kind.WRONG_ROLE, r"(?:performed|available) on (?:a )?control plane node"),
    (Kind.NOT_AUTHORIZED, r"code = PermissionDenied"),
    (Kind.IMAGE, r"failed to pull image|error validating installer image"),
    (Kind.INVALID_CONFIG, r"configuration validation failed|failed to parse config|unknown keys found"),
    (Kind.INVALID_CONFIG, r"missing kind|no configuration data read|decode error"),
    (Kind.INVALID_CONFIG, r"instructions are required|is only allowed on|is not allowed on"),
    (Kind.NOT_SUPPORTED, r"doesn't support \w+ operation via API|cannot rollback"),
    (Kind.NOT_REGISTERED, r"is not registered|was not registered"),
    (Kind.NOT_FOUND, r"no such file or directory|code = NotFound"),
    (Kind.UNIMPLEMENTED, r"code = Unimplemented"),
    (Kind.TIMED_OUT, r"code = (?:DeadlineExceeded|Canceled)|Signal received, aborting"),
    (Kind.TIMED_OUT, r"context deadline exceeded"),
)
TABLE: Final = tuple((kind, re.compile(pattern, re.MULTILINE)) for kind, pattern in _TABLE)

# Lines that only count what follows.
_COUNT: Final = re.compile(r"\b\d+ errors? occurred:$")
# What gRPC and its transport put before the reason.
_WRAPPING: Final = re.compile(
    r"^.*?rpc error: code = \w+ desc = (?:connection error: desc = \"(?:transport: )?)?"
    r"(?:Error while dialing: |authentication handshake failed: |error reading server preface: )?"
)

_MEANING: Final = {
    Kind.MAINTENANCE: "the node is in maintenance mode",
    Kind.FOREIGN: "the node belongs to another cluster, or to this one with other secrets",
    Kind.UNKNOWN_AUTHORITY: "the node is in maintenance mode, or is no Talos node",
    Kind.NEEDS_CLIENT_CERTIFICATE: "the node is configured: it wants a client certificate",
    Kind.CERTIFICATE_DATES: "a certificate is outside its dates: the clock here or there is wrong, or it expired",
    Kind.WRONG_NAME: "the node's certificate does not hold this address",
    Kind.REFUSED: "the Talos API is not open",
    Kind.CUT_OFF: "the connection was closed under the call",
    Kind.UNREACHABLE: "nothing answers at the address",
    Kind.TIMED_OUT: "the node did not answer in time",
    Kind.NOT_IN_SYNC: "the node's clock is not in sync yet",
    Kind.TIME_SERVER: "the time server does not answer the node",
    Kind.ALREADY_EXISTS: "etcd has data already",
    Kind.BUSY: "the node works on another configuration",
    Kind.NOT_AVAILABLE_YET: "the node is not far enough yet",
    Kind.ETCD_NOT_STARTED: "etcd has not been started on the node",
    Kind.QUORUM: "etcd would lose its majority",
    Kind.WRONG_ROLE: "the node is not a control plane",
    Kind.NOT_AUTHORIZED: "the node does not allow it",
    Kind.INVALID_CONFIG: "the machine configuration is not valid",
    Kind.IMAGE: "an image cannot be pulled",
}


class TalosError(FirstlightError):
    """A call of talosctl failed.

    Args:
        fact: what was asked of whom.
        kind: what the failure means.
        text: talosctl's own words, redacted.
    """

    def __init__(self, fact: str, *, kind: Kind, text: str) -> None:
        meaning = _MEANING.get(kind, "")
        detail = summary(text)
        super().__init__(fact, cause=f"{meaning} ({detail})" if meaning and detail else meaning or detail)
        self.kind = kind
        self.text = text
        self.error_class = f"talosctl/{kind}"


def classify(text: str) -> Kind:
    """What an error text of talosctl means."""
    return next((kind for kind, pattern in TABLE if pattern.search(text)), Kind.UNKNOWN)


def from_command(error: CommandError, *, fact: str) -> TalosError:
    """The failure of a talosctl command with its meaning."""
    if error.timed_out:
        # Whatever talosctl prints when it is ended says nothing about the node.
        return TalosError(fact, kind=Kind.TIMED_OUT, text=str(error))
    text = error.stderr or error.stdout or error.cause
    return TalosError(fact, kind=classify(text), text=text)


def summary(text: str) -> str:
    """The line of an error text that says most, without what gRPC puts around it."""
    lines = [line.strip() for line in text.partition("\nUsage:")[0].splitlines()]
    telling = [line for line in lines if line and not _COUNT.search(line)]
    items = [line.removeprefix("* ") for line in telling if line.startswith("* ")]
    line = (items or telling or [""])[0]
    return _WRAPPING.sub("", line).removesuffix('"').removesuffix(":")
