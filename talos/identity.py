"""Our own identity at the Kubernetes API: a client certificate signed with the cluster's CA, in memory.

Talos' own admin kubeconfig says `admin` to the API server, as does every operator's. With a common name of our
own the API server's audit log (`/var/log/audit/kube/kube-apiserver.log` on each control plane, level Metadata by
Talos' default) tells our calls from others', helm's included, because helm uses the same kubeconfig. It also
needs no answer of a node, and its server is a node's address, which works before the endpoint's name does.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError, Problem
from bootstrap.host.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

    from talos.bundle import Bundle

NAME: Final = "firstlight"
# The group that the API server allows everything, without RBAC objects that could be missing or wrong.
GROUP: Final = "system:masters"
# As long as Talos' own admin certificate: an operator who comes back after half a year can still use the file.
VALIDITY: Final = timedelta(days=365)
# A node whose clock is behind ours by less than this still takes the certificate.
BACKDATED: Final = timedelta(hours=1)
# The port on which every control plane of Talos serves the API, whatever the endpoint says.
API_PORT: Final = 6443


def server(address: object) -> str:
    """URL of the API server on a control plane's own address."""
    return f"https://{address}:{API_PORT}"


def kubeconfig(
    bundle: Bundle, *, cluster: str, server: str, common_name: str = NAME, now: datetime | None = None
) -> Secret:
    """A kubeconfig with one context, named like the cluster.

    Args:
        bundle: of the cluster; its Kubernetes CA signs.
        cluster: name of cluster and context.
        server: URL of the API server; see `server`.
        common_name: who we are for the API server.
        now: the time from which the certificate counts; None is the machine's clock.

    Raises:
        InputError: the bundle's Kubernetes CA cannot sign.
    """
    certificate, key = _sign(bundle, common_name, now or datetime.now(tz=UTC))
    user = f"{common_name}@{cluster}"
    document: yaml_io.Yaml = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster,
                "cluster": {"server": server, "certificate-authority-data": _encoded(bundle.kubernetes_authority)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)},
            }
        ],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    }
    return Secret(yaml_io.dump(document), f"the kubeconfig of {user}")


def _sign(bundle: Bundle, common_name: str, now: datetime) -> tuple[bytes, bytes]:
    # cryptography takes 50 ms to import: only who signs pays for it.
    from cryptography import x509  # as the line above says
    from cryptography.hazmat.primitives import hashes, serialization  # as above
    from cryptography.hazmat.primitives.asymmetric import ec  # as above
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # as above

    authority, authority_key = _authority(bundle)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, GROUP),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    encoded_key = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return certificate.public_bytes(serialization.Encoding.PEM), encoded_key


def _authority(bundle: Bundle) -> tuple[Certificate, EllipticCurvePrivateKey]:
    from cryptography import x509  # late, as in _sign
    from cryptography.hazmat.primitives.asymmetric import ec  # as above
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # as above

    try:
        certificate = x509.load_pem_x509_certificate(bundle.kubernetes_authority)
        key = load_pem_private_key(bundle.kubernetes_key.reveal(), password=None)
    except ValueError:
        raise _unusable(bundle, "`certs.k8s` is not a certificate and its key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _unusable(bundle, "the key in `certs.k8s` is not an elliptic curve key")
    if key.public_key() != certificate.public_key():
        raise _unusable(bundle, "the key in `certs.k8s` does not belong to the certificate beside it")
    return certificate, key


def _unusable(bundle: Bundle, text: str) -> InputError:
    return InputError(f"{bundle.secret.reference} cannot sign for Kubernetes", (Problem(text),))


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
