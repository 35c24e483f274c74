"""The state of a node, told from servers that behave as Talos does in each."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from talos.client import Talosctl
from talos.probe import Observation, State, handshake, observe
from tests.unit.talos.recorded import Replay

if TYPE_CHECKING:
    from pathlib import Path

Replaying = Callable[[str], tuple[Talosctl, Replay]]
# The bytes of an empty HTTP/2 SETTINGS frame, with which a gRPC server begins.
SETTINGS = bytes.fromhex("000000040000000000")
# Loopback answers at once; only the server that never speaks is waited for.
PATIENCE = 0.3


@dataclass(frozen=True)
class Authority:
    """A CA as Talos makes it: Ed25519, organization as its only name."""

    certificate: x509.Certificate
    key: Ed25519PrivateKey

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, folder: Path, *, days: int = 1) -> ssl.SSLContext:
        """A server's context with a certificate that ends `days` from now."""
        key = Ed25519PrivateKey.generate()
        certificate = issue("node", key, self.certificate.subject, self.key, days=days, ca=False)
        path = folder / "server.pem"
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        path.write_bytes(pem + key.private_bytes(serialization.Encoding.PEM, form, plain))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.set_alpn_protocols(["h2"])
        return context


def issue(
    name: str, key: Ed25519PrivateKey, issuer: x509.Name | None, signer: Ed25519PrivateKey, *, days: int, ca: bool
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
    now = dt.datetime.now(tz=dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=9))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(signer, None)
    )


def authority(name: str = "talos") -> Authority:
    key = Ed25519PrivateKey.generate()
    return Authority(issue(name, key, None, key, days=9, ca=True), key)


OURS = authority()


def wanting(context: ssl.SSLContext, trusted: Authority) -> ssl.SSLContext:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=trusted.pem.decode())
    return context


@pytest.fixture
def serve() -> Iterator[Callable[[ssl.SSLContext | None, bytes], int]]:
    """Starts a server: with a context it shakes hands and sends the words, without it closes at once."""
    listeners: list[socket.socket] = []

    def run(listener: socket.socket, context: ssl.SSLContext | None, words: bytes) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                if context:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        secured.sendall(words)
                        secured.recv(1)

    def start(context: ssl.SSLContext | None, words: bytes = b"") -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=run, args=(listener, context, words), daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def seen(port: int, address: str = "127.0.0.1") -> Observation:
    return handshake(address, OURS.pem, port=port, timeout=PATIENCE)


Serving = Callable[..., int]


def test_ours(serve: Serving, tmp_path: Path) -> None:
    port = serve(wanting(OURS.server(tmp_path), OURS))
    assert seen(port) == Observation(State.OURS, "its certificate comes from our CA")


def test_ours_with_a_certificate_outside_its_dates(serve: Serving, tmp_path: Path) -> None:
    observation = seen(serve(wanting(OURS.server(tmp_path, days=-1), OURS)))
    assert observation.state is State.OURS
    assert "certificate has expired: a clock is wrong, or it expired" in observation.detail


def test_foreign_with_a_ca_of_the_same_name(serve: Serving, tmp_path: Path) -> None:
    other = authority()
    assert seen(serve(wanting(other.server(tmp_path), other))).state is State.FOREIGN


def test_foreign_that_speaks_tls_1_2_only(serve: Serving, tmp_path: Path) -> None:
    other = authority()
    context = wanting(other.server(tmp_path), other)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert seen(serve(context)).state is State.FOREIGN


def test_maintenance(serve: Serving, tmp_path: Path) -> None:
    port = serve(authority("talos-maintenance").server(tmp_path), SETTINGS)
    assert seen(port).state is State.MAINTENANCE


def test_half_open_closes_at_once(serve: Serving) -> None:
    assert seen(serve(None)).state is State.HALF_OPEN


def test_half_open_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        expected = "it took the connection and did not finish the handshake in time"
        assert seen(listener.getsockname()[1]) == Observation(State.HALF_OPEN, expected)


def test_half_open_has_no_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_speak_plainly, args=(listener,), daemon=True).start()
        observation = seen(listener.getsockname()[1])
    assert observation.state is State.HALF_OPEN
    assert observation.detail.startswith("the handshake failed: ")


def _speak_plainly(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        connection.recv(1000)


def test_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert seen(port) == Observation(State.CLOSED, "the port is closed")


def test_silent() -> None:
    # No route leads to the broadcast address for TCP.
    assert seen(50000, "255.255.255.255").state is State.SILENT


def test_where_tls_decides_talosctl_is_not_asked(serve: Serving, tmp_path: Path, replay: Replaying) -> None:
    talosctl, runner = replay("")
    port = serve(wanting(OURS.server(tmp_path), OURS))
    assert observe("127.0.0.1", OURS.pem, talosctl, port=port, timeout=PATIENCE).state is State.OURS
    assert runner.asked == []


@pytest.mark.parametrize(
    ("recording", "state"),
    [
        ("09-running-get-machinestatus-json", State.MAINTENANCE),
        ("06-insecure-get-disks-on-configured", State.FOREIGN),
        ("09-running-apply-insecure-foreign", State.FOREIGN),
        ("04-during-install-get-machinestatus-1", State.HALF_OPEN),
        ("05-before-bootstrap-etcd-members", State.HALF_OPEN),
    ],
)
def test_what_tls_cannot_tell_talosctl_is_asked(
    serve: Serving, replay: Replaying, recording: str, state: State
) -> None:
    talosctl, runner = replay(recording)
    port = serve(None)
    assert observe("127.0.0.1", OURS.pem, talosctl, port=port, timeout=PATIENCE).state is state
    assert len(runner.asked) == 1
