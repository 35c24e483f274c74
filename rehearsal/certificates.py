"""The lab's certificate authority and the certificates of its internet."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.host.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder

# Long enough that a cached image does not outlive the authority it trusts.
AUTHORITY_DAYS = 3650
# A lab lives for hours; a year keeps a forgotten one usable.
SERVER_DAYS = 365
# A machine out of a kept template is behind by as long as the template is old, until it asks for the time.
BACKDATED_DAYS = 365


@dataclass(frozen=True)
class Authority:
    """The files of the lab's CA; only machines and programs of the lab trust it."""

    certificate: Path
    key: Path


def ensure_authority(folder: Path) -> Authority:
    """The CA in `folder`, made when it is not there; its key is 0600."""
    authority = Authority(folder / "ca.crt", folder / "ca.key")
    if not authority.key.exists():
        _make_authority(authority)
    return authority


def issue_server(authority: Authority, names: tuple[str, ...], certificate: Path, key: Path) -> None:
    """A server certificate for DNS names, signed by the lab's CA; the key is written 0600."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
    from cryptography.x509.oid import ExtendedKeyUsageOID

    signer = load_pem_private_key(authority.key.read_bytes(), password=None)
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        msg = f"{authority.key} holds no elliptic curve key"
        raise TypeError(msg)
    own = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(names[0], issuer.subject, own, SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    write_atomically(key, _pem_key(own), mode=0o600)
    write_atomically(certificate, _sign(builder, signer).public_bytes(Encoding.PEM))


def _make_authority(authority: Authority) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Firstlight lab")])
    builder = _builder("Firstlight lab", name, key, AUTHORITY_DAYS).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    # The key last: a folder with a key is complete.
    write_atomically(authority.certificate, _sign(builder, key).public_bytes(Encoding.PEM))
    write_atomically(authority.key, _pem_key(key), mode=0o600)


def _builder(common_name: str, issuer: object, key: EllipticCurvePrivateKey, days: int) -> CertificateBuilder:
    from cryptography import x509

    if not isinstance(issuer, x509.Name):
        msg = "the issuer is a name"
        raise TypeError(msg)
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=BACKDATED_DAYS))
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _sign(builder: CertificateBuilder, key: EllipticCurvePrivateKey) -> Certificate:
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())


def _pem_key(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
