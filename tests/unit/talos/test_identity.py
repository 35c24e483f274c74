"""Our own certificate for the Kubernetes API."""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bootstrap.host import yaml_io
from bootstrap.host.errors import InputError
from bootstrap.host.secret import Secret
from talos import bundle, identity

if TYPE_CHECKING:
    from talos.bundle import Bundle

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def parts(secrets_bundle: Secret) -> Bundle:
    return bundle.read(secrets_bundle)


@pytest.fixture(scope="module")
def kubeconfig(parts: Bundle) -> Any:
    server = identity.server("10.25.13.11")
    secret = identity.kubeconfig(parts, cluster="lab", server=server, now=NOW)
    assert str(secret) == "<secret: the kubeconfig of firstlight@lab>"
    return yaml_io.load(secret.reveal(), source="kubeconfig")


def decoded(value: str) -> bytes:
    return base64.b64decode(value)


def test_one_context_named_like_the_cluster(kubeconfig: Any) -> None:
    assert kubeconfig["current-context"] == "lab"
    assert kubeconfig["contexts"] == [{"name": "lab", "context": {"cluster": "lab", "user": "firstlight@lab"}}]
    assert kubeconfig["clusters"][0]["cluster"]["server"] == "https://10.25.13.11:6443"


def test_the_certificate_is_ours_and_signed_by_the_cluster(kubeconfig: Any, parts: Bundle) -> None:
    user = kubeconfig["users"][0]["user"]
    certificate = x509.load_pem_x509_certificate(decoded(user["client-certificate-data"]))
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(parts.kubernetes_authority))
    subject = {each.oid: each.value for each in certificate.subject}
    assert subject == {NameOID.ORGANIZATION_NAME: "system:masters", NameOID.COMMON_NAME: "firstlight"}
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.not_valid_before_utc == NOW - dt.timedelta(hours=1)
    assert certificate.not_valid_after_utc == NOW + dt.timedelta(days=365)


def test_the_key_belongs_to_the_certificate(kubeconfig: Any, parts: Bundle) -> None:
    user = kubeconfig["users"][0]["user"]
    key = load_pem_private_key(decoded(user["client-key-data"]), password=None)
    certificate = x509.load_pem_x509_certificate(decoded(user["client-certificate-data"]))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == certificate.public_key()
    assert decoded(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]) == parts.kubernetes_authority


def test_a_key_of_another_ca_is_refused(parts: Bundle, secrets_bundle: Secret) -> None:
    content = yaml_io.load(secrets_bundle.reveal(), source="bundle")
    assert isinstance(content, dict)
    certs: Any = content["certs"]
    certs["k8s"]["key"] = certs["etcd"]["key"]
    other = bundle.read(Secret(yaml_io.dump(content), "op://lab/talos-lab/bundle"))
    with pytest.raises(InputError, match="does not belong to the certificate beside it") as caught:
        identity.kubeconfig(other, cluster="lab", server="https://x:6443")
    assert parts.kubernetes_key.reveal().decode() not in str(caught.value)


def test_a_key_of_another_kind_is_refused(secrets_bundle: Secret) -> None:
    content = yaml_io.load(secrets_bundle.reveal(), source="bundle")
    assert isinstance(content, dict)
    certs: Any = content["certs"]
    certs["k8s"]["key"] = base64.b64encode(
        ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    ).decode()
    other = bundle.read(Secret(yaml_io.dump(content), "op://lab/talos-lab/bundle"))
    with pytest.raises(InputError, match="is not an elliptic curve key"):
        identity.kubeconfig(other, cluster="lab", server="https://x:6443")


def test_what_is_no_key_is_refused(secrets_bundle: Secret) -> None:
    content = yaml_io.load(secrets_bundle.reveal(), source="bundle")
    assert isinstance(content, dict)
    certs: Any = content["certs"]
    certs["k8s"]["key"] = base64.b64encode(b"-----BEGIN NOTHING-----").decode()
    other = bundle.read(Secret(yaml_io.dump(content), "op://lab/talos-lab/bundle"))
    with pytest.raises(InputError, match="is not a certificate and its key"):
        identity.kubeconfig(other, cluster="lab", server="https://x:6443")
