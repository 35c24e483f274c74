"""Secret references and who answers them."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bootstrap.host.commands import Command, CommandError, CommandRunner, Result
from bootstrap.host.errors import InputError
from inventory.model import SecretProvider, SecretReference, SecretSettings
from inventory.secrets import Resolved, providers, resolve_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "planted-connect-token"
VALUE = "planted-value"
VAULT = "v" * 26
ITEM = "i" * 26
BUNDLE = SecretReference("op://lab/talos-lab/bundle")


class NoPrograms:
    """A runner that must not be asked."""

    def run(self, command: Command) -> Result:
        raise AssertionError(command)


@dataclass
class ScriptedOp:
    """The `op` program: values by reference; asked for another one it fails as op does."""

    values: dict[str, bytes]
    asked: list[Command] = field(default_factory=list)

    def run(self, command: Command) -> Result:
        self.asked.append(command)
        reference = str(command.arguments[-1])
        if reference not in self.values:
            raise CommandError("failed", cause=f"could not resolve {reference}", exit_code_seen=1)
        return Result(0, self.values[reference], b"", 0.1)


@dataclass
class Connect:
    """A small 1Password Connect: one vault with one item."""

    url: str = ""
    value: str = VALUE
    requests: list[str] = field(default_factory=list)


def serve(connect: Connect) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server asks for
            url = urlsplit(self.path)
            connect.requests.append(url.path)
            status, body = answer(connect, url.path, parse_qs(url.query).get("filter", [""])[0])
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                status, body = 401, {"message": f"bad token {self.headers['Authorization']}"}
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # http.server's own name
            pass

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def answer(connect: Connect, path: str, wanted: str) -> tuple[int, object]:
    if path == "/v1/vaults":
        return 200, [{"id": VAULT, "name": "lab"}] if wanted == 'name eq "lab"' else []
    if path == f"/v1/vaults/{VAULT}/items":
        return 200, [{"id": ITEM, "title": "talos-lab"}] if wanted == 'title eq "talos-lab"' else []
    if path == f"/v1/vaults/{VAULT}/items/{ITEM}":
        fields = [
            {"id": "f1", "label": "bundle", "value": connect.value + "\n"},
            {"id": "f2", "label": "empty"},
            {"id": "f3", "label": "inner", "value": "of the section", "section": {"id": "s1"}},
        ]
        return 200, {"id": ITEM, "fields": fields, "sections": [{"id": "s1", "label": "part"}]}
    return 404, {"message": "not found"}


@pytest.fixture
def start() -> Iterator[Callable[[ssl.SSLContext | None], Connect]]:
    servers: list[ThreadingHTTPServer] = []

    def begin(context: ssl.SSLContext | None) -> Connect:
        connect = Connect()
        server = serve(connect)
        servers.append(server)
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https" if context else "http"
        connect.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return connect

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def connect(start: Callable[[ssl.SSLContext | None], Connect]) -> Connect:
    return start(None)


def settings(provider: SecretProvider, host: str = "") -> SecretSettings:
    return SecretSettings(provider, host, BUNDLE, BUNDLE)


def resolve(
    *references: str,
    provider: SecretProvider = SecretProvider.CONNECT,
    environment: dict[str, str] | None = None,
    runner: CommandRunner | None = None,
    op: Path | None = None,
    ca_file: Path | None = None,
) -> Resolved:
    answering = providers(
        settings(provider),
        environment=environment or {},
        runner=runner or NoPrograms(),
        op=op,
        ca_file=ca_file,
    )
    return resolve_all([SecretReference(text) for text in references], answering)


def values(resolved: Resolved) -> dict[str, bytes]:
    return {reference: secret.reveal() for reference, secret in resolved.secrets.items()}


def refused(*references: str, **arguments: object) -> str:
    with pytest.raises(InputError) as caught:
        resolve(*references, **arguments)  # type: ignore[arg-type] # passed on as they are
    text = f"{caught.value} {caught.value.remedy}"
    assert "planted" not in text
    return text


def asking(connect: Connect) -> dict[str, str]:
    return {"OP_CONNECT_HOST": connect.url, "OP_CONNECT_TOKEN": TOKEN + "\n"}


def test_environment_and_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"two\nlines\r\n\n")
    found = resolve("env://NAME", f"file://{path}", environment={"NAME": "value"})
    assert values(found) == {"env://NAME": b"value", f"file://{path}": b"two\nlines"}


def test_every_unresolvable_reference_is_named_and_no_value(tmp_path: Path) -> None:
    (tmp_path / "blank").write_text(" \n")
    text = refused(
        "env://GONE",
        "env://THERE",
        "env://EMPTY",
        f"file://{tmp_path}/gone",
        f"file://{tmp_path}/blank",
        f"file://{tmp_path}",
        "file:///dev/zero",
        "op://lab/talos-lab/bundle",
        "vault:secret/path",
        environment={"THERE": VALUE, "EMPTY": ""},
        provider=SecretProvider.ENV,
    )
    assert text.startswith("8 secrets cannot be resolved")
    for expected in (
        "env://GONE: the environment variable GONE is not set",
        "env://EMPTY: the value is empty",
        "gone: the file cannot be read: No such file or directory",
        "blank: the value is empty",
        "the file cannot be read: Is a directory",
        "file:///dev/zero: the file is larger than 1048576 bytes",
        "op://lab/talos-lab/bundle: nobody answers op:// references: the inventory's secret provider is env",
        "vault:secret/path: is not of the form",
    ):
        assert expected in text
    assert "env://THERE" not in text


def test_a_reference_that_stands_twice_is_resolved_once(connect: Connect) -> None:
    reference = "op://lab/talos-lab/bundle"
    found = resolve(reference, reference, "op://lab/talos-lab/part/inner", environment=asking(connect))
    assert values(found) == {reference: VALUE.encode(), "op://lab/talos-lab/part/inner": b"of the section"}
    assert connect.requests == ["/v1/vaults", f"/v1/vaults/{VAULT}/items", f"/v1/vaults/{VAULT}/items/{ITEM}"]


def test_connect_by_ids(connect: Connect) -> None:
    reference = f"op://{VAULT}/{ITEM}/f1"
    assert values(resolve(reference, environment=asking(connect))) == {reference: VALUE.encode()}


def test_connect_without_tls_is_noted(connect: Connect) -> None:
    (note,) = resolve(str(BUNDLE), environment=asking(connect)).notes
    assert note == f"1Password Connect is asked without TLS ({connect.url}): its token travels in clear"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("op://other/talos-lab/bundle", "there is no vault `other`"),
        ('op://la"b/talos-lab/bundle', 'there is no vault `la"b`'),
        ("op://lab/gone/bundle", "there is no item `gone` in the vault `lab`"),
        ("op://lab/talos-lab/gone", "the item has no field `gone`"),
        ("op://lab/talos-lab/other/inner", "the item has no field `other/inner`"),
        ("op://lab/talos-lab/empty", "the value is empty"),
        (f"op://{ITEM}/{VAULT}/bundle", "1Password Connect answered 404: no such vault or item"),
    ],
)
def test_connect_refuses(connect: Connect, reference: str, reason: str) -> None:
    assert f"{reference}: {reason}" in refused(reference, environment=asking(connect))


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("planted-wrong", "answered 401: the token in OP_CONNECT_TOKEN is not valid"),
        ("planted\nbroken", "OP_CONNECT_TOKEN holds characters that no token has"),
        ("", "OP_CONNECT_TOKEN is not set"),
    ],
)
def test_connect_with_a_bad_token(connect: Connect, token: str, reason: str) -> None:
    environment = {**asking(connect), "OP_CONNECT_TOKEN": token}
    assert reason in refused(str(BUNDLE), environment=environment)


def test_connect_that_does_not_answer() -> None:
    environment = {"OP_CONNECT_HOST": "http://127.0.0.1:1", "OP_CONNECT_TOKEN": TOKEN}
    expected = "1Password Connect at 127.0.0.1:1 does not answer: Connection refused"
    assert expected in refused(str(BUNDLE), environment=environment)


@pytest.mark.parametrize(
    "host", ["http://user:planted@127.0.0.1:1", "ftp://127.0.0.1", "127.0.0.1:8080", "https://h/planted?x", "http://"]
)
def test_a_host_that_is_no_url_is_refused_unseen(host: str) -> None:
    environment = {"OP_CONNECT_HOST": host, "OP_CONNECT_TOKEN": TOKEN}
    assert "OP_CONNECT_HOST is not of the form https://NAME or http://NAME" in refused(
        str(BUNDLE), environment=environment
    )


def test_the_url_of_the_inventory_is_taken_without_a_variable(connect: Connect) -> None:
    answering = providers(
        settings(SecretProvider.CONNECT, connect.url),
        environment={"OP_CONNECT_TOKEN": TOKEN},
        runner=NoPrograms(),
    )
    assert values(resolve_all([BUNDLE], answering)) == {str(BUNDLE): VALUE.encode()}


def test_connect_with_tls_needs_its_ca(start: Callable[[ssl.SSLContext | None], Connect], tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    connect = start(_server_context(ca_file))
    found = resolve(str(BUNDLE), environment=asking(connect), ca_file=ca_file)
    assert values(found) == {str(BUNDLE): VALUE.encode()}
    assert found.notes == ()
    assert "does not answer" in refused(str(BUNDLE), environment=asking(connect))


def test_op_reads_with_its_own_variables_only() -> None:
    op = ScriptedOp({"op://lab/talos-lab/bundle": b"value\n"})
    environment = {"OP_SERVICE_ACCOUNT_TOKEN": "planted", "OTHER": "planted"}
    found = resolve(str(BUNDLE), provider=SecretProvider.OP, runner=op, op=Path("/bin/op"), environment=environment)
    assert values(found) == {str(BUNDLE): b"value"}
    (command,) = op.asked
    assert command.arguments == ("read", "--no-newline", "op://lab/talos-lab/bundle")
    assert dict(command.environment) == {"OP_SERVICE_ACCOUNT_TOKEN": "planted"}


def test_op_that_fails_or_is_missing() -> None:
    text = refused(str(BUNDLE), provider=SecretProvider.OP, runner=ScriptedOp({}), op=Path("/bin/op"))
    assert "op read: could not resolve op://lab/talos-lab/bundle" in text
    assert "the program `op` is not there" in refused(str(BUNDLE), provider=SecretProvider.OP)


def _server_context(ca_file: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "connect")])
    now = dt.datetime.now(tz=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    ca_file.write_bytes(pem)
    both = ca_file.with_name("both.pem")
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    both.write_bytes(pem + key.private_bytes(serialization.Encoding.PEM, form, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context
