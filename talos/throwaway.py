"""A secrets bundle that opens nothing: to render from the files alone, quicker than talosctl makes one.

talosctl computes a service account key of 4096 bits, which takes one to five seconds; it takes an elliptic one as well.
"""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from bootstrap.host import yaml_io
from bootstrap.host.secret import Secret

# Nothing is ever signed with it; a day outlasts every command.
VALIDITY: Final = timedelta(days=1)
_AUTHORITIES: Final = ("etcd", "k8s", "k8saggregator", "os")


def make(reference: str) -> Secret:
    """A bundle of the form that talosctl takes, known to nobody.

    Args:
        reference: what it stands for.
    """
    certs: dict[str, yaml_io.Yaml] = {name: _authority(name) for name in _AUTHORITIES}
    service_account: yaml_io.Yaml = {"key": _authority("service account")["key"]}
    document: yaml_io.Yaml = {
        "cluster": {"id": _random(), "secret": _random()},
        "secrets": {"bootstraptoken": _token(), "secretboxencryptionsecret": _random()},
        "trustdinfo": {"token": _token()},
        "certs": {**certs, "k8sserviceaccount": service_account},
    }
    return Secret(yaml_io.dump(document), reference)


def _random() -> str:
    # 32 bytes, as long as what talosctl makes.
    return base64.b64encode(secrets.token_bytes(32)).decode("ascii")


def _token() -> str:
    # Kubernetes' form of a bootstrap token: 6 and 16 characters.
    return f"{secrets.token_hex(3)}.{secrets.token_hex(8)}"


def _authority(of: str) -> dict[str, yaml_io.Yaml]:
    # cryptography takes 50 ms to import: only who renders anew pays for it.
    from cryptography import x509  # as the line above says
    from cryptography.hazmat.primitives import hashes, serialization  # as above
    from cryptography.hazmat.primitives.asymmetric import ec  # as above
    from cryptography.x509.oid import NameOID  # as above

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"throw-away {of}")])
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    key_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return {"crt": _encoded(certificate.public_bytes(serialization.Encoding.PEM)), "key": _encoded(key_pem)}


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
