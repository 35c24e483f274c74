"""What stands at a node's Talos API, told from one TLS handshake or two, without a certificate of ours.

Talos 1.11 has two services on its one port. In maintenance mode the server has a self-signed CA of its own and
asks for no client certificate; once configured its certificate comes from the cluster's CA and it ends every
connection that brings none.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from talos.errors import Kind, TalosError

if TYPE_CHECKING:
    from talos.client import Talosctl

PORT: Final = 50000
# A handshake takes two round trips and a signature; a machine under emulation that is busy takes a second.
HANDSHAKE_SECONDS: Final = 5.0
# OpenSSL's codes for a certificate whose chain is right and whose dates are not (X509_V_ERR_*).
_DATES: Final = frozenset({9, 10})


class State(StrEnum):
    """What a node's API port says about the node."""

    MAINTENANCE = "maintenance"
    OURS = "ours"
    FOREIGN = "foreign"
    HALF_OPEN = "half-open"
    CLOSED = "closed"
    SILENT = "silent"


@dataclass(frozen=True)
class Observation:
    """What was seen at a node.

    Attributes:
        state: see `State`; half-open is a port that takes a connection and then no handshake.
        detail: what was seen, for a person.
    """

    state: State
    detail: str


class Observe(Protocol):
    """Tells the state of a node; `observe` with a talosctl of its own."""

    def __call__(self, address: str, authority: bytes) -> Observation:
        """The state of the node at an address, told with the PEM certificate of our Talos CA."""


def observe(
    address: str,
    authority: bytes,
    talosctl: Talosctl,
    *,
    port: int = PORT,
    timeout: float = HANDSHAKE_SECONDS,
) -> Observation:
    """The state of a node; where TLS alone cannot decide, talosctl asks the node.

    Args:
        address: of the node.
        authority: PEM certificate of our cluster's Talos CA.
        talosctl: asked without certificates, which changes nothing.
        port: of the Talos API.
        timeout: seconds for each of connecting, handshake and the first answer.
    """
    seen = handshake(address, authority, port=port, timeout=timeout)
    if seen.state is not State.HALF_OPEN:
        return seen
    try:
        stage = talosctl.machine_status(address, None).stage
    except TalosError as error:
        if error.kind is Kind.NEEDS_CLIENT_CERTIFICATE:
            return Observation(State.FOREIGN, f"{seen.detail}; it wants a client certificate of another CA")
        return seen
    return Observation(State.MAINTENANCE, f"it answers without certificates, stage {stage}")


def handshake(address: str, authority: bytes, *, port: int = PORT, timeout: float = HANDSHAKE_SECONDS) -> Observation:
    """The state of a node by TLS alone; see `observe`."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The chain decides; a node in maintenance mode or of another cluster has other names anyway.
    ours.check_hostname = False
    ours.load_verify_locations(cadata=authority.decode("ascii"))
    try:
        with _connected(address, port, timeout) as connection, _wrapped(ours, connection):
            return Observation(State.OURS, "its certificate comes from our CA")
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _DATES:
            detail = f"its certificate comes from our CA, but {error.verify_message}: a clock is wrong, or it expired"
            return Observation(State.OURS, detail)
        return _without_our_authority(address, port, timeout)
    except OSError as error:
        return _unfinished(error)


def _without_our_authority(address: str, port: int, timeout: float) -> Observation:
    """Tell maintenance mode from another cluster: who wants a certificate ends the connection, else HTTP/2 begins."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    try:
        with _connected(address, port, timeout) as connection, _wrapped(anyone, connection) as secured:
            first = secured.recv(1)
    except ssl.SSLError as error:
        if "ALERT" in (error.reason or ""):
            return Observation(State.FOREIGN, "its certificate comes from another CA and it wants a client certificate")
        return _unfinished(error)
    except OSError as error:
        return _unfinished(error)
    if first:
        return Observation(State.MAINTENANCE, "it has a CA of its own and wants no client certificate")
    return Observation(State.HALF_OPEN, "it ended the connection without a word")


def _connected(address: str, port: int, timeout: float) -> socket.socket:
    try:
        return socket.create_connection((address, port), timeout=timeout)
    except ConnectionRefusedError:
        raise
    except OSError as error:
        raise _SilentError(error.strerror or f"no answer within {timeout:g} s") from None


def _wrapped(context: ssl.SSLContext, connection: socket.socket) -> ssl.SSLSocket:
    # gRPC servers refuse a client that does not offer HTTP/2.
    context.set_alpn_protocols(["h2"])
    return context.wrap_socket(connection)


class _SilentError(OSError):
    """Not even a connection came about."""


def _unfinished(error: OSError) -> Observation:
    if isinstance(error, ConnectionRefusedError):
        return Observation(State.CLOSED, "the port is closed")
    if isinstance(error, _SilentError):
        return Observation(State.SILENT, str(error))
    if isinstance(error, TimeoutError):
        return Observation(State.HALF_OPEN, "it took the connection and did not finish the handshake in time")
    reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return Observation(State.HALF_OPEN, f"the handshake failed: {reason}")
