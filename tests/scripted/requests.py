"""Certificate requests of kubelets, as the API server keeps them."""

from __future__ import annotations

import base64
import ipaddress
from typing import Any


def serving_request(name: str, address: str, host: str) -> Any:
    """What a kubelet that rotates its serving certificate asks for: a host name, its own or not, and its address."""
    # cryptography takes 50 ms to import: only a world with such kubelets pays for it.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    subject = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{name}"),
    ])  # fmt: skip
    names = x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(ipaddress.ip_address(address))])
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
    pem = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": f"csr-{name}"},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": "kubernetes.io/kubelet-serving",
            "usages": ["digital signature", "server auth"],
            "username": f"system:node:{name}",
            "groups": ["system:nodes", "system:authenticated"],
        },
    }
