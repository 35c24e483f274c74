"""A kubelet's request is approved only when it asks for what its node is known to have."""

from __future__ import annotations

import base64
import ipaddress
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kube import serving

NODE, ADDRESS = "cp-1", "10.0.0.1"
DNS, IP = x509.DNSName, x509.IPAddress


def request(
    *, name: str = f"system:node:{NODE}", group: str = "system:nodes",
    names: tuple[x509.GeneralName, ...] = (DNS(NODE), IP(ipaddress.ip_address(ADDRESS))),
) -> str:  # fmt: skip
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    pem = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(pem.public_bytes(serialization.Encoding.PEM)).decode()


def item(**changes: Any) -> Any:
    spec = {
        "request": request(), "signerName": serving.SIGNER, "username": f"system:node:{NODE}",
        "groups": ["system:nodes", "system:authenticated"], "usages": ["digital signature", "server auth"],
    }  # fmt: skip
    return {"metadata": {"name": "csr-1"}, "spec": {**spec, **changes}}


def test_a_node_that_asks_for_its_own_is_approved() -> None:
    assert serving.objections(item(), NODE, frozenset({ADDRESS})) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"groups": ["system:authenticated"]}, "not made by a member of system:nodes"),
        ({"usages": ["digital signature", "client auth"]}, "usages client auth"),
        ({"usages": ["digital signature"]}, "usages digital signature"),
        ({"usages": ["server auth", "client auth"]}, "usages client auth, server auth"),
        ({"request": "bm90aGluZw=="}, "holds no certificate request"),
        ({"request": request(name="system:node:cp-2")}, "its subject is"),
        ({"request": request(group="system:masters")}, "its subject is"),
        ({"request": request(names=())}, "neither host nor address"),
        ({"request": request(names=(DNS(NODE), DNS("cp-2")))}, "asks for cp-2"),
        ({"request": request(names=(IP(ipaddress.ip_address("10.0.0.2")),))}, "asks for 10.0.0.2"),
        ({"request": request(names=(x509.UniformResourceIdentifier("https://x"),))}, "asks for https://x"),
    ],
)
def test_everything_else_is_named(changes: dict[str, Any], said: str) -> None:
    assert said in "; ".join(serving.objections(item(**changes), NODE, frozenset({ADDRESS})))


def test_approval_keeps_what_is_there() -> None:
    before = {**item(), "status": {"conditions": [{"type": "Old"}]}}
    after = serving.approved(before, message="known")
    assert serving.conditions(after) == {"Old", serving.APPROVED}
    assert serving.conditions(before) == {"Old"}


class Listed:
    def __init__(self, *items: Any) -> None:
        self.items = list(items)

    def list_objects(self, *_: Any, **__: Any) -> list[Any]:
        return self.items


def test_only_kubelets_that_want_to_serve_are_looked_at() -> None:
    client = item(signerName="kubernetes.io/kube-apiserver-client-kubelet")
    person = item(username="someone")
    found: Any = serving.requests(Listed(item(), client, person))  # type: ignore[arg-type] # the part that is read
    assert {node: len(each) for node, each in found.items()} == {NODE: 1}
